//! `Journals`: creates, opens, reads and lists runs.

use std::{sync::Arc, time::Duration};

use crate::{
    error::{Error, ErrorKind, Result},
    journal::{
        Entry, Fact, Journal, Summary,
        entry::decode,
        shared::{ATTEMPTS, Name, PAGE, Shared, outrun},
    },
    runtime::{Context, Runtime},
    storage::{Append, Grant, Storage},
    types::RunId,
};

/// Settings of the journals of one process.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JournalConfig {
    /// How long a run stays owned when its process says nothing; 5 seconds by default.
    pub lease_ttl: Duration,
    /// How often the process says that it is alive; a third of `lease_ttl` by default.
    pub heartbeat: Duration,
    /// How often a tail looks for what other processes append, where the store does not tell of it; 200 ms by default.
    pub poll: Duration,
    /// The name of this process as an owner; by default one that no other process has.
    ///
    /// A name that outlives a restart lets the new process take its runs up at once; never give it to two at a time.
    pub owner: Option<Arc<str>>,
}

impl Default for JournalConfig {
    fn default() -> Self {
        let lease_ttl = Duration::from_secs(5);
        Self { lease_ttl, heartbeat: lease_ttl / 3, poll: Duration::from_millis(200), owner: None }
    }
}

/// The journals of one process; cloning shares them.
///
/// ```
/// use raptorflow_core::journal::{Fact, JournalConfig, Journals, RunStatus};
/// use raptorflow_core::{runtime::{Context, Runtime}, storage::Storage, types::Finish};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let runtime = Runtime::current()?;
/// let journals = Journals::new(Storage::memory(), runtime.clone(), JournalConfig::default());
/// let ctx = Context::new(&runtime);
///
/// let started = Fact::ExecutionStarted { target: "sum".into(), input: 2.into(), capability: None, background: None, user: None };
/// let journal = journals.create(&ctx, &[started]).await?;
/// let sum: i64 = journal.step(&ctx, "add", |_| async { Ok(1 + 1) }).await?;
/// journal.finish(&ctx, &[Fact::ExecutionCompleted { output: sum.into(), finish: Finish::Complete }]).await?;
///
/// let summary = journals.summary(&ctx, ctx.run_id()).await?;
/// assert_eq!((summary.status, summary.entries), (RunStatus::Completed, 3));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Journals(pub(super) Arc<Shared>);

/// A run that was opened.
#[derive(Clone, Debug)]
pub enum Opened {
    /// This process owns it and carries on.
    Running {
        /// Where it is continued.
        journal: Journal,
        /// What happened before.
        entries: Arc<[Entry]>,
    },
    /// It has ended; nobody owns it.
    Ended {
        /// What it came to.
        summary: Summary,
        /// What happened.
        entries: Arc<[Entry]>,
    },
}

impl Journals {
    /// The journals of a store.
    #[must_use]
    pub fn new(storage: Storage, runtime: Runtime, config: JournalConfig) -> Self {
        Self(Arc::new(Shared::new(storage, runtime, config)))
    }

