//! Tails: the entries of a run as they come, history first.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::Notify;

use crate::{
    error::{Error, ErrorKind, Result},
    journal::{Entry, Journals, shared::Name},
    runtime::Context,
    types::{RunId, TenantId},
};

/// How many entries a tail reads at once.
const PAGE: usize = 256;

impl Journals {
    /// The entries of a run from a sequence on, and then each one as it is appended.
    ///
    /// It ends after the end of the run, also one by a failure, unless the run was resumed by then.
    /// What this process appends comes at once, what another appends within [`crate::journal::JournalConfig::poll`];
    /// on PostgreSQL it comes at once too.
    ///
    /// # Errors
    /// The last item is an error: `NotFound` when there is no such run, `Cancelled` and `Timeout` with the context,
    /// otherwise as [`Journals::read`].
    pub fn tail(&self, ctx: &Context, run: RunId, from: u64) -> BoxStream<'static, Result<Entry>> {
        let watch = Watch::new(self, (ctx.tenant().clone(), run));
        let (ctx, ready) = (ctx.clone(), VecDeque::new());
        let tail = Tail { watch, ctx, run, next: from, ready, may_be_over: true, ended: false };
        stream::unfold(tail, |mut tail| async move {
            if tail.ended {
                return None;
            }
            let item = tail.next().await.transpose()?;
            tail.ended = item.as_ref().map_or(true, |entry| entry.fact.is_final());
            Some((item, tail))
        })
        .boxed()
    }
}

struct Tail {
    watch: Watch,
    ctx: Context,
    run: RunId,
    next: u64,
    ready: VecDeque<Entry>,
    /// Nothing was read yet, or an end last.
    may_be_over: bool,
    ended: bool,
}

impl Tail {
    /// The next entry, or `None` when the run had ended before where the tail began.
    async fn next(&mut self) -> Result<Option<Entry>> {
        if self.ready.is_empty() && !self.fill().await? {
            return Ok(None);
        }
        let entry = self.ready.pop_front();
        self.may_be_over = entry.as_ref().is_some_and(|entry| entry.fact.is_end());
        self.next += 1;
        Ok(entry)
    }

    /// Waits for entries; `false` when there will be none.
    async fn fill(&mut self) -> Result<bool> {
        let Self { watch, ctx, run, next, ready, may_be_over, .. } = self;
        let poll = watch.journals.0.config.poll;
        loop {
            // Enabled before it reads, so that an append in between wakes it.
            let mut appended = std::pin::pin!(watch.notify.notified());
            appended.as_mut().enable();
            ready.extend(watch.journals.read(ctx, *run, *next, PAGE).await?);
            if !ready.is_empty() {
                return Ok(true);
            }
            if std::mem::take(may_be_over) && watch.journals.is_over(ctx, *run, *next).await? {
                return Ok(false);
            }
            let name = Name::of(*run);
            let wait = async {
                tokio::select! {
                    () = appended => Ok(()),
                    grown = watch.journals.0.storage.grown(ctx, name.as_str(), *next, poll) => grown,
                }
            };
            ctx.bound("journal.tail", wait).await??;
        }
    }
}

impl Journals {
    /// Whether a run has ended with nothing at or after `next`.
    async fn is_over(&self, ctx: &Context, run: RunId, next: u64) -> Result<bool> {
        let length = self.0.length(ctx, run).await?;
        let Some(last) = length.checked_sub(1) else {
            return Err(
                Error::new(ErrorKind::NotFound, "journal.tail", "there is no such run").with("run", run)
            );
        };
        // What was appended since the tail read has still to be told, the end above all.
        Ok(length <= next && self.read(ctx, run, last, 1).await?.iter().any(|entry| entry.fact.is_end()))
    }
}

type Key = (TenantId, RunId);

/// Who wants to know of appends in this process; costs an append one load when nobody does.
#[derive(Debug, Default)]
pub(super) struct Tails {
    count: AtomicUsize,
    // A std mutex: no await happens while it is held.
    watched: Mutex<HashMap<Key, Watched>>,
}

#[derive(Debug, Default)]
struct Watched {
    notify: Arc<Notify>,
    tails: usize,
}

impl Tails {
    /// Wakes the tails of a run.
    pub(super) fn notify(&self, tenant: &TenantId, run: RunId) {
        // Sequentially consistent with the tail's count: either this sees the tail or the tail reads the entry.
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let notify = self.lock().get(&(tenant.clone(), run)).map(|it| Arc::clone(&it.notify));
        if let Some(notify) = notify {
            notify.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One tail's interest in a run.
struct Watch {
    journals: Journals,
    key: Key,
    notify: Arc<Notify>,
}

impl Watch {
    fn new(journals: &Journals, key: Key) -> Self {
        let tails = &journals.0.tails;
        tails.count.fetch_add(1, Ordering::SeqCst);
        let notify = {
            let mut watched = tails.lock();
            let watched = watched.entry(key.clone()).or_default();
            watched.tails += 1;
            Arc::clone(&watched.notify)
        };
        Self { journals: journals.clone(), key, notify }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let tails = &self.journals.0.tails;
        let mut watched = tails.lock();
        if let Some(it) = watched.get_mut(&self.key) {
            it.tails -= 1;
            if it.tails == 0 {
                watched.remove(&self.key);
            }
        }
        tails.count.fetch_sub(1, Ordering::SeqCst);
    }
}
