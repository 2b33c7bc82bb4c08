//! What the tests of the engine share: engines over scripted models, and what was seen.

use std::sync::Arc;

use raptorflow_core::{
    Agent, Engine,
    agent::AgentBuilder,
    engine::EngineBuilder,
    error::Error,
    event::{Event, Filter, History},
    journal::Entry,
    model::{ChatRequest, FinishReason, Model, StreamPart},
    runtime::{Context, Runtime, Tasks},
    testing::{ManualClock, Reply, ScriptedModel},
    types::RunId,
};
use serde_json::Value;

/// The name under which [`engine`] registers its model.
pub(crate) const MODEL: &str = "scripted:main";

/// An engine in memory whose default model plays the script.
pub(crate) async fn engine(script: &ScriptedModel) -> Engine {
    built(Engine::builder(), script).await
}

/// An engine whose default model plays the script.
pub(crate) async fn built(builder: EngineBuilder, script: &ScriptedModel) -> Engine {
    let engine = builder.default_model(MODEL).build().await.unwrap();
    engine.register_model(MODEL, Model::new(script.clone())).unwrap();
    engine
}

/// The builder of an agent around the default model.
pub(crate) fn agent(name: &str) -> AgentBuilder {
    Agent::builder(name)
}

/// A clock that stands still, and a runtime over it.
pub(crate) fn standing_still() -> (ManualClock, Runtime) {
    let clock = ManualClock::new();
    let runtime = Runtime::new(Arc::new(clock.clone()), Tasks::current().unwrap());
    (clock, runtime)
}

/// Lets every other task of a current-thread runtime go on as far as it can.
pub(crate) async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// A reply with calls of several tools whose ids are given.
pub(crate) fn calls(calls: &[(&str, &str, Value)]) -> Reply {
    let call = |(index, (id, name, arguments)): (usize, &(&str, &str, Value))| StreamPart::ToolCall {
        index,
        id: Some((*id).to_owned()),
        name: Some((*name).to_owned()),
        arguments: arguments.to_string(),
    };
    let mut parts: Vec<StreamPart> = calls.iter().enumerate().map(call).collect();
    parts.push(StreamPart::Finish { reason: FinishReason::ToolCalls });
    Reply::parts(parts)
}

/// The events of a run that the bus still has, oldest first.
pub(crate) fn events(engine: &Engine, run: RunId) -> Vec<Arc<Event>> {
    let ctx = Context::new(engine.runtime());
    let filter = Filter { run: Some(run), ..Filter::default() };
    engine.bus().history(&ctx, &History { filter, ..History::default() })
}

/// The kinds of the events of a run, oldest first.
pub(crate) fn kinds(engine: &Engine, run: RunId) -> Vec<String> {
    events(engine, run).iter().map(|event| event.kind.name().to_owned()).collect()
}

/// The entries of a run.
pub(crate) async fn entries(engine: &Engine, run: RunId) -> Vec<Entry> {
    engine.history(run, 0, usize::MAX).await.unwrap()
}

/// The facts of a run as `path: name`, or the name alone at its top.
pub(crate) async fn facts(engine: &Engine, run: RunId) -> Vec<String> {
    entries(engine, run).await.iter().map(fact).collect()
}

fn fact(entry: &Entry) -> String {
    let name = match serde_json::to_value(&entry.fact).unwrap() {
        Value::String(name) => name,
        other => other.as_object().unwrap().keys().next().unwrap().clone(),
    };
    if entry.path.is_empty() { name } else { format!("{}: {name}", entry.path) }
}

/// The run that an error speaks of.
pub(crate) fn run_of(err: &Error) -> RunId {
    err.get("run").unwrap_or_else(|| panic!("no run in {err}")).parse().unwrap()
}

/// The texts of the messages of a request.
pub(crate) fn texts(request: &ChatRequest) -> Vec<String> {
    request.messages.iter().map(raptorflow_core::types::Message::text).collect()
}
