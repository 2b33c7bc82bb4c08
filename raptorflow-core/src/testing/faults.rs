//! `FaultyLog`: a log whose appends fail at given places, before or after they write.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::Context,
    storage::{Append, Log, MemoryStore, Record, Storage},
};

/// When an append fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Nothing is written, as on a full disk.
    Before,
    /// All is written and the answer is lost, as with a broken connection.
    After,
}

/// A log over another; the appends with given numbers fail as `Unavailable`; cloning shares the count.
///
/// ```
/// use raptorflow_core::{runtime::{Context, Runtime}, storage::{Append, MemoryStore}};
/// use raptorflow_core::testing::{Fault, FaultyLog};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let (storage, log) = FaultyLog::storage(&MemoryStore::new(), [(1, Fault::Before)]);
/// let ctx = Context::new(&Runtime::current()?);
/// let note = || Append { records: vec!["note".into()], ..Append::to("notes") };
/// assert_eq!(storage.append(&ctx, note()).await?, 1);
/// assert!(storage.append(&ctx, note()).await.is_err());
/// assert_eq!(storage.append(&ctx, note()).await?, 2);
/// assert_eq!(log.calls(), 3);
/// # Ok::<(), raptorflow_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct FaultyLog {
    inner: Arc<dyn Log>,
    faults: Arc<BTreeMap<usize, Fault>>,
    calls: Arc<AtomicUsize>,
}

impl FaultyLog {
    /// A log over another, with faults by the number of the append, from 0.
    pub fn new(log: Arc<dyn Log>, faults: impl IntoIterator<Item = (usize, Fault)>) -> Self {
        Self { inner: log, faults: Arc::new(faults.into_iter().collect()), calls: Arc::default() }
    }

    /// A storage over a store in memory whose log is faulty, and that log.
    pub fn storage(store: &MemoryStore, faults: impl IntoIterator<Item = (usize, Fault)>) -> (Storage, Self) {
        let log = Self::new(Arc::new(store.clone()), faults);
        let storage =
            Storage::from_parts(Arc::new(store.clone()), Arc::new(log.clone()), Arc::new(store.clone()));
        (storage, log)
    }

    /// How many appends there were, those that failed too.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Log for FaultyLog {
    async fn append(&self, ctx: &Context, append: Append<'_>) -> Result<u64> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let broken = || {
            Error::new(ErrorKind::Unavailable, "testing.append", "the log fails here").with("append", call)
        };
        match self.faults.get(&call) {
            Some(Fault::Before) => Err(broken()),
            Some(Fault::After) => self.inner.append(ctx, append).await.and_then(|_| Err(broken())),
            None => self.inner.append(ctx, append).await,
        }
    }

    async fn read(&self, ctx: &Context, stream: &str, from: u64, limit: usize) -> Result<Vec<Record>> {
        self.inner.read(ctx, stream, from, limit).await
    }

    async fn length(&self, ctx: &Context, stream: &str) -> Result<u64> {
        self.inner.length(ctx, stream).await
    }

    async fn streams(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>> {
        self.inner.streams(ctx, prefix, after, limit).await
    }

    async fn grown(&self, ctx: &Context, stream: &str, length: u64, patience: Duration) -> Result<()> {
        self.inner.grown(ctx, stream, length, patience).await
    }

    async fn remove(&self, ctx: &Context, stream: &str) -> Result<bool> {
        self.inner.remove(ctx, stream).await
    }
}
