//! `Journal`: the handle to one run that this process works on.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use crate::{
    error::{Error, ErrorKind, Result},
    journal::{
        Entry, Fact, Summary,
        keeper::Place,
        known::{History, Known},
        notes::Notes,
        outside::Outside,
        shared::Shared,
    },
    runtime::{Cancel, Context},
    storage::{Append, Grant},
    types::{Money, RunId, Timestamp, Usage},
};

/// A run that this process owns; cloning gives the same one.
///
/// Appends of parallel agents all land, each batch together.
/// Dropping the last clone without [`Journal::finish`] leaves the run as it is, for anybody to resume: the lease is given
/// back at the next heartbeat or by [`Journals::close`](crate::journal::Journals::close), and lapses by itself when the
/// process dies before.
///
/// ```
/// use raptorflow_core::journal::{Fact, JournalConfig, Journals, Opened};
/// use raptorflow_core::{Error, ErrorKind, runtime::{Context, Runtime}, storage::Storage};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let runtime = Runtime::current()?;
/// let journals = Journals::new(Storage::memory(), runtime.clone(), JournalConfig::default());
/// let ctx = Context::new(&runtime);
/// let started =
///     Fact::ExecutionStarted { target: "sum".into(), input: 2.into(), capability: None, background: None, user: None };
/// let journal = journals.create(&ctx, &[started]).await?;
/// journal.step(&ctx, "add", |_| async { Ok(1 + 1) }).await?;
/// let error = Error::new(ErrorKind::Unavailable, "host.call", "down");
/// journal.finish(&ctx, &[Fact::ExecutionFailed { error }]).await?;
/// drop(journal);
///
/// let Opened::Running { journal, entries } = journals.open(&ctx).await? else { unreachable!() };
/// assert_eq!((entries.len(), journal.recorded("add").len()), (3, 1));
/// // The value is recorded, so the work is not done again.
/// let sum: i32 = journal.step(&ctx, "add", |_| async { unreachable!() }).await?;
/// assert_eq!(sum, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Journal(pub(super) Arc<Run>);

pub(super) struct Run {
    shared: Arc<Shared>,
    ctx: Context,
    grant: Grant,
    /// Microseconds; the grant itself never changes, because its token does not.
    expires: AtomicI64,
    place: Mutex<Option<Place>>,
    lost: AtomicBool,
    broken: AtomicBool,
    // A std mutex: no await happens while it is held.
    summary: Mutex<Summary>,
    history: History,
    // A std mutex: no await happens while it is held.
    known: Mutex<Known>,
    // A std mutex: no await happens while it is held.
    notes: Mutex<Notes>,
    outside: Outside,
}

impl Journal {
    pub(super) fn new(
        shared: Arc<Shared>,
        ctx: Context,
        grant: Grant,
        place: Place,
        entries: Arc<[Entry]>,
        length: u64,
    ) -> Self {
        let outside = Outside::of(&entries, length);
        let cancelled = outside.is_cancelled();
        let run = Arc::new(Run {
            shared,
            ctx,
            expires: AtomicI64::new(grant.expires.as_micros()),
            grant,
            place: Mutex::new(None),
            lost: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            summary: Mutex::new(Summary::of(&entries)),
            known: Mutex::new(Known::of(&entries)),
            notes: Mutex::new(Notes::of(&entries)),
            history: History::of(entries),
            outside,
        });
        if cancelled {
            run.ctx.cancel().cancel();
        }
        place.keep(&run);
        *run.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
        Self(run)
    }

    /// The run.
    #[must_use]
    pub fn run_id(&self) -> RunId {
        self.0.ctx.run_id()
    }

    /// The token of the context that the run was created or opened with; it is cancelled when the lease is lost.
    #[must_use]
    pub fn cancel(&self) -> &Cancel {
        self.0.ctx.cancel()
    }

    /// Whether the run may belong to somebody else by now, because its lease was lost.
    ///
    /// Its work was stopped then, and says nothing about how the run ends.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Whether the store failed to append: not all that happened since is recorded, and only a resume knows what is.
    pub(crate) fn is_broken(&self) -> bool {
        self.0.broken.load(Ordering::Relaxed)
    }

    /// Tokens and cost of all model calls so far; see [`Summary::spent`].
    #[must_use]
    pub fn spent(&self) -> (Usage, Option<Money>) {
        self.0.summary().spent()
    }

    /// The entries that stood at a path when the run was opened; none in a run that was just created.
    #[must_use]
    pub fn recorded(&self, path: &str) -> Vec<Entry> {
        self.0.history.at(path).cloned().collect()
    }

    /// Whether anything was recorded before it was opened; `false` for a run that was just created.
    #[must_use]
    pub fn has_history(&self) -> bool {
        !self.0.history.is_empty()
    }

    /// The entries of steps that had completed below a path when the run was opened, oldest first.
    pub(crate) fn completed(&self, path: &str) -> Vec<Entry> {
        self.0.history.completed(path).cloned().collect()
    }

