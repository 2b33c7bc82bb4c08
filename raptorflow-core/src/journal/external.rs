//! Facts that are said to a run from outside, by whoever does not own it.

use std::{collections::HashSet, sync::Arc};

use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result},
    journal::{
        Entry, Fact, Journals, RunStatus, Summary,
        shared::{ATTEMPTS, Name, PAGE, outrun},
    },
    runtime::Context,
    storage::Append,
    types::RunId,
};

impl Journals {
    /// Gives a signal to a run, which may wait for it, or ask for it later; returns how many entries the run has then.
    ///
    /// `ctx` says the tenant and the time, not the run.
    /// A name can be given once: of two who answer the same question one hears that it was answered.
    ///
    /// ```
    /// # use raptorflow_core::journal::{Fact, JournalConfig, Journals};
    /// # use raptorflow_core::{ErrorKind, runtime::{Context, Runtime}, storage::Storage};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// # let runtime = Runtime::current()?;
    /// # let journals = Journals::new(Storage::memory(), runtime.clone(), JournalConfig::default());
    /// # let ctx = Context::new(&runtime);
    /// # let started =
    /// #     Fact::ExecutionStarted { target: "trip".into(), input: 2.into(), capability: None, background: None, user: None };
    /// let journal = journals.create(&ctx, &[started]).await?;
    /// // The host, or another process:
    /// journals.signal(&ctx, ctx.run_id(), "approve", true.into(), Some("ann".into())).await?;
    /// // The owner, which polls `Journal::watch` beside it:
    /// assert_eq!(journal.signalled("approve").await, true);
    /// let late = journals.signal(&ctx, ctx.run_id(), "approve", false.into(), None).await;
    /// assert_eq!(late.unwrap_err().kind(), ErrorKind::Conflict);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NotFound` when there is no such run; `Conflict` when it has ended, also by a failure, or when `name` was given
    /// already; `Unavailable` when the run grew faster than this could look; the errors of the store.
    ///
    /// # Cancellation
    /// A dropped future has given the signal or not.
    pub async fn signal(
        &self,
        ctx: &Context,
        run: RunId,
        name: &str,
        value: Value,
        by: Option<Arc<str>>,
    ) -> Result<u64> {
        let fact = Fact::SignalReceived { name: Arc::from(name), value, by };
        let check = |standing: &Standing| {
            if !standing.signals.contains(name) {
                return Ok(());
            }
            let message = "the signal was given already";
            Err(Error::new(ErrorKind::Conflict, "journal.signal", message).with("signal", name))
        };
        self.say(ctx, run, "journal.signal", fact, check).await
    }

    /// Asks a run to begin nothing new; returns how many entries it has then.
    ///
    /// What is under way goes on; a run that is resumed after its process died is not paused any more.
    ///
    /// # Errors
    /// `Conflict` when the run has ended or is paused already; else as [`Journals::signal`].
    ///
    /// # Cancellation
    /// A dropped future has asked or not.
    pub async fn pause(&self, ctx: &Context, run: RunId) -> Result<u64> {
        let check = |standing: &Standing| {
            if standing.summary.status != RunStatus::Paused {
                return Ok(());
            }
            Err(Error::new(ErrorKind::Conflict, "journal.pause", "the run is paused already"))
        };
        self.say(ctx, run, "journal.pause", Fact::ExecutionPaused, check).await
    }

    /// Lets a paused run go on; returns how many entries it has then.
    ///
    /// # Errors
    /// `Conflict` when the run has ended or is not paused; else as [`Journals::signal`].
    ///
    /// # Cancellation
    /// A dropped future has let it go on or not.
    pub async fn unpause(&self, ctx: &Context, run: RunId) -> Result<u64> {
        let check = |standing: &Standing| {
            if standing.summary.status == RunStatus::Paused {
                return Ok(());
            }
            Err(Error::new(ErrorKind::Conflict, "journal.unpause", "the run is not paused"))
        };
        self.say(ctx, run, "journal.unpause", Fact::ExecutionContinued, check).await
    }

    /// Asks the owner of a run to cancel it; returns how many entries it has then.
    ///
    /// A run that nobody owns is cancelled when it is opened the next time: its token is cancelled from the start, and
    /// who opened it records the end.
    ///
    /// # Errors
    /// `Conflict` when the run has ended; else as [`Journals::signal`].
    ///
    /// # Cancellation
    /// A dropped future has asked or not.
    pub async fn request_cancel(&self, ctx: &Context, run: RunId) -> Result<u64> {
        self.say(ctx, run, "journal.cancel", Fact::CancelRequested, |_| Ok(())).await
    }

    /// Appends a fact, unless the run has ended or `check` says no.
    async fn say(
        &self,
        ctx: &Context,
        run: RunId,
        operation: &'static str,
        fact: Fact,
        check: impl Fn(&Standing) -> Result<()>,
    ) -> Result<u64> {
        let name = Name::of(run);
        let mut standing = Standing::default();
        for _ in 0..ATTEMPTS {
            self.follow(ctx, run, &mut standing).await?;
            let summary = &standing.summary;
            if summary.entries == 0 {
                return Err(
                    Error::new(ErrorKind::NotFound, operation, "there is no such run").with("run", run)
                );
            }
            if summary.ended.is_some() {
                return Err(Error::new(ErrorKind::Conflict, operation, "the run has ended")
                    .with("run", run)
                    .with("status", summary.status));
            }
            check(&standing).map_err(|err| err.with("run", run))?;
            let append = Append {
                expected: Some(standing.summary.entries),
                records: self.0.encode(ctx.now(), "", std::slice::from_ref(&fact))?,
                ..Append::to(name.as_str())
            };
            let messenger = self.0.keeper.messenger(ctx.tenant(), run);
            match self.0.storage.append(ctx, append).await {
                Ok(length) => {
                    self.0.tails.notify(ctx.tenant(), run);
                    messenger.tell(standing.summary.entries, fact);
                    return Ok(length);
                }
                // Somebody appended since it was read.
                Err(err) if err.kind() == ErrorKind::Conflict => {
                    messenger.forget();
                    tokio::task::yield_now().await;
                }
                Err(err) => return Err(err),
            }
        }
        Err(outrun(operation, run))
    }

    /// Reads what is new to `standing`.
    async fn follow(&self, ctx: &Context, run: RunId, standing: &mut Standing) -> Result<()> {
        loop {
            let page = self.read(ctx, run, standing.summary.entries, PAGE).await?;
            page.iter().for_each(|entry| standing.apply(entry));
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }
}

/// What decides whether something may be said to a run.
#[derive(Default)]
struct Standing {
    summary: Summary,
    signals: HashSet<Arc<str>>,
}

impl Standing {
    fn apply(&mut self, entry: &Entry) {
        self.summary.apply(entry);
        if let Fact::SignalReceived { name, .. } = &entry.fact {
            self.signals.insert(Arc::clone(name));
        }
    }
}
