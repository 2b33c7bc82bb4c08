//! Steps: work under a key that is done once, over crashes too.

use std::{future::Future, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result},
    journal::{Fact, Journal, known::Step, run::Run},
    runtime::Context,
};

impl Journal {
    /// Gives the value that was recorded for `key` below the context's path, or does the work and records its value.
    ///
    /// The work gets a context with that path and an idempotency key that stays the same over crashes.
    /// An error of the work is recorded too and given again, unless the run was cancelled meanwhile.
    ///
    /// # Errors
    /// The error of the work; `Conflict` when the same step is under way in this process; `Corrupt` when the recorded
    /// value is not a `T`; what [`Journal::append`] says.
    ///
    /// # Cancellation
    /// Dropping the future drops the work and records nothing; the step may be asked for again.
    pub async fn step<T, W, F>(&self, ctx: &Context, key: &str, work: W) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        W: FnOnce(Context) -> F,
        F: Future<Output = Result<T>>,
    {
        let ctx = ctx.child(key);
        let path = Arc::clone(ctx.path());
        let working = match begin(&self.0, &path)? {
            Begun::Recorded(recorded) => return value_of(recorded?, &path),
            Begun::Working(working) => working,
        };
        let ctx = ctx.with_idempotency_key(format!("{}/{path}", self.run_id()));
        let clock = ctx.runtime().clock();
        let start = clock.elapsed();
        match work(ctx.clone()).await {
            Ok(done) => {
                let value = serde_json::to_value(&done).map_err(|err| {
                    Error::new(ErrorKind::InvalidInput, "journal.step", "the value cannot be written as JSON")
                        .with("path", &path)
                        .caused_by(err)
                })?;
                let took = u64::try_from(clock.elapsed().saturating_sub(start).as_micros()).ok();
                let fact = Fact::StepCompleted { value, took };
                self.append(&ctx, std::slice::from_ref(&fact)).await?;
                working.end(fact);
                Ok(done)
            }
            Err(err) if err.kind() == ErrorKind::Cancelled || ctx.cancel().is_cancelled() => Err(err),
            Err(err) => {
                let fact = Fact::StepFailed { error: err.clone() };
                self.append(&ctx, std::slice::from_ref(&fact)).await?;
                working.end(fact);
                Err(err)
            }
        }
    }
}

enum Begun<'a> {
    Recorded(Result<Value>),
    Working(Working<'a>),
}

/// A step under way; dropped before its end it may begin again.
struct Working<'a> {
    run: &'a Run,
    path: &'a Arc<str>,
}

impl Working<'_> {
    fn end(self, fact: Fact) {
        let step = match fact {
            Fact::StepCompleted { value, .. } => Step::Completed(value),
            Fact::StepFailed { error } => Step::Failed(error),
            _ => return,
        };
        self.run.known().steps.insert(Arc::clone(self.path), step);
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        let mut known = self.run.known();
        if matches!(known.steps.get(self.path), Some(Step::Working)) {
            known.steps.remove(self.path);
        }
    }
}

fn begin<'a>(run: &'a Run, path: &'a Arc<str>) -> Result<Begun<'a>> {
    let mut known = run.known();
    match known.steps.get(path) {
        Some(Step::Completed(value)) => return Ok(Begun::Recorded(Ok(value.clone()))),
        Some(Step::Failed(error)) => return Ok(Begun::Recorded(Err(error.clone()))),
        Some(Step::Working) => {
            return Err(Error::new(ErrorKind::Conflict, "journal.step", "the step is under way already")
                .with("path", path));
        }
        None => known.steps.insert(Arc::clone(path), Step::Working),
    };
    drop(known);
    Ok(Begun::Working(Working { run, path }))
}

fn value_of<T: DeserializeOwned>(value: Value, path: &str) -> Result<T> {
    serde_json::from_value(value).map_err(|err| {
        Error::new(ErrorKind::Corrupt, "journal.step", "the recorded value does not have the expected form")
            .with("path", path)
            .caused_by(err)
    })
}
