//! A run has one owner: leases lapse, are renewed, lost and given back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    journal::{Entry, Fact, Journal, JournalConfig, Journals, Opened},
    runtime::{Context, Runtime, Tasks},
    storage::{Grant, Lease, MemoryStore, Storage},
    testing::ManualClock,
    types::RunId,
};

const TTL: Duration = Duration::from_secs(5);

/// A store that several processes share, and their time.
struct World {
    clock: ManualClock,
    storage: Storage,
    broken: Arc<AtomicBool>,
}

/// One process.
struct Process {
    runtime: Runtime,
    journals: Journals,
}

/// Leases of a store that can stop answering.
#[derive(Debug)]
struct Breakable {
    inner: MemoryStore,
    broken: Arc<AtomicBool>,
}

#[async_trait]
impl Lease for Breakable {
    async fn acquire(&self, ctx: &Context, name: &str, owner: &str, ttl: Duration) -> Result<Option<Grant>> {
        self.inner.acquire(ctx, name, owner, ttl).await
    }

    async fn renew(&self, ctx: &Context, grant: &Grant, ttl: Duration) -> Result<Grant> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "test.renew", "gone").retryable(Retry::Soon));
        }
        self.inner.renew(ctx, grant, ttl).await
    }

    async fn release(&self, ctx: &Context, grant: &Grant) -> Result<()> {
        self.inner.release(ctx, grant).await
    }
}

impl World {
    fn new() -> Self {
        let (inner, broken) = (MemoryStore::new(), Arc::<AtomicBool>::default());
        let lease = Arc::new(Breakable { inner: inner.clone(), broken: Arc::clone(&broken) });
        let storage = Storage::from_parts(Arc::new(inner.clone()), Arc::new(inner), lease);
        Self { clock: ManualClock::new(), storage, broken }
    }

    fn process(&self, tasks: Tasks, config: JournalConfig) -> Process {
        let runtime = Runtime::new(Arc::new(self.clock.clone()), tasks);
        let journals = Journals::new(self.storage.clone(), runtime.clone(), config);
        Process { runtime, journals }
    }

    fn living(&self) -> Process {
        self.process(Tasks::current().unwrap(), JournalConfig::default())
    }

