//! Bounds on how much works at the same time: runs of an engine, agents of orchestrators, and what is refused.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use raptorflow_core::{
    Agent, Engine,
    agent::{AgentSpec, FunctionAgent},
    engine::EngineConfig,
    error::{ErrorKind, Retry},
    event::Priority,
    journal::RunFilter,
    orchestrator::{Admission, AdmissionConfig, Orchestrator, Supervisor},
    runtime::Cancel,
};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::{support::settle, teams::team_spec};

/// An agent that waits until it is let go.
fn waits(gate: &Arc<Semaphore>) -> FunctionAgent {
    let gate = Arc::clone(gate);
    FunctionAgent::new(AgentSpec::new("waits").unwrap(), move |_, _| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            Ok("done".into())
        }
    })
}

async fn engine_with(config: AdmissionConfig) -> (Engine, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let engine = Engine::builder().admission(config).build().await.unwrap();
    engine.register(waits(&gate)).unwrap();
    (engine, gate)
}

#[tokio::test]
async fn a_run_that_is_refused_leaves_no_record_and_one_that_waits_begins_when_a_slot_is_free() {
    let (engine, gate) = engine_with(AdmissionConfig::new(1, 1)).await;
    let first = engine.start("waits", "1").await.unwrap();
    let second = tokio::spawn({
        let engine = engine.clone();
        async move { engine.run("waits", "2").await }
    });
    settle().await;
    let err = engine.run("waits", "3").await.unwrap_err();
    assert_eq!(
        (err.kind(), err.get("bound"), err.retry()),
        (ErrorKind::RateLimited, Some("queue"), Retry::Soon)
    );
    assert_eq!(engine.runs(RunFilter::default()).await.unwrap().runs.len(), 1);
    // More urgent than what waits: that makes way.
    let urgent = tokio::spawn({
        let engine = engine.clone();
        async move { engine.run("waits", "4").priority(Priority::Critical).await }
    });
    let err = second.await.unwrap().unwrap_err();
    assert_eq!(err.get("bound"), Some("urgency"));
    gate.add_permits(2);
    assert_eq!(first.outcome().await.unwrap().text(), "done");
    assert_eq!(urgent.await.unwrap().unwrap().text(), "done");
    let stats = engine.admission().unwrap().stats();
    assert_eq!((stats.running, stats.waiting, stats.refused, stats.shed), (0, 0, 1, 1));
}

#[tokio::test]
async fn a_run_that_is_cancelled_or_dropped_while_it_waits_leaves_nothing() {
    let (engine, gate) = engine_with(AdmissionConfig::new(1, 9)).await;
    let first = engine.start("waits", "1").await.unwrap();
    let cancel = Cancel::new();
    let cancelled = tokio::spawn({
        let (engine, cancel) = (engine.clone(), cancel.clone());
        async move { engine.run("waits", "2").cancel_with(&cancel).await }
    });
    let dropped = tokio::spawn({
        let engine = engine.clone();
        async move { engine.run("waits", "3").await }
    });
    settle().await;
    assert_eq!(engine.admission().unwrap().stats().waiting, 2);
    cancel.cancel();
    dropped.abort();
    assert_eq!(cancelled.await.unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(dropped.await.unwrap_err().is_cancelled());
    assert_eq!(engine.admission().unwrap().stats().waiting, 0);
    assert_eq!(engine.runs(RunFilter::default()).await.unwrap().runs.len(), 1);
    // A run that fails or is cancelled at work gives its slot back as well.
    first.cancel();
    assert_eq!(first.outcome().await.unwrap_err().kind(), ErrorKind::Cancelled);
    gate.add_permits(1);
    assert_eq!(engine.run("waits", "4").await.unwrap().text(), "done");
    assert_eq!(engine.admission().unwrap().stats().running, 0);
}

#[tokio::test]
async fn a_resumed_run_waits_for_a_slot_too() {
    let (engine, gate) = engine_with(AdmissionConfig::new(1, 0)).await;
    let done = {
        gate.add_permits(1);
        engine.run("waits", "1").await.unwrap().run_id
    };
    let first = engine.start("waits", "2").await.unwrap();
    assert_eq!(engine.resume(done).await.unwrap_err().kind(), ErrorKind::RateLimited);
    gate.add_permits(1);
    first.outcome().await.unwrap();
    assert_eq!(engine.resume(done).await.unwrap().text(), "done");
}

/// An orchestrator of so many agents that count how many work at the same time.
fn crowd(name: &'static str, agents: usize, most: &Arc<AtomicUsize>, now: &Arc<AtomicUsize>) -> Orchestrator {
    let agent = |number: usize| -> Agent {
        let (most, now) = (Arc::clone(most), Arc::clone(now));
        let work = move |_, _| {
            let (most, now) = (Arc::clone(&most), Arc::clone(&now));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(json!("met"))
            }
        };
        FunctionAgent::new(AgentSpec::new(format!("a{number}")).unwrap(), work).into()
    };
    let team = Supervisor::new(team_spec("crowd", &["sing"]), agent(0), (1..agents).map(agent).collect());
    Orchestrator::new(name, vec![team]).unwrap()
}