    /// Begins the context's run with its first facts and owns it.
    ///
    /// # Errors
    /// `InvalidInput` when the first fact is not [`Fact::ExecutionStarted`]; `AlreadyExists` when there is such a run;
    /// the errors of the store.
    ///
    /// # Cancellation
    /// A dropped future has begun the run or not; the lease of one that it began lapses by itself.
    pub async fn create(&self, ctx: &Context, facts: &[Fact]) -> Result<Journal> {
        let run = ctx.run_id();
        if !matches!(facts.first(), Some(Fact::ExecutionStarted { .. })) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "journal.create",
                "expected a start as the first fact",
            )
            .with("run", run));
        }
        let records = self.0.encode(ctx.now(), ctx.path(), facts)?;
        let exists =
            || Error::new(ErrorKind::AlreadyExists, "journal.create", "there is such a run").with("run", run);
        let place = self.0.keeper.reserve(ctx).map_err(|err| exists().caused_by(err))?;
        let grant = self.acquire(ctx, &Name::of(run)).await?.ok_or_else(exists)?;
        let append = Append {
            expected: Some(0),
            fence: Some(&grant.fence),
            records,
            ..Append::to(&grant.fence.lease)
        };
        let length = match self.0.storage.append(ctx, append).await {
            Ok(length) => length,
            Err(err) => {
                self.release(ctx, &grant).await;
                return Err(if err.kind() == ErrorKind::Conflict { exists().caused_by(err) } else { err });
            }
        };
        self.0.tails.notify(ctx.tenant(), run);
        Ok(Journal::new(Arc::clone(&self.0), ctx.clone(), grant, place, Arc::default(), length))
    }

    /// Takes the context's run up again: loads its entries, owns it, and records that it was resumed.
    ///
    /// It waits for the lease of an owner that died, a little longer than [`JournalConfig::lease_ttl`].
    /// A run that failed is taken up too, and tries again what failed.
    /// Of a run that is complete or was cancelled it gives the state and owns nothing.
    ///
    /// # Errors
    /// `NotFound` when there is no such run; `Conflict` when a living process, or this one, works on it; `Cancelled`
    /// and `Timeout` with the context while it waits; `Corrupt` for an entry that cannot be read; the errors of the
    /// store.
    ///
    /// # Cancellation
    /// A dropped future may have recorded that the run was resumed; its lease lapses by itself.
    pub async fn open(&self, ctx: &Context) -> Result<Opened> {
        self.open_if(ctx, |_| Ok(())).await
    }

    /// Like [`Journals::open`], unless a look at the entries says no: then nothing is recorded, and the run is left as
    /// it is.
    ///
    /// # Errors
    /// What `check` says, and as [`Journals::open`].
    ///
    /// # Cancellation
    /// As [`Journals::open`].
    pub async fn open_if(
        &self,
        ctx: &Context,
        check: impl Fn(&[Entry]) -> Result<()> + Send + Sync,
    ) -> Result<Opened> {
        let run = ctx.run_id();
        let mut entries = Vec::new();
        self.load(ctx, run, &mut entries).await?;
        if entries.is_empty() {
            return Err(
                Error::new(ErrorKind::NotFound, "journal.open", "there is no such run").with("run", run)
            );
        }
        if ended(&entries) {
            return Ok(Opened::ended(entries));
        }
        // Before the wait for the lease, which a changed definition would only prolong.
        check(&entries)?;
        let place = self.0.keeper.reserve(ctx)?;
        let grant = self.wait_for_lease(ctx).await?;
        match self.take_up(ctx, &grant, &mut entries).await {
            Ok(Some(length)) => {
                let entries: Arc<[Entry]> = entries.into();
                let shared = Arc::clone(&self.0);
                let journal = Journal::new(shared, ctx.clone(), grant, place, Arc::clone(&entries), length);
                self.0.tails.notify(ctx.tenant(), run);
                Ok(Opened::Running { journal, entries })
            }
            ended => {
                self.release(ctx, &grant).await;
                ended.map(|_| Opened::ended(entries))
            }
        }
    }

    /// Loads what the owner before appended until now, and records that the run was resumed; `None` when it has ended.
    async fn take_up(&self, ctx: &Context, grant: &Grant, entries: &mut Vec<Entry>) -> Result<Option<u64>> {
        let resumed = self.0.encode(ctx.now(), ctx.path(), &[Fact::ExecutionResumed])?;
        let mut conflict = None;
        for _ in 0..ATTEMPTS {
            let known = entries.len();
            self.load(ctx, ctx.run_id(), entries).await?;
            if ended(entries) {
                return Ok(None);
            }
            // The owner before has no way to append any more; those outside have, and each time something is new.
            if let Some(err) = conflict.take_if(|_| known == entries.len()) {
                return Err(err);
            }
            let append = Append {
                expected: Some(entries.len() as u64),
                fence: Some(&grant.fence),
                records: resumed.clone(),
                ..Append::to(&grant.fence.lease)
            };
            match self.0.storage.append(ctx, append).await {
                Ok(length) => return Ok(Some(length)),
                Err(err) if err.kind() == ErrorKind::Conflict => conflict = Some(err),
                Err(err) => return Err(err),
            }
        }
        Err(outrun("journal.open", ctx.run_id()))
    }

    /// Gives back the leases of runs that were dropped before their end, so that others need not wait for them.
    ///
    /// A lease that the store does not take back lapses by itself.
    pub async fn close(&self) {
        self.0.keeper.give_back().await;
    }

    /// Entries of a run from a sequence on, at most `limit`; none of a run that does not exist.
    ///
    /// # Errors
    /// `Corrupt` for an entry that cannot be read; the errors of the store.
    pub async fn read(&self, ctx: &Context, run: RunId, from: u64, limit: usize) -> Result<Vec<Entry>> {
        let records = self.0.storage.read(ctx, Name::of(run).as_str(), from, limit).await?;
        records.iter().map(|record| decode(run, record)).collect()
    }

    pub(super) async fn load(&self, ctx: &Context, run: RunId, entries: &mut Vec<Entry>) -> Result<()> {
        loop {
            let page = self.read(ctx, run, entries.len() as u64, PAGE).await?;
            let last = page.len() < PAGE;
            entries.extend(page);
            if last {
                return Ok(());
            }
        }
    }

    pub(super) async fn acquire(&self, ctx: &Context, name: &Name) -> Result<Option<Grant>> {
        self.0.storage.acquire(ctx, name.as_str(), &self.0.owner, self.0.config.lease_ttl).await
    }

    async fn wait_for_lease(&self, ctx: &Context) -> Result<Grant> {
        let JournalConfig { lease_ttl, heartbeat, poll, .. } = self.0.config;
        let (name, clock) = (Name::of(ctx.run_id()), ctx.runtime().clock());
        let start = clock.elapsed();
        let wait = async {
            loop {
                if let Some(grant) = self.acquire(ctx, &name).await? {
                    return Ok(grant);
                }
                // A dead owner's lease lapses within its ttl, so this one was renewed.
                if clock.elapsed().saturating_sub(start) > lease_ttl + heartbeat {
                    return Err(Error::new(
                        ErrorKind::Conflict,
                        "journal.open",
                        "the run is owned by a living process",
                    )
                    .with("run", ctx.run_id()));
                }
                clock.sleep(poll).await;
            }
        };
        ctx.bound("journal.open", wait).await?
    }

    pub(super) async fn release(&self, ctx: &Context, grant: &Grant) {
        if let Err(err) = self.0.storage.release(ctx, grant).await {
            // It lapses by itself.
            tracing::debug!(lease = %grant.fence.lease, error = %err, "a lease was not given back");
        }
    }
}

impl Opened {
    fn ended(entries: Vec<Entry>) -> Self {
        Self::Ended { summary: Summary::of(&entries), entries: entries.into() }
    }
}

fn ended(entries: &[Entry]) -> bool {
    entries.last().is_some_and(|entry| entry.fact.is_final())
}
