//! `Key`: the idempotency key of a step, put together when somebody asks for it.

use std::{
    fmt::Write as _,
    sync::{Arc, OnceLock},
};

use crate::types::RunId;

/// Most calls come to nobody who asks for their key, so that its text is made once it is wanted.
#[derive(Clone, Debug)]
pub(super) enum Key {
    /// One that was given.
    Given(Arc<str>),
    /// That of what an agent does at a step, by the run and path of the context that has it.
    Step { step: u32, work: Work, text: OnceLock<Arc<str>> },
}

/// What an agent does at a step.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// Something with a name, which may be empty.
    Named(&'static str),
    /// The call of a tool with an id, which the step has so many times so far.
    Call(Arc<str>, u32),
}

impl Key {
    pub(super) fn of(step: u32, work: Work) -> Self {
        Self::Step { step, work, text: OnceLock::new() }
    }

    /// The text, in a context of this run and path.
    pub(super) fn text(&self, run: RunId, path: &str) -> &str {
        match self {
            Self::Given(text) => text,
            Self::Step { step, work, text } => text.get_or_init(|| written(run, path, *step, work)),
        }
    }

    /// The key of a call of a tool below this one, where it needs no text to be written.
    pub(super) fn call(&self, id: &str, occurrence: u32) -> Option<Self> {
        match self {
            Self::Step { step, work: Work::Named(""), .. } => {
                Some(Self::of(*step, Work::Call(Arc::from(id), occurrence)))
            }
            _ => None,
        }
    }
}

fn written(run: RunId, path: &str, step: u32, work: &Work) -> Arc<str> {
    let slash = if path.is_empty() { "" } else { "/" };
    let mut text = format!("{run}/{path}{slash}{step}");
    match work {
        Work::Named(name) => text.push_str(name),
        Work::Call(id, occurrence) => add_call(&mut text, id, *occurrence),
    }
    text.into()
}

/// Adds the call of a tool to the key of the step that makes it; providers may give two calls of a step one id.
pub(super) fn add_call(key: &mut String, id: &str, occurrence: u32) {
    key.push_str("/tool/");
    key.push_str(id);
    if occurrence > 1 {
        let _ = write!(key, "#{occurrence}");
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_key_of_a_call_continues_that_of_its_step() {
        let run = RunId::from_uuid(Uuid::nil());
        let step = Key::of(2, Work::Named(""));
        assert_eq!(step.text(run, ""), format!("{run}/2"));
        assert_eq!(step.text(run, ""), Key::of(2, Work::Named("")).clone().text(run, ""));
        for (path, occurrence, expected) in
            [("", 1, format!("{run}/2/tool/a")), ("b/c", 3, format!("{run}/b/c/2/tool/a#3"))]
        {
            assert_eq!(step.call("a", occurrence).unwrap().text(run, path), expected);
        }
        assert_eq!(Key::of(0, Work::Named("/model")).text(run, "b"), format!("{run}/b/0/model"));
        assert!(Key::Given("x".into()).call("a", 1).is_none());
    }
}
