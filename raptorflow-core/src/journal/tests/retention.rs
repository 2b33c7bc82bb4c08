//! Ended runs go by policy, and nothing else does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    error::{ErrorKind, Result},
    journal::{
        Fact, JournalConfig, Journals, Opened, Pruned, Retention,
        tests::support::{World, completed, failed, started, step},
    },
    runtime::Context,
    storage::{Append, Grant, Lease, Log, MemoryStore, Record, Scan, Storage},
    types::RunId,
};
use async_trait::async_trait;

const HOUR: Duration = Duration::from_secs(3600);

fn older_than(age: Duration) -> Retention {
    Retention { max_age: Some(age), ..Retention::default() }
}

fn keep(count: usize) -> Retention {
    Retention { keep_last: Some(count), ..Retention::default() }
}

impl World {
    fn anew(&self) -> Context {
        Context::new(self.ctx.runtime())
    }

    /// A run that ends with a fact, or does not.
    async fn ran(&self, end: Option<Fact>) -> RunId {
        let ctx = self.anew();
        let journal = self.journals.create(&ctx, &[started()]).await.unwrap();
        if let Some(end) = end {
            journal.finish(&ctx, &[end]).await.unwrap();
        }
        ctx.run_id()
    }

    async fn prune(&self, retention: &Retention) -> Pruned {
        self.journals.prune(&self.anew(), retention).await.unwrap()
    }

    /// The runs that are left.
    async fn left(&self) -> Vec<RunId> {
        let names = self.storage.streams(&self.ctx, "run/", None, usize::MAX).await.unwrap();
        names.iter().map(|name| name[4..].parse().unwrap()).collect()
    }

    /// Lets the leases of all processes lapse that do not work any more.
    fn lapse(&self) {
        self.clock.advance(JournalConfig::default().lease_ttl * 2);
    }
}

#[tokio::test]
async fn only_runs_that_are_complete_or_cancelled_go_unless_failed_ones_count() {
    let world = World::new();
    world.ran(Some(completed())).await;
    world.ran(Some(Fact::ExecutionCancelled)).await;
    let failed_run = world.ran(Some(failed())).await;
    let running = world.ran(None).await;
    let paused = world.ran(None).await;
    world.journals.pause(&world.anew(), paused).await.unwrap();
    let other = world.anew().with_tenant("other".parse().unwrap());
    world.journals.create(&other, &[started()]).await.unwrap().finish(&other, &[completed()]).await.unwrap();
    world.clock.advance(HOUR);

    let pruned = world.prune(&older_than(HOUR)).await;
    assert_eq!(pruned, Pruned { removed: 2, kept: 3, unreadable: 0, next: None });
    assert_eq!(world.left().await, [failed_run, running, paused]);
    let pruned = world.prune(&Retention { failed: true, ..older_than(HOUR) }).await;
    assert_eq!((pruned.removed, pruned.kept), (1, 2));
    assert_eq!(world.left().await, [running, paused]);
    assert!(world.journals.summary(&other, other.run_id()).await.is_ok());
}

#[tokio::test]
async fn age_counts_from_the_end_and_every_condition_must_hold() {
    let world = World::new();
    let ctx = world.anew();
    let long = world.journals.create(&ctx, &[started()]).await.unwrap();
    let old = world.ran(Some(completed())).await;
    world.clock.advance(HOUR);
    // It lost its lease meanwhile, as nobody renewed it, and nobody took it up.
    long.finish(&ctx, &[completed()]).await.unwrap();
    world.clock.advance(HOUR / 2);

    assert_eq!(world.prune(&Retention { keep_last: Some(2), ..older_than(HOUR) }).await.removed, 0);
    assert_eq!(world.prune(&older_than(HOUR * 2)).await.removed, 0);
    assert_eq!(world.prune(&older_than(HOUR)).await.removed, 1);
    assert_eq!(world.left().await, [ctx.run_id()], "and not {old}");
}

#[tokio::test]
async fn the_newest_ended_runs_are_kept_however_small_the_pages_are() {
    for limit in [1, 2, 3, 5, 100] {
        for count in [0, 1, 2, 4, 99] {
            let world = World::new();
            let mut ended = Vec::new();
            let mut others = Vec::new();
            for number in 0..9 {
                let end = (number % 3 != 1).then(completed);
                (if end.is_some() { &mut ended } else { &mut others }).push(world.ran(end).await);
            }
            let mut policy = Retention { limit, ..keep(count) };
            let (mut removed, mut looked) = (0, 0);
            loop {
                let pruned = world.prune(&policy).await;
                removed += pruned.removed;
                looked += pruned.removed + pruned.kept;
                policy.after = pruned.next;
                if policy.after.is_none() {
                    break;
                }
            }
            let gone = ended.len().saturating_sub(count);
            assert_eq!((removed, looked), (gone as u64, 9), "limit {limit}, keep {count}");
            let mut left = [&ended[gone..], &others[..]].concat();
            left.sort();
            assert_eq!(world.left().await, left, "limit {limit}, keep {count}");
        }
    }
}