#[tokio::test]
async fn a_thousand_agents_for_one_slot_work_one_after_the_other() {
    let (most, now) = (Arc::default(), Arc::default());
    let admission = Admission::new(AdmissionConfig::new(1, 100)).unwrap();
    let engine = Engine::builder().build().await.unwrap();
    for name in ["left", "right"] {
        let office = crowd(name, 500, &most, &now).with_admission(admission.clone(), Priority::Normal);
        engine.register(office).unwrap();
    }
    let ask = |name: &'static str| {
        let task = json!({ "goal": "Sing a song", "agents_per_team": 500 });
        let engine = engine.clone();
        async move { engine.run(name, task).await.unwrap() }
    };
    let (left, right) = futures_util::join!(ask("left"), ask("right"));
    for outcome in [left, right] {
        // What they say cites nothing; it is all there.
        assert_eq!(outcome.output["dropped"].as_array().unwrap().len(), 500);
    }
    let stats = admission.stats();
    assert_eq!((most.load(Ordering::SeqCst), stats.admitted, stats.running, stats.waiting), (1, 1000, 0, 0));
}

#[tokio::test]
async fn an_agent_that_is_not_admitted_ends_the_run_which_can_be_resumed() {
    let (most, now) = (Arc::default(), Arc::default());
    let admission = Admission::new(AdmissionConfig::new(1, 0)).unwrap();
    let engine = Engine::builder().build().await.unwrap();
    engine
        .register(crowd("office", 2, &most, &now).with_admission(admission.clone(), Priority::Normal))
        .unwrap();
    let task = json!({ "goal": "Sing a song", "agents_per_team": 2 });
    let err = engine.run("office", task).await.unwrap_err();
    assert_eq!((err.kind(), err.get("bound")), (ErrorKind::RateLimited, Some("queue")));
    assert!(err.get("asked").is_some() && admission.stats().running == 0);
    // The one that was at work had not ended; once each asks by itself there is room.
    let alone = Admission::new(AdmissionConfig::new(2, 0)).unwrap();
    let again = Engine::builder().storage_handle(engine.storage().clone()).build().await.unwrap();
    again.register(crowd("office", 2, &most, &now).with_admission(alone, Priority::Normal)).unwrap();
    let outcome = again.resume(err.get("run").unwrap().parse().unwrap()).await.unwrap();
    assert_eq!(outcome.output["dropped"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn one_admission_for_runs_and_for_their_agents_lets_no_run_wait_for_itself() {
    let (most, now) = (Arc::default(), Arc::default());
    let admission = Admission::new(AdmissionConfig::new(1, 10)).unwrap();
    let engine = Engine::builder().admission_handle(admission.clone()).build().await.unwrap();
    engine
        .register(crowd("office", 3, &most, &now).with_admission(admission.clone(), Priority::Low))
        .unwrap();
    let task = || json!({ "goal": "Sing a song", "agents_per_team": 3 });
    let runs = (0..4).map(|_| engine.run("office", task()).into_future());
    assert!(join_all(runs).await.iter().all(Result::is_ok));
    assert_eq!((admission.stats().admitted, admission.stats().running), (4, 0));
}

#[tokio::test]
async fn an_admission_is_set_as_data_and_one_that_admits_nothing_is_refused() {
    let built = |settings| async move {
        let config = EngineConfig::from_json(json!({ "admission": settings })).unwrap();
        Engine::builder().config(config).unwrap().build().await
    };
    let engine = built(json!({ "slots": 3, "wait_seconds": 0.5 })).await.unwrap();
    let config = *engine.admission().unwrap().config();
    assert_eq!((config.slots, config.queue, config.wait.as_millis()), (3, 1024, 500));
    let err = built(json!({ "slots": 0 })).await.unwrap_err();
    assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, Some("slots")));
}
