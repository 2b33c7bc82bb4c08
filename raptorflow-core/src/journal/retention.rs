//! Retention: ended runs are removed by policy, and one run by name.

use std::{collections::HashSet, time::Duration};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    error::{Error, ErrorKind, Result},
    journal::{
        Fact, Journals,
        entry::decode,
        list::kept_key,
        shared::{Name, PAGE, PREFIX},
    },
    runtime::Context,
    storage::{Append, Expect, Grant},
    types::{RunId, Timestamp},
};

/// How many names of runs are read at once.
const NAMES: usize = 256;
/// How many runs are looked at, or removed, at the same time.
const PARALLEL: usize = 16;
/// How much of a name is the time of the run: a child has that of its parent.
const TIME: usize = PREFIX.len() + "01234567-89ab".len();

/// Which ended runs are removed: those that fulfill every condition that is set, of which there must be one.
///
/// A run that has not ended is never removed, nor one that is paused or that a process works on.
///
/// ```
/// use std::time::Duration;
/// use raptorflow_core::journal::Retention;
/// const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// let policy = Retention { max_age: Some(30 * DAY), keep_last: Some(100), ..Retention::default() };
/// assert!(!policy.failed && policy.limit == 1000);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// It ended this long ago or longer, by the context's clock.
    pub max_age: Option<Duration>,
    /// At least this many runs that ended come after it in the order of ids.
    pub keep_last: Option<usize>,
    /// Whether failed runs count as ended; `false` by default, because they can be resumed.
    pub failed: bool,
    /// Only runs whose ids come after this one; for the next page.
    pub after: Option<RunId>,
    /// How many runs one call looks at, beside those that tell how many come after; 1,000 by default.
    pub limit: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self { max_age: None, keep_last: None, failed: false, after: None, limit: 1000 }
    }
}

/// What a call of [`Journals::prune`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How many runs were removed.
    pub removed: u64,
    /// How many runs were left, those that cannot be read included.
    pub kept: u64,
    /// How many runs have an end that cannot be read, and were left.
    pub unreadable: u64,
    /// What [`Retention::after`] is for the next call; `None` when there are no more runs.
    pub next: Option<RunId>,
}

/// The end of a run, as far as a policy wants to know it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// It has none, or one that does not count.
    None,
    /// It has none that can be read.
    Unreadable,
    /// When it ended, and how many entries it has.
    At { time: Timestamp, length: u64 },
}

