//! What the history of a run answers, so that nothing of it is done again.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;

use crate::{
    error::Error,
    journal::{Entry, Fact},
    types::{RunId, Timestamp},
};

/// The entries that stood when a run was opened, by their paths.
#[derive(Debug, Default)]
pub(super) struct History {
    entries: Arc<[Entry]>,
    at_path: HashMap<Arc<str>, Vec<usize>>,
    /// Where the run last failed as a whole or was forked, and where it was forked.
    begun_again: Option<u64>,
    forked: Option<u64>,
}

impl History {
    pub(super) fn of(entries: Arc<[Entry]>) -> Self {
        let mut at_path = HashMap::<_, Vec<_>>::new();
        for (index, entry) in still_true(&entries) {
            at_path.entry(Arc::clone(&entry.path)).or_default().push(index);
        }
        let last = |test: fn(&Fact) -> bool| {
            entries.iter().rev().find(|entry| test(&entry.fact)).map(|entry| entry.sequence)
        };
        let begun_again = last(begins_again);
        let forked = last(|fact| matches!(fact, Fact::ExecutionForked { .. }));
        Self { entries, at_path, begun_again, forked }
    }

    pub(super) fn begun_again(&self) -> Option<u64> {
        self.begun_again
    }

    pub(super) fn forked(&self) -> Option<u64> {
        self.forked
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries of steps that completed below a path, oldest first.
    pub(super) fn completed<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Entry> {
        let done = |entry: &&Entry| matches!(entry.fact, Fact::StepCompleted { .. });
        self.entries.iter().filter(move |entry| is_below(path, &entry.path)).filter(done)
    }

    /// How long steps below a path worked since the run began, or began again; steps at work together count once.
    ///
    /// Of a step that was tried again only its first attempt counts: how long the pauses were nobody wrote down.
    pub(super) fn worked(&self, path: &str) -> Duration {
        let mut retried = HashMap::<&str, Timestamp>::new();
        let mut spans = Vec::new();
        let now = |entry: &&Entry| self.begun_again.is_none_or(|again| entry.sequence > again);
        for entry in self.entries.iter().filter(now).filter(|entry| is_below(path, &entry.path)) {
            match &entry.fact {
                Fact::RetryTriggered { .. } => {
                    // Of one of several agents it is the path of the step and the agent's name.
                    let step = entry.path.rsplit_once('/').map_or("", |(step, _)| step);
                    for path in [&*entry.path, step] {
                        retried.entry(path).or_insert(entry.time);
                    }
                }
                Fact::StepCompleted { took: Some(took), .. } => {
                    let begun = entry.time.as_micros().saturating_sub_unsigned(*took);
                    let ended = retried.get(&*entry.path).map_or(entry.time, |time| entry.time.min(*time));
                    spans.push((begun, ended.as_micros()));
                }
                _ => {}
            }
        }
        spans.sort_unstable();
        let (mut micros, mut until) = (0_u64, i64::MIN);
        for (begun, ended) in spans {
            micros += u64::try_from(ended.saturating_sub(begun.max(until))).unwrap_or(0);
            until = until.max(ended);
        }
        Duration::from_micros(micros)
    }

    /// The entries at a path, oldest first.
    pub(super) fn at(&self, path: &str) -> impl DoubleEndedIterator<Item = &Entry> {
        let places = self.at_path.get(path).map_or(&[][..], Vec::as_slice);
        places.iter().filter_map(|place| self.entries.get(*place))
    }
}

/// What was recorded, before and since the run was opened.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) steps: HashMap<Arc<str>, Step>,
    pub(super) timers: HashMap<Arc<str>, Timer>,
    pub(super) children: HashMap<Arc<str>, RunId>,
    pub(super) questions: HashSet<Arc<str>>,
}

#[derive(Debug)]
pub(super) enum Step {
    Working,
    Completed(Value),
    Failed(Error),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Timer {
    pub(super) due: Timestamp,
    pub(super) fired: bool,
}

impl Known {
    pub(super) fn of(entries: &[Entry]) -> Self {
        let mut known = Self::default();
        for (_, entry) in still_true(entries) {
            known.apply(&entry.path, &entry.fact);
        }
        known
    }

    fn apply(&mut self, path: &Arc<str>, fact: &Fact) {
        match fact {
            Fact::StepCompleted { value, .. } => {
                self.steps.insert(Arc::clone(path), Step::Completed(value.clone()));
            }
            Fact::StepFailed { error } => {
                self.steps.insert(Arc::clone(path), Step::Failed(error.clone()));
            }
            Fact::TimerSet { due } => {
                self.timers.entry(Arc::clone(path)).or_insert(Timer { due: *due, fired: false });
            }
            Fact::TimerFired => {
                if let Some(timer) = self.timers.get_mut(path) {
                    timer.fired = true;
                }
            }
            Fact::QuestionAsked { .. } => {
                self.questions.insert(Arc::clone(path));
            }
            Fact::ChildStarted { run, .. } => {
                self.children.insert(Arc::clone(path), *run);
            }
            // They belong to the other run, which may still work with them.
            Fact::ExecutionForked { .. } => self.children.clear(),
            _ => {}
        }
    }
}

fn is_below(path: &str, other: &str) -> bool {
    path.is_empty() || other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether what failed before it is tried again.
fn begins_again(fact: &Fact) -> bool {
    matches!(fact, Fact::ExecutionFailed { .. } | Fact::ExecutionForked { .. })
}

/// Entries with their places, without failures that are tried again: those before the run as a whole failed, or before
/// it was forked.
fn still_true(entries: &[Entry]) -> impl Iterator<Item = (usize, &Entry)> {
    let again = entries.iter().rposition(|entry| begins_again(&entry.fact)).unwrap_or(0);
    let entries = entries.iter().enumerate();
    entries.filter(move |(index, entry)| *index >= again || !matches!(entry.fact, Fact::StepFailed { .. }))
}