    /// Moves the time on in small steps and lets everybody work in between.
    async fn pass(&self, time: Duration) {
        for _ in 0..time.as_millis() / 100 {
            self.clock.advance(Duration::from_millis(100));
            for _ in 0..16 {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn open(&self, process: &Process, run: RunId) -> Result<Opened> {
        let ctx = Context::for_run(&process.runtime, run);
        let journals = process.journals.clone();
        let opening = process.runtime.tasks().spawn("open", async move { journals.open(&ctx).await });
        while !opening.is_finished() {
            self.pass(Duration::from_millis(100)).await;
        }
        opening.await.unwrap()
    }
}

impl Process {
    async fn create(&self) -> (Context, Journal) {
        let ctx = Context::new(&self.runtime);
        let started = Fact::ExecutionStarted {
            target: "test".into(),
            input: Value::Null,
            capability: None,
            background: None,
            user: None,
        };
        let journal = self.journals.create(&ctx, &[started]).await.unwrap();
        (ctx, journal)
    }
}

fn running(opened: Opened) -> (Journal, Arc<[Entry]>) {
    match opened {
        Opened::Running { journal, entries } => (journal, entries),
        Opened::Ended { summary, .. } => panic!("ended: {summary:?}"),
    }
}

fn signal() -> Fact {
    Fact::StepCompleted { value: Value::Null, took: None }
}

#[tokio::test]
async fn a_stalled_owner_is_fenced_off_once_its_lease_lapsed_and_its_work_is_cancelled() {
    let world = World::new();
    let idle = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let stalled = world.process(Tasks::on(idle.handle().clone()), JournalConfig::default());
    let (ctx, journal) = stalled.create().await;
    journal.append(&ctx, &[signal()]).await.unwrap();
    let started = world.clock.clone();
    let (heir, entries) = running(world.open(&world.living(), ctx.run_id()).await.unwrap());
    let waited = crate::runtime::Clock::elapsed(&started);
    assert!(waited >= TTL && waited < TTL + Duration::from_secs(1), "{waited:?}");
    assert_eq!(entries.len(), 2);

    assert_eq!(journal.append(&ctx, &[signal()]).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(journal.cancel().is_cancelled() && ctx.cancel().is_cancelled());
    let ctx = Context::for_run(&stalled.runtime, ctx.run_id());
    assert_eq!(heir.append(&ctx, &[signal()]).await.unwrap(), 4);
    idle.shutdown_background();
}

#[tokio::test]
async fn a_living_owner_keeps_its_run_however_long_it_works() {
    let world = World::new();
    let (owner, other) = (world.living(), world.living());
    let (ctx, journal) = owner.create().await;
    world.pass(TTL * 5).await;
    let err = world.open(&other, ctx.run_id()).await.unwrap_err();
    assert_eq!((err.kind(), err.message()), (ErrorKind::Conflict, "the run is owned by a living process"));
    journal.append(&ctx, &[signal()]).await.unwrap();
    assert!(!journal.cancel().is_cancelled());
}

#[tokio::test]
async fn a_waiting_opener_hears_its_cancel_and_its_deadline() {
    let world = World::new();
    let (owner, other) = (world.living(), world.living());
    let (ctx, _journal) = owner.create().await;
    let mine = Context::for_run(&other.runtime, ctx.run_id());
    mine.cancel().cancel();
    assert_eq!(other.journals.open(&mine).await.unwrap_err().kind(), ErrorKind::Cancelled);
    let soon = Context::for_run(&other.runtime, ctx.run_id()).with_deadline(ctx.now());
    assert_eq!(other.journals.open(&soon).await.unwrap_err().kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn a_process_with_the_name_of_one_that_died_takes_its_runs_at_once_and_the_old_one_notices() {
    let world = World::new();
    let config = JournalConfig { owner: Some("worker-1".into()), ..JournalConfig::default() };
    let old = world.process(Tasks::current().unwrap(), config.clone());
    let (ctx, journal) = old.create().await;
    let new = world.process(Tasks::current().unwrap(), config);
    let heir = new.journals.open(&Context::for_run(&new.runtime, ctx.run_id())).await.unwrap();
    let (heir, _) = running(heir);
    assert!(!journal.cancel().is_cancelled());
    world.pass(TTL / 2).await;
    assert!(journal.cancel().is_cancelled() && !heir.cancel().is_cancelled());
}

#[tokio::test]
async fn a_store_that_comes_back_before_the_lease_lapses_costs_nothing_and_later_costs_the_run() {
    let world = World::new();
    let owner = world.living();
    let (ctx, journal) = owner.create().await;
    world.broken.store(true, Ordering::SeqCst);
    world.pass(TTL - Duration::from_secs(1)).await;
    assert!(!journal.cancel().is_cancelled());
    world.broken.store(false, Ordering::SeqCst);
    world.pass(TTL).await;
    assert!(!journal.cancel().is_cancelled());
    world.broken.store(true, Ordering::SeqCst);
    world.pass(TTL * 2).await;
    assert!(journal.cancel().is_cancelled());
    drop(journal);
    world.broken.store(false, Ordering::SeqCst);
    running(world.open(&owner, ctx.run_id()).await.unwrap());
}

#[tokio::test]
async fn the_keeper_sleeps_when_nothing_is_held_and_wakes_for_the_next_run() {
    let world = World::new();
    let owner = world.living();
    for _ in 0..3 {
        let (ctx, journal) = owner.create().await;
        world.pass(TTL * 2).await;
        assert_eq!(world.clock.sleepers(), 1);
        journal.finish(&ctx, &[Fact::ExecutionCancelled]).await.unwrap();
        world.pass(TTL).await;
        assert_eq!(world.clock.sleepers(), 0);
    }
    let (_, journal) = owner.create().await;
    owner.runtime.tasks().shutdown(Duration::from_secs(60)).await.unwrap();
    assert!(journal.cancel().is_cancelled());
}

#[tokio::test]
async fn a_tail_sees_what_another_process_appends_and_hears_its_cancel() {
    let world = World::new();
    let (owner, other) = (world.living(), world.living());
    let (ctx, journal) = owner.create().await;
    let watch = Context::new(&other.runtime);
    let seen = other.journals.tail(&watch, ctx.run_id(), 0).collect::<Vec<_>>();
    let seen = other.runtime.tasks().spawn("tail", seen);
    world.pass(Duration::from_secs(1)).await;
    journal.append(&ctx, &[signal()]).await.unwrap();
    world.pass(Duration::from_millis(300)).await;
    let mut second = other.journals.tail(&watch, ctx.run_id(), 1);
    assert_eq!(second.next().await.unwrap().unwrap().fact, signal());
    journal.finish(&ctx, &[Fact::ExecutionCancelled]).await.unwrap();
    world.pass(Duration::from_millis(300)).await;
    assert_eq!(
        seen.await.unwrap().into_iter().map(|entry| entry.unwrap().sequence).collect::<Vec<_>>(),
        [0, 1, 2]
    );

    let (ctx, _journal) = owner.create().await;
    let mut endless = other.journals.tail(&watch, ctx.run_id(), 0);
    assert!(endless.next().await.unwrap().is_ok());
    watch.cancel().cancel();
    assert_eq!(endless.next().await.unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(endless.next().await.is_none());
}
