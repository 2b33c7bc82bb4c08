//! Whose run it is: engines in two processes over one store, and a lease that is lost.

use std::{
    future::{self, IntoFuture as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt as _;
use raptorflow_core::{
    Engine,
    agent::{AgentSpec, FunctionAgent},
    error::{Error, ErrorKind, Result},
    journal::{JournalConfig, RunFilter},
    runtime::{Context, Runtime, Tasks},
    storage::{Expect, Grant, Lease, MemoryStore, Storage},
    testing::{ManualClock, Reply, ScriptedModel},
    types::TenantId,
};
use serde_json::json;

use crate::support::{agent, built, engine, facts, kinds, run_of, settle, standing_still};

/// Leases that are not renewed while the store is out of reach.
#[derive(Debug)]
struct Unreliable {
    inner: MemoryStore,
    away: Arc<AtomicBool>,
}

#[async_trait]
impl Lease for Unreliable {
    async fn acquire(&self, ctx: &Context, name: &str, owner: &str, ttl: Duration) -> Result<Option<Grant>> {
        self.inner.acquire(ctx, name, owner, ttl).await
    }

    async fn renew(&self, ctx: &Context, grant: &Grant, ttl: Duration) -> Result<Grant> {
        if self.away.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "test.renew", "the store is out of reach"));
        }
        self.inner.renew(ctx, grant, ttl).await
    }

    async fn release(&self, ctx: &Context, grant: &Grant) -> Result<()> {
        self.inner.release(ctx, grant).await
    }
}

/// Moves the time on in steps that a heartbeat can follow.
async fn advance(clock: &ManualClock, seconds: u64) {
    for _ in 0..seconds {
        clock.advance(Duration::from_secs(1));
        settle().await;
    }
}

#[tokio::test]
async fn a_run_whose_lease_was_lost_is_not_cancelled_and_can_be_resumed() {
    let (store, away) = (MemoryStore::new(), Arc::new(AtomicBool::new(false)));
    let lease = Unreliable { inner: store.clone(), away: Arc::clone(&away) };
    let storage = Storage::from_parts(Arc::new(store.clone()), Arc::new(store), Arc::new(lease));
    let (clock, runtime) = standing_still();
    let script = ScriptedModel::new([Reply::hang(), Reply::text("done")]);
    let engine = built(Engine::builder().storage_handle(storage).runtime(runtime), &script).await;
    engine.register(agent("worker").build().unwrap()).unwrap();
    let run = engine.start("worker", "go").await.unwrap();
    let id = run.id();
    settle().await;
    advance(&clock, 60).await;
    assert_eq!(kinds(&engine, id), ["agent_started"], "a lease that is renewed is not lost");

    away.store(true, Ordering::SeqCst);
    advance(&clock, 10).await;
    let err = run.outcome().await.unwrap_err();
    assert_eq!((err.kind(), run_of(&err)), (ErrorKind::Conflict, id));
    assert_eq!(facts(&engine, id).await, ["execution_started"]);
    away.store(false, Ordering::SeqCst);
    assert_eq!(engine.resume(id).await.unwrap().text(), "done");
}

#[tokio::test]
async fn a_process_that_ends_in_order_gives_its_runs_back_at_once() {
    let (storage, (clock, runtime)) = (Storage::memory(), standing_still());
    let script = ScriptedModel::new([Reply::hang(), Reply::text("done")]);
    let process = async |runtime: Runtime| {
        let engine = built(Engine::builder().storage_handle(storage.clone()).runtime(runtime), &script).await;
        engine.register(agent("worker").build().unwrap()).unwrap();
        engine
    };
    let first = process(runtime).await;
    let run = first.start("worker", "go").await.unwrap().id();
    settle().await;
    first.shutdown().await.unwrap();
    // No time passes, so no lease lapses.
    let runtime = Runtime::new(Arc::new(clock), Tasks::current().unwrap());
    let second = process(runtime).await;
    let resumed = second.resume(run).start().await.unwrap();
    settle().await;
    assert_eq!(resumed.outcome().now_or_never().expect("it waits for a lease").unwrap().text(), "done");
}

#[tokio::test]
async fn a_run_that_is_given_up_is_free_for_others_within_a_heartbeat() {
    let (storage, (clock, runtime)) = (Storage::memory(), standing_still());
    let script = ScriptedModel::new([Reply::hang(), Reply::text("done")]);
    let process = async || {
        let builder = Engine::builder().storage_handle(storage.clone()).runtime(runtime.clone());
        let engine = built(builder, &script).await;
        engine.register(agent("worker").build().unwrap()).unwrap();
        engine
    };
    let (first, second) = (process().await, process().await);
    let run = first.runtime().ids().run();
    tokio::select! {
        _ = first.run("worker", "go").id(run).into_future() => panic!("the model hangs"),
        () = settle() => {}
    }
    let config = JournalConfig::default();
    assert!(config.heartbeat < config.lease_ttl);
    clock.advance(config.heartbeat);
    settle().await;
    let resumed = second.resume(run).start().await.unwrap();
    settle().await;
    assert_eq!(resumed.outcome().now_or_never().expect("it waits for a lease").unwrap().text(), "done");
}