impl Journals {
    /// Removes ended runs of the context's tenant by a policy, oldest first, one page at a time.
    ///
    /// Each is removed under its lease, so one that is being resumed at that moment is left.
    /// A run that is a part of another is left too while that one can still ask for it.
    /// What is left of a run that was removed: nothing in this store; forks of it are runs of their own.
    ///
    /// # Errors
    /// `InvalidInput` when the policy has no condition, or a limit of 0; the errors of the store.
    ///
    /// # Cancellation
    /// A dropped future has removed some of the runs, each as a whole.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use raptorflow_core::journal::{Fact, JournalConfig, Journals, Retention};
    /// use raptorflow_core::{runtime::{Context, Runtime}, storage::Storage};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let runtime = Runtime::current()?;
    /// let journals = Journals::new(Storage::memory(), runtime.clone(), JournalConfig::default());
    /// let ctx = Context::new(&runtime);
    /// let started =
    ///     Fact::ExecutionStarted { target: "sum".into(), input: 2.into(), capability: None, background: None, user: None };
    /// journals.create(&ctx, &[started]).await?.finish(&ctx, &[Fact::ExecutionCancelled]).await?;
    ///
    /// let mut policy = Retention { max_age: Some(Duration::from_secs(3600)), ..Retention::default() };
    /// assert_eq!(journals.prune(&ctx, &policy).await?.kept, 1);
    /// policy.max_age = Some(Duration::ZERO);
    /// assert_eq!(journals.prune(&ctx, &policy).await?.removed, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn prune(&self, ctx: &Context, retention: &Retention) -> Result<Pruned> {
        retention.check()?;
        let runs = self.ids(ctx, retention.after, retention.page()).await?;
        let mut pruned = Pruned { kept: runs.len() as u64, ..Pruned::default() };
        if runs.len() == retention.page() {
            pruned.next = runs.last().copied();
        }
        let ends = self.ends(ctx, &runs, retention.failed).await?;
        pruned.unreadable = ends.iter().filter(|end| **end == End::Unreadable).count() as u64;
        let mut removable = self.removable(ctx, retention, &runs, &ends).await?;
        // After the ends were read: whoever began a run that had ended by then had recorded that already.
        self.leave_children(ctx, &mut removable).await?;
        let removals = removable.into_iter().map(|(run, length)| self.remove_at(ctx, run, Some(length)));
        pruned.removed = stream::iter(removals)
            .buffer_unordered(PARALLEL)
            .try_fold(0, |sum, removed| async move { Ok(sum + u64::from(removed)) })
            .await?;
        pruned.kept -= pruned.removed;
        Ok(pruned)
    }

    /// Removes a run, however far it is.
    ///
    /// A tail of it hears nothing more.
    ///
    /// # Errors
    /// `NotFound` when there is no such run; `Conflict` when a process works on it, or died less than
    /// [`crate::journal::JournalConfig::lease_ttl`] ago; the errors of the store.
    ///
    /// # Cancellation
    /// A dropped future has removed the run or not; its lease lapses by itself.
    pub async fn remove(&self, ctx: &Context, run: RunId) -> Result<()> {
        if self.0.length(ctx, run).await? == 0 {
            return Err(
                Error::new(ErrorKind::NotFound, "journal.remove", "there is no such run").with("run", run)
            );
        }
        if self.remove_at(ctx, run, None).await? {
            return Ok(());
        }
        let message = "a process works on the run; cancel it first, or wait until its lease has lapsed";
        Err(Error::new(ErrorKind::Conflict, "journal.remove", message).with("run", run))
    }

    /// Ids of runs after `after`, at most `limit`.
    async fn ids(&self, ctx: &Context, after: Option<RunId>, limit: usize) -> Result<Vec<RunId>> {
        let mut runs: Vec<RunId> = Vec::new();
        while runs.len() < limit {
            let after = runs.last().copied().or(after).map(Name::of);
            let wanted = NAMES.min(limit - runs.len());
            let names = self.0.storage.streams(ctx, PREFIX, after.as_ref().map(Name::as_str), wanted).await?;
            for name in &names {
                runs.push(id_of(name)?);
            }
            if names.len() < wanted {
                break;
            }
        }
        Ok(runs)
    }

    async fn ends(&self, ctx: &Context, runs: &[RunId], failed: bool) -> Result<Vec<End>> {
        let ends = runs.iter().copied().map(|run| self.end(ctx, run, failed));
        stream::iter(ends).buffered(PARALLEL).try_collect().await
    }

    /// How a run ended: nothing follows an end but taking the run up again, so the last entry tells.
    async fn end(&self, ctx: &Context, run: RunId, failed: bool) -> Result<End> {
        let length = self.0.length(ctx, run).await?;
        let Some(last) = length.checked_sub(1) else { return Ok(End::None) };
        let entry = match self.0.storage.read(ctx, Name::of(run).as_str(), last, 1).await {
            Ok(records) => records.first().map(|record| decode(run, record)).transpose(),
            Err(err) => Err(err),
        };
        match entry {
            Ok(Some(entry)) if entry.fact.is_final() || (failed && entry.fact.is_end()) => {
                Ok(End::At { time: entry.time, length })
            }
            Ok(_) => Ok(End::None),
            // One damaged run must not keep all others.
            Err(err) if err.kind() == ErrorKind::Corrupt => {
                tracing::warn!(run = %run, error = %err, "the end of a run cannot be read, leaving the run");
                Ok(End::Unreadable)
            }
            Err(err) => Err(err),
        }
    }

    /// The runs of a page that the policy lets go, and their lengths.
    async fn removable(
        &self,
        ctx: &Context,
        retention: &Retention,
        runs: &[RunId],
        ends: &[End],
    ) -> Result<Vec<(RunId, u64)>> {
        let mut later = match retention.keep_last {
            Some(keep) => self.ended_after(ctx, runs, keep, retention.failed).await?,
            None => 0,
        };
        let mut removable = Vec::new();
        for (run, end) in runs.iter().zip(ends).rev() {
            let End::At { time, length } = *end else { continue };
            let old = retention.max_age.is_none_or(|age| ctx.now().since(time) >= age && ctx.now() >= time);
            if old && retention.keep_last.is_none_or(|keep| later >= keep) {
                removable.push((*run, length));
            }
            later += 1;
        }
        removable.reverse();
        Ok(removable)
    }

    /// How many runs that ended come after a page, as far as `keep`.
    async fn ended_after(&self, ctx: &Context, page: &[RunId], keep: usize, failed: bool) -> Result<usize> {
        let (mut later, mut after) = (0, page.last().copied());
        while later < keep && after.is_some() {
            let runs = self.ids(ctx, after, NAMES).await?;
            let ends = self.ends(ctx, &runs, failed).await?;
            later += ends.iter().filter(|end| matches!(end, End::At { .. })).count();
            after = runs.last().copied().filter(|_| runs.len() == NAMES);
        }
        Ok(later)
    }

    /// Takes out the runs that are a part of one which can still ask for them.
    async fn leave_children(&self, ctx: &Context, removable: &mut Vec<(RunId, u64)>) -> Result<()> {
        let mut family = (String::new(), HashSet::new());
        let mut left = HashSet::new();
        for (run, _) in &*removable {
            let name = Name::of(*run);
            let time = name.as_str().get(..TIME).unwrap_or(PREFIX);
            if family.0 != time {
                family = (time.to_owned(), self.wanted_children(ctx, time).await?);
            }
            if family.1.contains(run) {
                left.insert(*run);
            }
        }
        removable.retain(|(run, _)| !left.contains(run));
        Ok(())
    }

    /// The children of those runs whose names begin with `time` that are neither complete nor cancelled.
    async fn wanted_children(&self, ctx: &Context, time: &str) -> Result<HashSet<RunId>> {
        let mut children = HashSet::new();
        let mut after: Option<String> = None;
        loop {
            let names = self.0.storage.streams(ctx, time, after.as_deref(), NAMES).await?;
            // A run alone in its time, as most are, has no parent.
            if after.is_none() && names.len() < 2 {
                return Ok(children);
            }
            for name in &names {
                let run = id_of(name)?;
                if !matches!(self.end(ctx, run, false).await?, End::At { .. }) {
                    self.add_children(ctx, run, &mut children).await?;
                }
            }
            if names.len() < NAMES {
                return Ok(children);
            }
            after = names.into_iter().next_back();
        }
    }

    async fn add_children(&self, ctx: &Context, run: RunId, children: &mut HashSet<RunId>) -> Result<()> {
        let mut from = 0;
        loop {
            let page = match self.read(ctx, run, from, PAGE).await {
                Ok(page) => page,
                // It cannot be resumed either.
                Err(err) if err.kind() == ErrorKind::Corrupt => return Ok(()),
                Err(err) => return Err(err),
            };
            from += page.len() as u64;
            for entry in &page {
                if let Fact::ChildStarted { run, .. } = entry.fact {
                    children.insert(run);
                }
            }
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// Removes a run under its lease; `false` when somebody works on it, or when it has not `length` entries any more.
    async fn remove_at(&self, ctx: &Context, run: RunId, length: Option<u64>) -> Result<bool> {
        let ctx = Context::for_run(ctx.runtime(), run).with_tenant(ctx.tenant().clone());
        let Ok(place) = self.0.keeper.reserve(&ctx) else { return Ok(false) };
        let Some(grant) = self.acquire(&ctx, &Name::of(run)).await? else { return Ok(false) };
        let removed = self.remove_under(&ctx, &grant, length).await;
        self.release(&ctx, &grant).await;
        drop(place);
        removed
    }

    async fn remove_under(&self, ctx: &Context, grant: &Grant, length: Option<u64>) -> Result<bool> {
        let (storage, name) = (&self.0.storage, &*grant.fence.lease);
        // Without records it only asks: the lease is ours still, and nobody took the run up since it was looked at.
        let check = Append { expected: length, fence: Some(&grant.fence), ..Append::to(name) };
        let length = match storage.append(ctx, check).await {
            Ok(length) => length,
            Err(err) if err.kind() == ErrorKind::Conflict => return Ok(false),
            Err(err) => return Err(err),
        };
        if length >= PAGE as u64 {
            storage.delete(ctx, &kept_key(ctx.run_id()), Expect::Any).await?;
        }
        storage.remove(ctx, name).await
    }
}

impl Retention {
    fn check(&self) -> Result<()> {
        let wrong = |field: &'static str, expected: &'static str| {
            Err(Error::new(ErrorKind::InvalidInput, "journal.prune", expected).with("field", field))
        };
        if self.max_age.is_none() && self.keep_last.is_none() {
            return wrong(
                "max_age",
                "expected max_age, keep_last or both: without a condition every run would go",
            );
        }
        if self.limit == 0 {
            return wrong("limit", "expected a limit of 1 or more");
        }
        Ok(())
    }

    /// How many runs a call looks at: no fewer than those that tell how many come after, so that going through all
    /// runs looks at each twice at most.
    fn page(&self) -> usize {
        self.limit.max(self.keep_last.unwrap_or(0))
    }
}

fn id_of(name: &str) -> Result<RunId> {
    name.strip_prefix(PREFIX).unwrap_or_default().parse()
}
