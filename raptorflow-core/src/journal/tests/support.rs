//! What the tests of the journal share: facts, and processes over one store and one clock.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    error::{Error, ErrorKind, Result},
    journal::{Entry, Fact, Journal, JournalConfig, Journals, Opened},
    runtime::{Context, Runtime, Tasks},
    storage::{Append, Capability, Expect, KeyValue, Log, MemoryStore, Record, Scan, Storage, Versioned},
    testing::ManualClock,
    types::{Finish, RunId},
};

pub(super) fn started() -> Fact {
    Fact::ExecutionStarted {
        target: "test".into(),
        input: Value::Null,
        capability: None,
        background: None,
        user: None,
    }
}

pub(super) fn completed() -> Fact {
    Fact::ExecutionCompleted { output: json!("done"), finish: Finish::Complete }
}

pub(super) fn failed() -> Fact {
    Fact::ExecutionFailed { error: Error::new(ErrorKind::Unavailable, "test", "gone") }
}

pub(super) fn step(value: usize) -> Fact {
    Fact::StepCompleted { value: value.into(), took: None }
}

/// A store in memory that says that several processes share it.
#[derive(Debug)]
struct SharedKeys(MemoryStore);

#[async_trait]
impl KeyValue for SharedKeys {
    fn capability(&self) -> Capability {
        Capability::new(false, true)
    }

    async fn get(&self, ctx: &Context, key: &str) -> Result<Option<Versioned>> {
        self.0.get(ctx, key).await
    }

    async fn put(&self, ctx: &Context, key: &str, value: Bytes, expect: Expect) -> Result<u64> {
        self.0.put(ctx, key, value, expect).await
    }

    async fn delete(&self, ctx: &Context, key: &str, expect: Expect) -> Result<bool> {
        self.0.delete(ctx, key, expect).await
    }

    async fn scan(&self, ctx: &Context, scan: Scan<'_>) -> Result<Vec<(String, Versioned)>> {
        self.0.scan(ctx, scan).await
    }
}

/// A log whose answers come late, so that others act in between: an owner hears of its appends latest.
#[derive(Debug)]
struct LateLog(MemoryStore);

#[async_trait]
impl Log for LateLog {
    async fn append(&self, ctx: &Context, append: Append<'_>) -> Result<u64> {
        let owner = append.fence.is_some();
        let appended = self.0.append(ctx, append).await;
        for _ in 0..if owner { 16 } else { 1 } {
            tokio::task::yield_now().await;
        }
        appended
    }

    async fn read(&self, ctx: &Context, stream: &str, from: u64, limit: usize) -> Result<Vec<Record>> {
        let records = self.0.read(ctx, stream, from, limit).await;
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        records
    }

    async fn length(&self, ctx: &Context, stream: &str) -> Result<u64> {
        self.0.length(ctx, stream).await
    }

    async fn streams(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>> {
        self.0.streams(ctx, prefix, after, limit).await
    }

    async fn remove(&self, ctx: &Context, stream: &str) -> Result<bool> {
        self.0.remove(ctx, stream).await
    }
}

/// One run, the process that owns it, and the clock of all.
pub(super) struct World {
    pub(super) clock: ManualClock,
    pub(super) storage: Storage,
    pub(super) ctx: Context,
    pub(super) journals: Journals,
}

impl World {
    /// A store that only this process has.
    pub(super) fn new() -> Self {
        Self::over(Storage::memory())
    }

    /// A store that [`World::other`] processes have too.
    pub(super) fn shared() -> Self {
        let store = MemoryStore::new();
        let keys = Arc::new(SharedKeys(store.clone()));
        Self::over(Storage::from_parts(keys, Arc::new(store.clone()), Arc::new(store)))
    }

    /// A store that answers late.
    pub(super) fn late() -> Self {
        let store = MemoryStore::new();
        let log = Arc::new(LateLog(store.clone()));
        Self::over(Storage::from_parts(Arc::new(store.clone()), log, Arc::new(store)))
    }

    pub(super) fn over(storage: Storage) -> Self {
        let clock = ManualClock::new();
        let runtime = Runtime::new(Arc::new(clock.clone()), Tasks::current().unwrap());
        let journals = Journals::new(storage.clone(), runtime.clone(), JournalConfig::default());
        Self { clock, storage, ctx: Context::new(&runtime), journals }
    }

    /// The journals of another process.
    pub(super) fn other(&self) -> Journals {
        Journals::new(self.storage.clone(), self.ctx.runtime().clone(), JournalConfig::default())
    }

    pub(super) fn run(&self) -> RunId {
        self.ctx.run_id()
    }

    pub(super) async fn created(&self) -> Journal {
        self.journals.create(&self.ctx, &[started()]).await.unwrap()
    }

    pub(super) async fn opened(&self) -> (Journal, Arc<[Entry]>) {
        let ctx = Context::for_run(self.ctx.runtime(), self.run());
        match self.journals.open(&ctx).await.unwrap() {
            Opened::Running { journal, entries } => (journal, entries),
            Opened::Ended { summary, .. } => panic!("ended: {summary:?}"),
        }
    }

    pub(super) async fn signal(&self, name: &str) -> Result<u64> {
        let ctx = Context::new(self.ctx.runtime());
        self.journals.signal(&ctx, self.run(), name, json!(name), Some("ann".into())).await
    }

    /// Lets everybody work, and moves the time on by one poll in between.
    pub(super) async fn poll(&self) {
        settle().await;
        self.clock.advance(JournalConfig::default().poll);
        settle().await;
    }
}

/// Lets every other task go on as far as it can.
pub(super) async fn settle() {
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
}
