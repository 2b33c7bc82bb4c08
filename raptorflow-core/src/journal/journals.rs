//! `Journals`: creates, opens, reads and lists runs.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    error::{Error, ErrorKind, Result},
    journal::{
        Entry, Fact, Journal, Summary,
        entry::{decode, encode},
        keeper::Keeper,
        tail::Tails,
    },
    runtime::{Context, Runtime},
    storage::{Append, Grant, Storage},
    types::RunId,
};

/// What the streams and leases of runs are called before their id.
const PREFIX: &str = "run/";
/// How many entries are read at once.
const PAGE: usize = 512;
/// Scratch room that a large fact needed is not kept beyond this, in bytes.
const KEEP_SCRATCH: usize = 64 * 1024;

/// Settings of the journals of one process.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JournalConfig {
    /// How long a run stays owned when its process says nothing; 5 seconds by default.
    pub lease_ttl: Duration,
    /// How often the process says that it is alive; a third of `lease_ttl` by default.
    pub heartbeat: Duration,
    /// How often a tail looks for what other processes append; 200 ms by default.
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
/// let started = Fact::ExecutionStarted { target: "sum".into(), input: 2.into(), capability: None, background: None };
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

pub(super) struct Shared {
    pub(super) storage: Storage,
    pub(super) config: JournalConfig,
    pub(super) tails: Tails,
    owner: Arc<str>,
    keeper: Arc<Keeper>,
    scratch: Mutex<Vec<u8>>,
}

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
        let owner = config.owner.clone().unwrap_or_else(|| Arc::from(runtime.ids().run().to_string()));
        let keeper = Keeper::new(storage.clone(), runtime, config.lease_ttl, config.heartbeat);
        let tails = Tails::default();
        Self(Arc::new(Shared { storage, config, tails, owner, keeper, scratch: Mutex::default() }))
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
        let records = self.0.encode(ctx, facts)?;
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
        if let Err(err) = self.0.storage.append(ctx, append).await {
            self.release(ctx, &grant).await;
            return Err(if err.kind() == ErrorKind::Conflict { exists().caused_by(err) } else { err });
        }
        self.0.tails.notify(ctx);
        Ok(Journal::new(Arc::clone(&self.0), ctx.clone(), grant, place, Arc::default()))
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
        let place = self.0.keeper.reserve(ctx)?;
        let grant = self.wait_for_lease(ctx).await?;
        // The owner before may have appended until now, and has no way to do so any more.
        let loaded = self.load(ctx, run, &mut entries).await;
        if loaded.is_err() || ended(&entries) {
            self.release(ctx, &grant).await;
            return loaded.map(|()| Opened::ended(entries));
        }
        let entries: Arc<[Entry]> = entries.into();
        let journal = Journal::new(Arc::clone(&self.0), ctx.clone(), grant, place, Arc::clone(&entries));
        journal.append(ctx, &[Fact::ExecutionResumed]).await?;
        Ok(Opened::Running { journal, entries })
    }

    /// Entries of a run from a sequence on, at most `limit`; none of a run that does not exist.
    ///
    /// # Errors
    /// `Corrupt` for an entry that cannot be read; the errors of the store.
    pub async fn read(&self, ctx: &Context, run: RunId, from: u64, limit: usize) -> Result<Vec<Entry>> {
        let records = self.0.storage.read(ctx, Name::of(run).as_str(), from, limit).await?;
        records.iter().map(|record| decode(run, record)).collect()
    }

    /// A run in short; reads all of its entries.
    ///
    /// # Errors
    /// `NotFound` when there is no such run; otherwise as [`Journals::read`].
    pub async fn summary(&self, ctx: &Context, run: RunId) -> Result<Summary> {
        let mut summary = Summary::default();
        loop {
            let page = self.read(ctx, run, summary.entries, PAGE).await?;
            page.iter().for_each(|entry| summary.apply(entry));
            if page.len() < PAGE {
                break;
            }
        }
        if summary.entries == 0 {
            return Err(
                Error::new(ErrorKind::NotFound, "journal.summary", "there is no such run").with("run", run)
            );
        }
        Ok(summary)
    }

    /// Runs of the context's tenant in the order of their ids, which is that of their birth; after `after`, at most
    /// `limit`.
    ///
    /// # Errors
    /// As [`Journals::read`].
    pub async fn list(
        &self,
        ctx: &Context,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<(RunId, Summary)>> {
        let after = after.map(Name::of);
        let names = self.0.storage.streams(ctx, PREFIX, after.as_ref().map(Name::as_str), limit).await?;
        let mut runs = Vec::with_capacity(names.len());
        for name in &names {
            let run: RunId = name.strip_prefix(PREFIX).unwrap_or_default().parse()?;
            match self.summary(ctx, run).await {
                Ok(summary) => runs.push((run, summary)),
                // Removed since its name was read.
                Err(err) if err.kind() == ErrorKind::NotFound => {}
                Err(err) => return Err(err),
            }
        }
        Ok(runs)
    }

    async fn load(&self, ctx: &Context, run: RunId, entries: &mut Vec<Entry>) -> Result<()> {
        loop {
            let page = self.read(ctx, run, entries.len() as u64, PAGE).await?;
            let last = page.len() < PAGE;
            entries.extend(page);
            if last {
                return Ok(());
            }
        }
    }

    async fn acquire(&self, ctx: &Context, name: &Name) -> Result<Option<Grant>> {
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

    async fn release(&self, ctx: &Context, grant: &Grant) {
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

impl Shared {
    /// How many entries a run has.
    pub(super) async fn length(&self, ctx: &Context, run: RunId) -> Result<u64> {
        self.storage.length(ctx, Name::of(run).as_str()).await
    }

    /// The stored form of facts at the context's path.
    pub(super) fn encode(&self, ctx: &Context, facts: &[Fact]) -> Result<Vec<Bytes>> {
        // Another thread may write with it now; then this one takes its own.
        let Ok(mut scratch) = self.scratch.try_lock() else {
            return encode(ctx.now(), ctx.path(), facts, &mut Vec::new());
        };
        let records = encode(ctx.now(), ctx.path(), facts, &mut scratch);
        scratch.shrink_to(KEEP_SCRATCH);
        records
    }
}

impl fmt::Debug for Shared {
    /// Without the scratch room, which holds what was written last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { storage, config, owner, keeper, .. } = self;
        let mut out = f.debug_struct("Shared");
        out.field("storage", storage).field("config", config).field("owner", owner).field("keeper", keeper);
        out.finish_non_exhaustive()
    }
}

/// The name of a run's stream and lease, without an allocation.
#[derive(Clone, Copy)]
struct Name([u8; 40]);

impl Name {
    fn of(run: RunId) -> Self {
        let mut name = [0; 40];
        let (prefix, id) = name.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX.as_bytes());
        run.as_uuid().hyphenated().encode_lower(id);
        Self(name)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or(PREFIX)
    }
}

fn ended(entries: &[Entry]) -> bool {
    entries.last().is_some_and(|entry| entry.fact.is_final())
}
