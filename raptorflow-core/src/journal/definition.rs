//! Drift: whether the steps that a run began with are still those that it goes on with.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::{
    error::{Error, ErrorKind, Result},
    journal::{Entry, Fact, Journal},
    types::RunId,
};

/// The digests of steps by their names.
type Steps = IndexMap<Arc<str>, Arc<str>>;

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
        compare(self.run_id(), path, self.0.history().at(path), steps)
    }
}

/// Compares the definition that an agent opens its runs with, if it has one, with that of a run's entries.
pub(crate) fn check_opening(run: RunId, entries: &[Entry], opening: &[Fact]) -> Result<()> {
    let mut definitions = opening.iter().filter_map(definition);
    definitions.try_for_each(|steps| {
        compare(run, "", entries.iter().filter(|entry| entry.path.is_empty()), steps).map(drop)
    })
}

fn compare<'a>(
    run: RunId,
    path: &str,
    entries: impl DoubleEndedIterator<Item = &'a Entry>,
    steps: &Steps,
) -> Result<bool> {
    let Some(recorded) = entries.rev().find_map(|entry| definition(&entry.fact)) else { return Ok(false) };
    let Some((step, change)) = first_difference(recorded, steps) else { return Ok(true) };
    let message = "the definition has changed since the run began";
    Err(Error::new(ErrorKind::Conflict, "journal.definition", message)
        .with("step", step)
        .with("change", change)
        .with("path", path)
        .with("run", run))
}

fn definition(fact: &Fact) -> Option<&Steps> {
    match fact {
        Fact::DefinitionRecorded { steps } => Some(steps),
        _ => None,
    }
}

fn first_difference<'a>(recorded: &'a Steps, steps: &'a Steps) -> Option<(&'a str, &'static str)> {
    let lost = recorded.iter().find_map(|(name, digest)| match steps.get(name) {
        None => Some((&**name, "removed")),
        Some(found) if found != digest => Some((&**name, "changed")),
        Some(_) => None,
    });
    lost.or_else(|| steps.keys().find(|name| !recorded.contains_key(*name)).map(|name| (&**name, "added")))
}