#[tokio::test]
async fn a_run_that_works_in_this_process_is_not_resumed_beside_it() {
    let engine = engine(&ScriptedModel::new([]).always(Reply::hang())).await;
    engine.register(agent("worker").build().unwrap()).unwrap();
    let run = engine.start("worker", "go").await.unwrap();
    settle().await;
    let err = engine.resume(run.id()).await.unwrap_err();
    assert_eq!((err.kind(), run_of(&err)), (ErrorKind::Conflict, run.id()));
    let unknown = engine.runtime().ids().run();
    let err = engine.resume(unknown).await.unwrap_err();
    assert_eq!((err.kind(), run_of(&err)), (ErrorKind::NotFound, unknown));
    // The run itself was not disturbed.
    run.cancel();
    assert_eq!(run.outcome().await.unwrap_err().kind(), ErrorKind::Cancelled);
}

async fn over(file: &Path, runtime: &Runtime, script: &ScriptedModel) -> Engine {
    let address = format!("sqlite:{}", file.display());
    let engine = built(Engine::builder().storage(address).runtime(runtime.clone()), script).await;
    engine.register(agent("worker").build().unwrap()).unwrap();
    engine
}

/// Lets tasks go on until the condition holds; the store works on a thread of its own.
async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn two_engines_over_one_file_never_work_on_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("runs.db");
    let (clock, runtime) = standing_still();
    let hanging = ScriptedModel::new([]).always(Reply::hang());
    let first = over(&file, &runtime, &hanging).await;
    // Another process has tasks of its own.
    let runtime = Runtime::new(Arc::new(clock.clone()), Tasks::current().unwrap());
    let done = ScriptedModel::new([]).always(Reply::text("done"));
    let second = over(&file, &runtime, &done).await;
    let run = first.start("worker", "go").await.unwrap();
    let id = run.id();
    until(|| !hanging.requests().is_empty()).await;

    let resumed = second.resume(id).start();
    let driven = async {
        loop {
            clock.advance(Duration::from_millis(200));
            settle().await;
            // A renewal is a write; behind this one it is done.
            let ctx = Context::new(&runtime);
            first.storage().put(&ctx, "tick", Bytes::new(), Expect::Any).await.unwrap();
            settle().await;
        }
    };
    let err = tokio::select! {
        ended = resumed => ended.unwrap_err(),
        () = driven => unreachable!(),
    };
    assert_eq!((err.kind(), run_of(&err)), (ErrorKind::Conflict, id));
    assert!(done.requests().is_empty());

    // The first process ends without a word.
    drop(run);
    first.shutdown().await.unwrap();
    clock.advance(Duration::from_secs(60));
    assert_eq!(facts(&second, id).await, ["execution_started"]);
    assert_eq!(second.resume(id).await.unwrap().text(), "done");
    assert_eq!(done.requests().len(), 1);
}

#[tokio::test]
async fn an_owner_with_a_name_takes_its_runs_up_at_once_after_a_restart() {
    let storage = Storage::memory();
    let mut journal = JournalConfig::default();
    journal.owner = Some("worker-1".into());
    for attempt in 0..2 {
        let script =
            ScriptedModel::new([]).always(if attempt == 0 { Reply::hang() } else { Reply::text("done") });
        let (_, runtime) = standing_still();
        let builder =
            Engine::builder().storage_handle(storage.clone()).runtime(runtime).journal(journal.clone());
        let engine = built(builder, &script).await;
        engine.register(agent("worker").build().unwrap()).unwrap();
        if attempt == 0 {
            let mut work = Box::pin(engine.run("worker", "go").into_future());
            assert!(futures_util::poll!(&mut work).is_pending());
        } else {
            let id = engine.runs(RunFilter::default()).await.unwrap().runs[0].0;
            assert_eq!(engine.resume(id).await.unwrap().text(), "done");
        }
    }
}

#[tokio::test]
async fn runs_of_one_tenant_are_unknown_to_another() {
    let engine = Engine::builder().tenant(TenantId::new("home").unwrap()).build().await.unwrap();
    let echo = FunctionAgent::new(AgentSpec::new("echo").unwrap(), |_, input| future::ready(Ok(input.input)));
    engine.register(echo).unwrap();
    let other = TenantId::new("other").unwrap();
    let here = engine.run("echo", json!(1)).await.unwrap();
    let there = engine.run("echo", json!(2)).tenant(other.clone()).await.unwrap();
    assert_eq!(engine.resume(there.run_id).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(engine.resume(there.run_id).tenant(other).await.unwrap(), there);
    let listed: Vec<_> =
        engine.runs(RunFilter::default()).await.unwrap().runs.into_iter().map(|(id, _)| id).collect();
    assert_eq!(listed, [here.run_id]);
}
