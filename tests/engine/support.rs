//! What the tests of the engine share: engines over scripted models, a log that fails, and what was seen.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use raptorflow_core::{
    Agent, Engine,
    agent::AgentBuilder,
    engine::EngineBuilder,
    error::{Error, ErrorKind, Result},
    event::{Event, Filter, History},
    journal::Entry,
    model::{ChatRequest, FinishReason, Model, StreamPart},
    runtime::{Context, Runtime, Tasks},
    storage::{Append, Log, MemoryStore, Record, Storage},
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

/// A store whose appends fail at given places, before or after they write.
#[derive(Clone, Debug)]
pub(crate) struct FaultyLog {
    inner: MemoryStore,
    calls: Arc<AtomicUsize>,
    at: usize,
    fault: Fault,
}

/// When an append fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    Before,
    After,
}

impl FaultyLog {
    /// A storage over `store` in which the append with the given number, from 0, fails.
    pub(crate) fn storage(store: &MemoryStore, at: usize, fault: Fault) -> (Storage, Self) {
        let log = Self { inner: store.clone(), calls: Arc::default(), at, fault };
        let storage =
            Storage::from_parts(Arc::new(store.clone()), Arc::new(log.clone()), Arc::new(store.clone()));
        (storage, log)
    }

    /// How many appends there were.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Log for FaultyLog {
    async fn append(&self, ctx: &Context, append: Append<'_>) -> Result<u64> {
        let fails = self.calls.fetch_add(1, Ordering::SeqCst) == self.at;
        let fault = || Error::new(ErrorKind::Unavailable, "test.append", "the disk is gone");
        if fails && self.fault == Fault::Before {
            return Err(fault());
        }
        let length = self.inner.append(ctx, append).await?;
        if fails { Err(fault()) } else { Ok(length) }
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

    async fn remove(&self, ctx: &Context, stream: &str) -> Result<bool> {
        self.inner.remove(ctx, stream).await
    }
}
