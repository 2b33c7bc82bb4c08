//! Takes back what the steps of a failed workflow did, last first.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};

use serde_json::Value;

use crate::{
    error::{Error, Result},
    journal::Fact,
    workflow::{
        driver::Flow,
        graph::{Action, Compensation},
        perform::{Call, Tries, join},
    },
};

/// What a compensation records lies under this segment of the step's path.
pub(super) const UNDO: &str = "undo";

/// A step that was done and can be taken back.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) path: Arc<str>,
    /// Grows with the journal.
    pub(super) order: u64,
    pub(super) by: Arc<Compensation>,
    pub(super) value: Value,
}

/// A rollback that a run before this one began.
pub(super) struct Rollback {
    error: Error,
    steps: Vec<Arc<str>>,
}

impl Flow<'_> {
    pub(super) fn unfinished_rollback(&self) -> Option<Rollback> {
        let journal = self.session.journal();
        if !journal.has_history() {
            return None;
        }
        // What another run took back before it was forked is not taken back again here.
        let since = journal.forked();
        let mut entries = journal.recorded(self.session.ctx().path()).into_iter().rev();
        entries.by_ref().take_while(|entry| since.is_none_or(|since| entry.sequence > since)).find_map(
            |entry| match entry.fact {
                Fact::RollbackStarted { error, steps } => Some(Rollback { error, steps }),
                _ => None,
            },
        )
    }

    /// Takes back what was done, last first, and gives the error of the workflow.
    ///
    /// A compensation that fails is named in the error, and the others are carried out all the same.
    pub(super) async fn roll_back(&self, err: Error) -> Error {
        let mut done = std::mem::take(&mut *self.done.lock().unwrap_or_else(PoisonError::into_inner));
        // Also what a run before this one did and this one did not come to before it failed.
        done.extend(self.done_before());
        if done.is_empty() {
            return err;
        }
        done.sort_unstable_by_key(|step| std::cmp::Reverse(step.order));
        let steps = done.iter().map(|step| Arc::clone(&step.path)).collect();
        let started = Fact::RollbackStarted { error: err.clone(), steps };
        let ctx = self.session.ctx();
        if let Err(unrecorded) = self.session.journal().append(ctx, &[started]).await {
            return err.with("not rolled back", unrecorded);
        }
        self.take_back(err, done).await
    }

    /// Goes on with a rollback that was under way.
    pub(super) async fn resume_rollback(&self, rollback: Rollback) -> Error {
        let mut found: HashMap<_, _> =
            self.done_before().map(|step| (Arc::clone(&step.path), step)).collect();
        let mut done = Vec::with_capacity(rollback.steps.len());
        let mut err = rollback.error;
        for path in rollback.steps {
            match found.remove(&path) {
                Some(step) => done.push(step),
                None => err = err.with("not rolled back", path),
            }
        }
        self.take_back(err, done).await
    }

    /// What can be taken back of what this run did before it was resumed.
    ///
    /// What it was given as a fork another run did: that one may be complete, or have taken it back itself.
    fn done_before(&self) -> impl Iterator<Item = Done> {
        let journal = self.session.journal();
        let since = journal.forked();
        let done = journal.completed(self.session.ctx().path()).into_iter();
        done.filter(move |entry| since.is_none_or(|since| entry.sequence > since)).filter_map(|entry| {
            let by = self.compensation(&entry.path)?;
            let Fact::StepCompleted { value, .. } = entry.fact else { return None };
            Some(Done { path: entry.path, order: entry.sequence, by, value })
        })
    }

    /// What takes back the step of a path.
    fn compensation(&self, path: &str) -> Option<Arc<Compensation>> {
        let top = self.session.ctx().path();
        let below = if top.is_empty() { path } else { path.strip_prefix(&**top)?.strip_prefix('/')? };
        self.workflow.graph().find(below)?.compensate.as_ref().map(Arc::clone)
    }

    async fn take_back(&self, mut err: Error, done: Vec<Done>) -> Error {
        for step in done {
            let path = join(&step.path, UNDO);
            if let Err(failed) = self.undo(&path, step).await {
                err = err.with("not rolled back", format!("{path}: {failed}"));
                if self.is_stopped() {
                    return err;
                }
            }
        }
        err
    }

    async fn undo(&self, path: &Arc<str>, step: Done) -> Result<()> {
        let journal = self.session.journal();
        if journal.has_history()
            && let Some(recorded) =
                journal.recorded(path).into_iter().rev().find_map(|entry| match entry.fact {
                    Fact::StepCompleted { .. } => Some(Ok(())),
                    Fact::StepFailed { error } => Some(Err(error)),
                    _ => None,
                })
        {
            return recorded;
        }
        let Compensation { action, timeout, retries, backoff } = &*step.by;
        let call = match action {
            Action::Agent { name, capability } => Call::Agent { name, capability: capability.as_ref() },
            Action::Tool(name) => Call::Tool(name),
            Action::Function(function) => Call::Function(function),
            _ => return Ok(()),
        };
        let (timeout, bounds) = (Some(*timeout), &self.bounds);
        let tries =
            Tries { call, timeout, retries: *retries, backoff, background: None, bounds, finished: true };
        match self.tried(&tries, path, step.value, self.session).await {
            Ok(value) => {
                journal.append_at(path, &[Fact::StepCompleted { value, took: None }]).await.map(drop)
            }
            Err(err) if self.is_stopped() => Err(err),
            Err(err) => {
                journal.append_at(path, &[Fact::StepFailed { error: err.clone() }]).await?;
                Err(err)
            }
        }
    }
}
