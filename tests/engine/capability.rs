//! Executions of a capability: tried again when that may help, and recalled when nothing is changed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use raptorflow_core::{
    Agent, Engine,
    agent::{AgentInput, AgentSpec, Capability, FunctionAgent},
    error::{Error, ErrorKind, Retry},
    model::Model,
    testing::{Reply, ScriptedModel},
    types::{Effects, Schema},
};
use serde_json::{Value, json};

use crate::support::{agent, facts, run_of, settle, standing_still};

/// An agent that counts its calls and fails as often as it is told to, with an error that may pass.
fn counter(failures: usize, change: impl FnOnce(&mut Capability)) -> (Agent, Arc<AtomicUsize>) {
    let mut capability =
        Capability::new("count", "Counts.", Schema::any_object(), Schema::new(json!({})).unwrap());
    change(&mut capability);
    let spec = AgentSpec { capabilities: vec![capability], ..AgentSpec::new("counter").unwrap() };
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let agent = FunctionAgent::new(spec, move |_ctx, _input| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            if number < failures {
                let err = Error::new(ErrorKind::Unavailable, "host.call", "busy");
                return Err(err.retryable(Retry::After(Duration::ZERO)));
            }
            Ok(number.into())
        }
    });
    (agent.into(), count)
}

fn count_of(value: &Value) -> AgentInput {
    AgentInput { capability: Some("count".into()), ..AgentInput::new(value.clone()) }
}

#[tokio::test]
async fn an_execution_is_tried_again_three_times_and_each_time_is_recorded() {
    for (failures, calls) in [(0, 1), (3, 4), (4, 4)] {
        let (agent, count) = counter(failures, |_| {});
        let engine = Engine::builder().build().await.unwrap();
        let ended = engine.run(&agent, count_of(&json!({}))).await;
        assert_eq!((ended.is_ok(), count.load(Ordering::SeqCst)), (failures < 4, calls));
        let run = ended.map_or_else(|err| run_of(&err), |outcome| outcome.run_id);
        let retries = facts(&engine, run).await.iter().filter(|it| *it == "call: retry_triggered").count();
        assert_eq!(retries, calls - 1);
    }
    // An agent as a whole, an error that does not pass and a cancelled run are not tried again.
    let (agent, count) = counter(1, |_| {});
    let engine = Engine::builder().build().await.unwrap();
    engine.run(&agent, json!({})).await.unwrap_err();
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_pause_that_is_longer_than_the_time_left_is_not_waited_for() {
    let busy = Error::new(ErrorKind::RateLimited, "model.stream", "busy");
    let busy = busy.retryable(Retry::After(Duration::from_secs(300)));
    let script = ScriptedModel::new([Reply::error(busy)]);
    let number = Schema::new(json!({ "type": "number" })).unwrap();
    let capability = Capability::new("count", "Counts.", Schema::any_object(), number);
    let worker = agent("worker").model_instance(Model::new(script)).capability(capability).build().unwrap();
    let engine = Engine::builder().layers(Default::default()).build().await.unwrap();
    // The capability has 30 seconds.
    let err = engine.run(worker, count_of(&json!({ "goal": "x" }))).await.unwrap_err();
    assert_eq!((err.kind(), err.operation()), (ErrorKind::RateLimited, "model.stream"));
}

#[tokio::test]
async fn an_agent_with_a_model_goes_on_where_it_was() {
    let busy =
        Error::new(ErrorKind::Unavailable, "model.stream", "busy").retryable(Retry::After(Duration::ZERO));
    let script = ScriptedModel::new([
        Reply::tool_call("none", &json!({})),
        Reply::error(busy),
        Reply::json(&json!({ "value": 7 })),
    ]);
    let number = Schema::new(json!({ "type": "number" })).unwrap();
    let capability = Capability::new("count", "Counts.", Schema::any_object(), number);
    let worker = agent("worker").model_instance(Model::new(script.clone())).capability(capability);
    let engine = Engine::builder().layers(Default::default()).build().await.unwrap();
    let outcome = engine.run(worker.build().unwrap(), count_of(&json!({ "goal": "x" }))).await.unwrap();
    assert_eq!((outcome.output, script.requests().len()), (json!(7), 3));
}

#[tokio::test]
async fn an_answer_that_changed_nothing_is_given_again_for_five_minutes() {
    let (clock, runtime) = standing_still();
    let engine = Engine::builder().runtime(runtime).build().await.unwrap();
    let (agent, count) = counter(0, |it| it.effects = Effects::Read);
    engine.register(agent).unwrap();
    let ask = |value: Value| {
        let engine = engine.clone();
        async move { engine.run("counter", count_of(&value)).await.unwrap() }
    };
    let first = ask(json!({ "a": 1, "b": 2 })).await;
    let again = ask(json!({ "b": 2, "a": 1 })).await;
    assert_eq!((first.output.clone(), again.output.clone()), (json!(0), json!(0)));
    assert_eq!(
        facts(&engine, again.run_id).await,
        ["execution_started", "result_recalled", "execution_completed"]
    );
    assert_eq!(engine.resume(again.run_id).await.unwrap(), again);
    assert_eq!(ask(json!({ "a": 2 })).await.output, json!(1));
    let other = engine.run("counter", count_of(&json!({ "a": 1, "b": 2 }))).user("anna").await.unwrap();
    assert_eq!(other.output, json!(2));
    clock.advance(Duration::from_secs(299));
    assert_eq!(ask(json!({ "a": 1, "b": 2 })).await.output, json!(0));
    clock.advance(Duration::from_secs(1));
    assert_eq!(ask(json!({ "a": 1, "b": 2 })).await.output, json!(3));
    assert!(engine.agents().remove("counter"));
    assert_eq!(count.load(Ordering::SeqCst), 4);
    settle().await;
}

#[tokio::test]
async fn an_answer_is_not_recalled_when_something_is_changed_or_nothing_is_kept() {
    for change in [
        (|_: &mut Capability| {}) as fn(&mut Capability),
        |it| (it.effects, it.cache_seconds) = (Effects::Read, 0),
        |it| it.effects = Effects::Write,
    ] {
        let (agent, count) = counter(0, change);
        let engine = Engine::builder().build().await.unwrap();
        for _ in 0..2 {
            engine.run(&agent, count_of(&json!({}))).await.unwrap();
        }
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }
}
