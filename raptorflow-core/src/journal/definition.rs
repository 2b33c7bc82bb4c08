//! Drift: whether the steps that a run began with are still those that it goes on with.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::{
    error::{Error, ErrorKind, Result},
    journal::{Fact, Journal},
};

impl Journal {
    /// Compares steps and their digests with those that were recorded at a path; `false` when none were recorded before
    /// the run was opened, and the caller records them then, as [`Fact::DefinitionRecorded`].
    ///
    /// The order of the steps does not matter.
    ///
    /// # Errors
    /// `Conflict` with `run`, `path`, the first `step` that differs, and what `change` it is: `changed`, `removed` or
    /// `added`.
    pub fn check_definition(&self, path: &str, steps: &IndexMap<Arc<str>, Arc<str>>) -> Result<bool> {
        let recorded = self.0.history().at(path).rev().find_map(|entry| match &entry.fact {
            Fact::DefinitionRecorded { steps } => Some(steps),
            _ => None,
        });
        let Some(recorded) = recorded else { return Ok(false) };
        let Some((step, change)) = first_difference(recorded, steps) else { return Ok(true) };
        let message = "the definition has changed since the run began";
        Err(Error::new(ErrorKind::Conflict, "journal.definition", message)
            .with("step", step)
            .with("change", change)
            .with("path", path)
            .with("run", self.run_id()))
    }
}

fn first_difference<'a>(
    recorded: &'a IndexMap<Arc<str>, Arc<str>>,
    steps: &'a IndexMap<Arc<str>, Arc<str>>,
) -> Option<(&'a str, &'static str)> {
    let lost = recorded.iter().find_map(|(name, digest)| match steps.get(name) {
        None => Some((&**name, "removed")),
        Some(found) if found != digest => Some((&**name, "changed")),
        Some(_) => None,
    });
    lost.or_else(|| steps.keys().find(|name| !recorded.contains_key(*name)).map(|name| (&**name, "added")))
}
