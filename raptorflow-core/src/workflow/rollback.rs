//! Takes back what the steps of a failed workflow did, last first.

use std::sync::{Arc, PoisonError};

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
        let mut done = Vec::new();
        let mut err = rollback.error;
        for path in rollback.steps {
            match self.found(&path) {
                Some(step) => done.push(step),
                None => err = err.with("not rolled back", path),
            }
        }
        self.take_back(err, done).await
    }

    /// A step that was done, from its record.
    fn found(&self, path: &Arc<str>) -> Option<Done> {
        let top = self.session.ctx().path();
        let below = if top.is_empty() { path } else { path.strip_prefix(&**top)?.strip_prefix('/')? };
        let by = self.workflow.graph().find(below)?.compensate.as_ref().map(Arc::clone)?;
        let entries = self.session.journal().recorded(path);
        entries.into_iter().rev().find_map(|entry| match entry.fact {
            Fact::StepCompleted { value, .. } => {
                Some(Done { path: Arc::clone(path), order: entry.sequence, by: Arc::clone(&by), value })
            }
            _ => None,
        })
    }

    async fn take_back(&self, mut err: Error, done: Vec<Done>) -> Error {
        for step in done {
            let path = join(&step.path, UNDO);
            if let Err(failed) = self.undo(&path, step).await {
                err = err.with("not rolled back", format!("{path}: {failed}"));
                if self.session.ctx().cancel().is_cancelled() {
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
        let tries = Tries { call, timeout: Some(*timeout), retries: *retries, backoff, background: None };
        match self.tried(&tries, path, step.value, self.session, None).await {
            Ok(value) => {
                journal.append_at(path, &[Fact::StepCompleted { value, took: None }]).await.map(drop)
            }
            Err(err) if self.session.ctx().cancel().is_cancelled() => Err(err),
            Err(err) => {
                journal.append_at(path, &[Fact::StepFailed { error: err.clone() }]).await?;
                Err(err)
            }
        }
    }
}