#[tokio::test]
async fn a_policy_without_a_condition_or_with_a_limit_of_0_is_refused() {
    let world = World::new();
    world.ran(Some(completed())).await;
    for (policy, field) in [(Retention::default(), "max_age"), (Retention { limit: 0, ..keep(0) }, "limit")] {
        let err = world.journals.prune(&world.ctx, &policy).await.unwrap_err();
        assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, Some(field)));
    }
    assert_eq!(world.left().await.len(), 1);
}

#[tokio::test]
async fn a_child_stays_while_its_parent_can_ask_for_it() {
    let world = World::new();
    let (journal, ctx) = (world.created().await, world.anew());
    let child = journal.child(&world.ctx.child("part"), "test").await.unwrap();
    let child_ctx = Context::for_run(world.ctx.runtime(), child);
    let part = world.journals.create(&child_ctx, &[started()]).await.unwrap();
    part.finish(&child_ctx, &[completed()]).await.unwrap();
    let stranger = world.ran(Some(completed())).await;
    assert_eq!(world.prune(&keep(0)).await.removed, 1, "not the stranger {stranger}");

    // A failed run can be resumed, so it can ask too.
    journal.finish(&world.ctx, &[failed()]).await.unwrap();
    drop(journal);
    assert_eq!(world.prune(&keep(0)).await.removed, 0);
    assert_eq!(world.left().await.len(), 2);

    let (journal, _) = world.opened().await;
    journal.finish(&ctx, &[completed()]).await.unwrap();
    assert_eq!(world.prune(&keep(0)).await.removed, 2);
}

