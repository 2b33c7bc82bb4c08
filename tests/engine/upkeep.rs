//! Runs over moves, copies, erasure and retention, through the engine.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use raptorflow_core::{
    Engine,
    agent::{AgentSpec, FunctionAgent},
    error::{Error, ErrorKind},
    journal::{Retention, RunFilter, RunStatus},
    types::{RunId, TenantId},
    workflow::{Workflow, function},
};
use serde_json::Value;
use tokio::sync::Notify;

/// An engine over a store, with an agent that fails the first time that it is asked.
async fn engine(storage: &str, asked: &Arc<AtomicUsize>) -> Engine {
    let engine = Engine::builder().storage(storage).build().await.unwrap();
    let asked = Arc::clone(asked);
    let flaky = FunctionAgent::new(AgentSpec::new("flaky").unwrap(), move |_ctx, input| {
        let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                return Err(Error::new(ErrorKind::Unavailable, "host.call", "down"));
            }
            Ok(input.question().to_uppercase().into())
        }
    });
    engine.register(flaky).unwrap();
    engine
}

fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

async fn left(engine: &Engine) -> Vec<RunId> {
    let page = engine.runs(RunFilter::default()).await.unwrap();
    page.runs.into_iter().map(|(run, _)| run).collect()
}

#[tokio::test]
async fn a_run_that_was_moved_to_another_kind_of_store_goes_on_there() {
    let folder = tempfile::tempdir().unwrap();
    let asked = Arc::<AtomicUsize>::default();
    let sqlite = format!("sqlite:{}", folder.path().join("team.db").display());
    let (old, new) = (engine("memory:", &asked).await, engine(&sqlite, &asked).await);
    let run: RunId = old.run("flaky", "go").await.unwrap_err().get("run").unwrap().parse().unwrap();
    let done = old.run("flaky", "done").await.unwrap();

    let (default, file) = (TenantId::default(), folder.path().join("default.jsonl"));
    let written = old.export_tenant(&default, &file).await.unwrap();
    assert_eq!(new.import_tenant(&default, &file).await.unwrap(), written);
    assert_eq!(new.resume(run).await.unwrap().output, "GO");
    assert_eq!(new.resume(done.run_id).await.unwrap().output, "DONE");
    assert_eq!(asked.load(Ordering::SeqCst), 3, "a run that had ended was run again");
    // The old store was only read.
    assert_eq!(old.runs(RunFilter::default()).await.unwrap().runs[0].1.status, RunStatus::Failed);
}

#[tokio::test]
async fn a_snapshot_holds_every_tenant_and_a_run_of_it_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let (asked, file) = (Arc::<AtomicUsize>::default(), folder.path().join("all.jsonl"));
    let (old, new) = (engine("memory:", &asked).await, engine("memory:", &asked).await);
    let failed = old.run("flaky", "go").tenant(tenant("acme")).await.unwrap_err();
    let run: RunId = failed.get("run").unwrap().parse().unwrap();
    old.run("flaky", "other").await.unwrap();

    let written = old.snapshot(&file).await.unwrap();
    assert_eq!((written.tenants, written.streams), (2, 2));
    assert_eq!(new.restore(&file).await.unwrap(), written);
    assert_eq!(new.resume(run).tenant(tenant("acme")).await.unwrap().output, "GO");
    assert_eq!(new.restore(&file).await.unwrap_err().kind(), ErrorKind::Conflict);
}

/// A workflow of two steps over what they did: the second waits to be let go the first time.
fn two_steps(done: &Arc<Mutex<Vec<String>>>, at_work: &Arc<Notify>) -> Workflow {
    let step = |name: &'static str| {
        let (done, at_work) = (Arc::clone(done), Arc::clone(at_work));
        function(move |ctx, _input: Value| {
            let (done, at_work) = (Arc::clone(&done), Arc::clone(&at_work));
            async move {
                let key = ctx.idempotency_key().unwrap().to_owned();
                let again = done.lock().unwrap().contains(&key);
                done.lock().unwrap().push(key);
                if name == "second" && !again {
                    at_work.notify_one();
                    std::future::pending::<()>().await;
                }
                Ok(name.into())
            }
        })
    };
    let steps = Workflow::builder("two").step("first", step("first"));
    steps.step("second", step("second").after("first")).build().unwrap()
}

#[tokio::test]
async fn a_snapshot_of_a_run_at_work_resumes_and_repeats_only_what_was_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.jsonl");
    let (done, at_work) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Notify>::default());
    let old = Engine::builder().build().await.unwrap();
    old.register(two_steps(&done, &at_work)).unwrap();
    let run = old.start("two", "go").await.unwrap();
    at_work.notified().await;
    old.snapshot(&file).await.unwrap();

    let new = Engine::builder().build().await.unwrap();
    new.register(two_steps(&done, &at_work)).unwrap();
    new.restore(&file).await.unwrap();
    // Nobody owns it there, so nothing is waited for.
    assert_eq!(new.resume(run.id()).await.unwrap().output, "second");
    let done = done.lock().unwrap().clone();
    assert_eq!(done.len(), 3, "{done:?}");
    assert!(done[0].ends_with("/first") && done[1].ends_with("/second"), "{done:?}");
    assert_eq!(done[1], done[2], "the key of what was under way has changed");
}

#[tokio::test]
async fn erasing_a_tenant_stops_its_runs_and_leaves_those_of_others() {
    let asked = Arc::new(AtomicUsize::new(1));
    let engine = engine("memory:", &asked).await;
    let (at_work, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (working, going) = (Arc::clone(&at_work), Arc::clone(&go_on));
    let slow = FunctionAgent::new(AgentSpec::new("slow").unwrap(), move |_ctx, _input| {
        let (working, going) = (Arc::clone(&working), Arc::clone(&going));
        async move {
            working.notify_one();
            going.notified().await;
            Ok("late".into())
        }
    });
    engine.register(slow).unwrap();
    engine.run("flaky", "stays").await.unwrap();
    engine.run("flaky", "goes").tenant(tenant("acme")).await.unwrap();
    let run = engine.run("slow", "go").tenant(tenant("acme")).start().await.unwrap();
    at_work.notified().await;

    let erased = engine.erase_tenant(&tenant("acme")).await.unwrap();
    assert_eq!((erased.streams, erased.leases), (2, 1));
    go_on.notify_one();
    assert_eq!(run.outcome().await.unwrap_err().kind(), ErrorKind::Conflict);
    let ctx = raptorflow_core::runtime::Context::new(engine.runtime());
    assert_eq!(engine.storage().tenants(&ctx, None, 9).await.unwrap(), [TenantId::default()]);
    assert_eq!(left(&engine).await.len(), 1);
}

#[tokio::test]
async fn pruning_goes_through_all_pages_and_removing_takes_one_run() {
    let asked = Arc::<AtomicUsize>::default();
    let engine = engine("memory:", &asked).await;
    let failed: RunId = engine.run("flaky", "go").await.unwrap_err().get("run").unwrap().parse().unwrap();
    for number in 0..7 {
        engine.run("flaky", number.to_string()).await.unwrap();
    }
    let policy = Retention { keep_last: Some(2), limit: 1, ..Retention::default() };
    let pruned = engine.prune(&policy).await.unwrap();
    assert_eq!((pruned.removed, pruned.kept, pruned.next), (5, 3, None));
    engine.remove(failed).await.unwrap();
    assert_eq!(engine.remove(failed).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(left(&engine).await.len(), 2);
}