    /// How long steps below a path had worked when the run was opened, since it began or began again.
    pub(crate) fn worked(&self, path: &str) -> Duration {
        self.0.history.worked(path)
    }

    /// The place of the last entry at which the run failed as a whole or was forked: what failed before is tried again.
    pub(crate) fn begun_again(&self) -> Option<u64> {
        self.0.history.begun_again()
    }

    /// The place of the last entry at which the run was forked: what comes before happened to another run.
    pub(crate) fn forked(&self) -> Option<u64> {
        self.0.history.forked()
    }

    /// Appends facts at the context's path, all or none, and returns how many entries the run has then.
    ///
    /// They are durable when it returns, where the store is durable.
    ///
    /// # Errors
    /// `Conflict` when the run has ended, or has another owner by now: then its token is cancelled.
    /// `Unavailable` and the other errors of the store.
    ///
    /// # Cancellation
    /// A cancelled context does not stop it, so that a run can record its end.
    /// Dropping the future leaves all of the facts or none.
    pub async fn append(&self, ctx: &Context, facts: &[Fact]) -> Result<u64> {
        self.append_at(ctx.path(), facts).await
    }

    /// Like [`Journal::append`], at a path that is given instead of a context's.
    ///
    /// # Errors
    /// As [`Journal::append`].
    ///
    /// # Cancellation
    /// As [`Journal::append`].
    pub async fn append_at(&self, path: &str, facts: &[Fact]) -> Result<u64> {
        let run = &*self.0;
        let (shared, fence) = (&*run.shared, &run.grant.fence);
        let appended = match facts {
            [fact] => {
                let record = shared.encode_one(run.ctx.now(), path, fact)?;
                shared.storage.append_owned(&run.ctx, fence, record).await
            }
            facts => {
                let records = shared.encode(run.ctx.now(), path, facts)?;
                // The lease has the name of the stream.
                let append = Append { fence: Some(fence), records, ..Append::to(&fence.lease) };
                shared.storage.append(&run.ctx, append).await
            }
        };
        match appended {
            Ok(length) => {
                run.count(facts);
                run.outside.know(length, facts.len());
                run.shared.tails.notify(run.ctx.tenant(), run.ctx.run_id());
                Ok(length)
            }
            Err(err) => {
                match err.kind() {
                    ErrorKind::Conflict => run.lose(&err),
                    // The fault is in what was to be appended, and the store is well.
                    ErrorKind::InvalidInput | ErrorKind::LimitExceeded => {}
                    _ => run.broken.store(true, Ordering::Relaxed),
                }
                Err(err)
            }
        }
    }

    /// Appends the end of the run and gives the lease back; the last fact is how the run ended.
    ///
    /// # Errors
    /// `InvalidInput` when the last fact is no end; what [`Journal::append`] says: then the run is still owned.
    ///
    /// # Cancellation
    /// As [`Journal::append`]; once the end is appended, a lease that was not given back lapses by itself.
    pub async fn finish(&self, ctx: &Context, facts: &[Fact]) -> Result<u64> {
        if !facts.last().is_some_and(Fact::is_end) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "journal.finish",
                "expected an end as the last fact",
            )
            .with("run", self.run_id()));
        }
        let length = self.append(ctx, facts).await?;
        let run = &*self.0;
        // First, so that the keeper does not renew what is given back.
        let place = run.take_place();
        if let Err(err) = run.shared.storage.release(&run.ctx, &run.grant).await {
            // The end is durable, and the lease lapses by itself.
            tracing::debug!(run = %self.run_id(), error = %err, "a lease was not given back");
        }
        drop(place);
        Ok(length)
    }
}

impl Run {
    pub(super) fn ctx(&self) -> &Context {
        &self.ctx
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn outside(&self) -> &Outside {
        &self.outside
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    pub(super) fn grant(&self) -> &Grant {
        &self.grant
    }

    pub(super) fn expires(&self) -> Timestamp {
        Timestamp::from_micros(self.expires.load(Ordering::Relaxed))
    }

    pub(super) fn extend(&self, expires: Timestamp) {
        self.expires.store(expires.as_micros(), Ordering::Relaxed);
    }

    /// The run belongs to somebody else: stops the work and the renewals.
    pub(super) fn lose(&self, cause: &Error) {
        if let Some(place) = self.take_place() {
            self.lost.store(true, Ordering::Relaxed);
            tracing::warn!(run = %self.ctx.run_id(), error = %cause, "the run is not ours any more");
            self.ctx.cancel().cancel();
            drop(place);
        }
    }

    fn count(&self, facts: &[Fact]) {
        for fact in facts {
            match fact {
                Fact::ModelResponded { usage, cost, .. } => self.summary().add_model_call(*usage, *cost),
                Fact::ToolReturned { result } => self.summary().add_tool_cost(result.cost),
                _ => {}
            }
        }
    }

    fn summary(&self) -> MutexGuard<'_, Summary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_place(&self) -> Option<Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(place) = self.take_place() {
            place.leave(self.ctx.clone(), self.grant.clone());
        }
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("run", &self.ctx.run_id()).finish_non_exhaustive()
    }
}