#[tokio::test]
async fn of_a_removed_run_nothing_is_left() {
    let world = World::new();
    let journal = world.created().await;
    let facts: Vec<Fact> = (0..1500).map(step).collect();
    journal.append_at("a", &facts).await.unwrap();
    journal.finish(&world.ctx, &[completed()]).await.unwrap();
    world.journals.summary(&world.ctx, world.run()).await.unwrap();
    let scan = Scan { prefix: "", after: None, limit: 9 };
    assert_eq!(world.storage.scan(&world.ctx, scan).await.unwrap().len(), 1, "no summary was kept");

    assert_eq!(world.prune(&keep(0)).await.removed, 1);
    assert!(world.storage.tenants(&world.ctx, None, 9).await.unwrap().is_empty());
    assert_eq!(world.storage.erase(&world.ctx).await.unwrap().leases, 0);
    let err = world.journals.open(&world.anew()).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_run_whose_end_cannot_be_read_is_left_and_counted_and_the_others_go() {
    let world = World::new();
    let damaged = world.ran(Some(completed())).await;
    let name = format!("run/{damaged}");
    let garbage = Append { records: vec!["{}".into()], ..Append::to(&name) };
    world.storage.append(&world.ctx, garbage).await.unwrap();
    world.ran(Some(completed())).await;
    let pruned = world.prune(&keep(0)).await;
    assert_eq!(pruned, Pruned { removed: 1, kept: 1, unreadable: 1, next: None });
    assert_eq!(world.left().await, [damaged]);
}

#[tokio::test]
async fn a_failed_run_that_somebody_owns_is_left() {
    let world = World::shared();
    let run = world.ran(Some(failed())).await;
    let name = format!("run/{run}");
    // Another process has just got the lease, and not yet recorded that it takes the run up.
    let grant = world.storage.acquire(&world.ctx, &name, "other", HOUR).await.unwrap().unwrap();
    let policy = Retention { failed: true, ..keep(0) };
    assert_eq!(world.prune(&policy).await, Pruned { kept: 1, ..Pruned::default() });
    world.storage.release(&world.ctx, &grant).await.unwrap();
    assert_eq!(world.prune(&policy).await.removed, 1);
}

/// A log in which another process takes a failed run up, and fails again, right after its end was read.
#[derive(Debug)]
struct Resumes {
    inner: MemoryStore,
    armed: AtomicBool,
}

impl Resumes {
    async fn resume(&self, ctx: &Context, run: RunId) {
        let storage = Storage::from_store(Arc::new(self.inner.clone()));
        let other = Journals::new(storage, ctx.runtime().clone(), JournalConfig::default());
        let ctx = Context::for_run(ctx.runtime(), run);
        let Opened::Running { journal, .. } = other.open(&ctx).await.unwrap() else { panic!("it has ended") };
        journal.finish(&ctx, &[failed()]).await.unwrap();
    }
}

#[async_trait]
impl Log for Resumes {
    async fn append(&self, ctx: &Context, append: Append<'_>) -> Result<u64> {
        self.inner.append(ctx, append).await
    }

    async fn read(&self, ctx: &Context, stream: &str, from: u64, limit: usize) -> Result<Vec<Record>> {
        let records = Log::read(&self.inner, ctx, stream, from, limit).await;
        if self.armed.swap(false, Ordering::SeqCst) {
            self.resume(ctx, stream[4..].parse().unwrap()).await;
        }
        records
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

    async fn remove(&self, ctx: &Context, stream: &str) -> Result<bool> {
        self.inner.remove(ctx, stream).await
    }
}

#[tokio::test]
async fn a_run_that_was_taken_up_since_it_was_looked_at_is_left() {
    let inner = MemoryStore::new();
    let log = Arc::new(Resumes { inner: inner.clone(), armed: AtomicBool::new(false) });
    let storage = Storage::from_parts(Arc::new(inner.clone()), Arc::clone(&log) as _, Arc::new(inner));
    let world = World::over(storage);
    let run = world.ran(Some(failed())).await;
    log.armed.store(true, Ordering::SeqCst);
    assert_eq!(world.prune(&Retention { failed: true, ..keep(0) }).await.removed, 0);
    assert!(!log.armed.load(Ordering::SeqCst), "nobody took it up");
    assert_eq!(world.left().await, [run]);
    assert_eq!(world.journals.read(&world.ctx, run, 0, 9).await.unwrap().len(), 4);
}

/// Leases of a store in which a run is pruned right before its lease is granted to somebody who opens it.
#[derive(Debug)]
struct Prunes {
    inner: MemoryStore,
    armed: AtomicBool,
}

#[async_trait]
impl Lease for Prunes {
    async fn acquire(&self, ctx: &Context, name: &str, owner: &str, ttl: Duration) -> Result<Option<Grant>> {
        if self.armed.swap(false, Ordering::SeqCst) {
            let storage = Storage::from_store(Arc::new(self.inner.clone()));
            let other = Journals::new(storage, ctx.runtime().clone(), JournalConfig::default());
            let pruned = other.prune(ctx, &Retention { failed: true, ..keep(0) }).await?;
            assert_eq!(pruned.removed, 1);
        }
        self.inner.acquire(ctx, name, owner, ttl).await
    }

    async fn renew(&self, ctx: &Context, grant: &Grant, ttl: Duration) -> Result<Grant> {
        self.inner.renew(ctx, grant, ttl).await
    }

    async fn release(&self, ctx: &Context, grant: &Grant) -> Result<()> {
        self.inner.release(ctx, grant).await
    }
}

#[tokio::test]
async fn a_run_that_is_removed_while_it_is_opened_is_not_begun_again_in_the_middle() {
    let inner = MemoryStore::new();
    let lease = Arc::new(Prunes { inner: inner.clone(), armed: AtomicBool::new(false) });
    let world =
        World::over(Storage::from_parts(Arc::new(inner.clone()), Arc::new(inner), Arc::clone(&lease) as _));
    let run = world.ran(Some(failed())).await;
    lease.armed.store(true, Ordering::SeqCst);
    let ctx = Context::for_run(world.ctx.runtime(), run);
    let err = world.journals.open(&ctx).await.unwrap_err();
    assert!(matches!(err.kind(), ErrorKind::Conflict | ErrorKind::NotFound), "{err}");
    assert_eq!(world.left().await, []);
    assert_eq!(world.journals.open(&ctx).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn one_run_is_removed_unless_somebody_works_on_it() {
    let world = World::shared();
    let err = world.journals.remove(&world.ctx, world.run()).await.unwrap_err();
    assert_eq!((err.kind(), err.get("run").is_some()), (ErrorKind::NotFound, true));
    let journal = world.created().await;
    for journals in [&world.journals, &world.other()] {
        let err = journals.remove(&world.ctx, world.run()).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Conflict, "{err}");
    }
    // The process dies, and its lease with it.
    drop(journal);
    assert_eq!(world.other().remove(&world.ctx, world.run()).await.unwrap_err().kind(), ErrorKind::Conflict);
    world.lapse();
    world.other().remove(&world.ctx, world.run()).await.unwrap();
    assert_eq!(world.left().await, []);
}

#[tokio::test]
async fn a_run_loses_its_lease_when_its_tenant_is_erased() {
    let world = World::new();
    let journal = world.created().await;
    assert_eq!(world.storage.erase(&world.ctx).await.unwrap().leases, 1);
    let err = journal.append_at("a", &[step(1)]).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Conflict);
    assert!(journal.is_lost() && world.ctx.cancel().is_cancelled());
    assert_eq!(world.left().await, []);
}
