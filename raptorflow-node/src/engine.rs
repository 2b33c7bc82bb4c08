//! The engine: options as JSON, outcomes as JSON, everything that waits as a promise.

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use napi::{
    Env, Status,
    bindgen_prelude::{ClassInstance, PromiseRaw, block_on},
    threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode},
};
use napi_derive::napi;
use raptorflow_core::{
    Engine, Result,
    engine::{Outcome, ResumeRequest, RunRequest},
    event::{self, Filter, Lag},
    journal::{Entry, Fact, RunFilter, Summary},
    model::{FunctionModel, Model, ModelInfo},
    orchestrator::Report,
    pack::{Manifest, Pack},
    runtime::{Cancel, Context, Tasks},
    types::{RunId, TenantId, Timestamp},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    agent::{NativeAgent, NativeTool},
    callback::Callback,
    convert::{data, duration, native, promise, written},
    event::{Deliver, NativeSubscription, WhenFull},
    rag::NativeKnowledgeBase,
};

/// How many events of a run wait before the oldest make room.
const EVENTS: usize = 4096;

/// Told that a run has ended; weak, so that a run in the background does not keep the process alive.
type Ended = ThreadsafeFunction<(), (), (), Status, false, true>;

/// Stops work from outside.
#[napi]
#[derive(Default)]
pub struct Cancellation(Cancel);

#[napi]
impl Cancellation {
    /// A token of its own.
    #[napi(constructor)]
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops what was started with it.
    #[napi]
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    storage: Option<String>,
    default_model: Option<String>,
    tenant: Option<TenantId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    agent: String,
    input: Value,
    capability: Option<String>,
    how: How,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resume {
    run: RunId,
    how: How,
}

/// What applies to new and resumed runs alike.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct How {
    tenant: Option<TenantId>,
    /// Milliseconds.
    timeout: Option<f64>,
    #[serde(default)]
    content: bool,
}

macro_rules! applied {
    ($request:expr, $how:expr, $cancel:expr) => {{
        let request = $request.cancel_with($cancel).content($how.content);
        let request = match $how.tenant {
            Some(tenant) => request.tenant(tenant),
            None => request,
        };
        match $how.timeout {
            Some(limit) => request.timeout(duration("timeout", limit)?),
            None => request,
        }
    }};
}

/// The engine.
#[napi]
pub struct NativeEngine {
    engine: Engine,
}

#[napi]
impl NativeEngine {
    /// Opens the storage and makes the engine, with tools that agents may name.
    #[napi(constructor)]
    pub fn new(options: String, tools: Vec<ClassInstance<'_, NativeTool>>) -> napi::Result<Self> {
        let options: Options = native(data("options", &options))?;
        let mut builder = Engine::builder();
        if let Some(address) = options.storage {
            builder = builder.storage(address);
        }
        if let Some(model) = options.default_model {
            builder = builder.default_model(model);
        }
        if let Some(tenant) = options.tenant {
            builder = builder.tenant(tenant);
        }
        let builder = tools.iter().fold(builder, |builder, it| builder.tool(it.tool.clone()));
        Ok(Self { engine: native(block_on(builder.build()))? })
    }

    /// Makes an agent known.
    #[napi]
    pub fn register(&self, agent: &NativeAgent) -> napi::Result<()> {
        native(self.engine.register(agent.agent.clone()))
    }

    /// Makes a user's function known as a model; `info` is JSON.
    #[napi]
    pub fn register_model(&self, info: String, body: &Callback) -> napi::Result<()> {
        let info: ModelInfo = native(data("model", &info))?;
        let (name, body) = (info.name.clone(), body.clone());
        let model = FunctionModel::new(info, move |ctx, request| {
            let body = body.clone();
            async move { body.call(&ctx, request).await }
        });
        native(self.engine.register_model(&name, Model::new(model)))
    }

    /// Makes the agents of a pack known.
    #[napi]
    pub fn install(&self, pack: &NativePack) -> napi::Result<()> {
        native(self.engine.install(&pack.pack))
    }

    /// The names of the agents that are known.
    #[napi]
    #[must_use]
    pub fn agents(&self) -> Vec<String> {
        self.engine.agents().list().iter().map(|agent| agent.name().to_string()).collect()
    }

    /// Says where agents with retrieval find passages.
    #[napi]
    pub fn use_knowledge(&self, knowledge: &NativeKnowledgeBase) {
        self.engine.use_knowledge(knowledge.kb.clone());
    }

    /// Asks an agent and waits for its outcome.
    #[napi]
    pub fn run<'e>(
        &self,
        env: &'e Env,
        ask: String,
        cancel: &Cancellation,
    ) -> napi::Result<PromiseRaw<'e, String>> {
        let (engine, cancel) = (self.engine.clone(), cancel.0.clone());
        promise(env, async move { written(&request(&engine, data("run", &ask)?, &cancel)?.await?) })
    }

    /// Asks an agent in the background; `ended` is called when the run has ended.
    #[napi]
    pub fn start<'e>(
        &self,
        env: &'e Env,
        ask: String,
        cancel: &Cancellation,
        #[napi(ts_arg_type = "() => void")] ended: Ended,
    ) -> napi::Result<PromiseRaw<'e, NativeRun>> {
        let (engine, cancel) = (self.engine.clone(), cancel.0.clone());
        promise(env, async move {
            let id = engine.runtime().ids().run();
            // Before the start, so that nothing is missed.
            let filter = Filter { run: Some(id), ..Filter::default() };
            let events = engine.bus().subscribe(filter, EVENTS, Lag::DropOldest)?;
            let run = request(&engine, data("run", &ask)?, &cancel)?.id(id).start().await?;
            let events = NativeSubscription::new(events, None);
            let outcome = run.outcome().boxed().shared();
            let (end, ending) = (events.clone(), outcome.clone());
            // Here, so that the events end also when nobody waits for the outcome.
            engine.runtime().tasks().spawn("node.run", async move {
                let _outcome = ending.await;
                end.end();
                ended.call((), ThreadsafeFunctionCallMode::NonBlocking);
            });
            Ok(NativeRun { id, outcome, events })
        })
    }

    /// Takes up a run and waits for its outcome.
    #[napi]
    pub fn resume<'e>(
        &self,
        env: &'e Env,
        ask: String,
        cancel: &Cancellation,
    ) -> napi::Result<PromiseRaw<'e, String>> {
        let (engine, cancel) = (self.engine.clone(), cancel.0.clone());
        promise(env, async move {
            let Resume { run, how }: Resume = data("run", &ask)?;
            let request: ResumeRequest = applied!(engine.resume(run), how, &cancel);
            written(&request.await?)
        })
    }

    /// Cancels a run for good.
    #[napi]
    pub fn cancel<'e>(&self, env: &'e Env, run: String) -> napi::Result<PromiseRaw<'e, ()>> {
        let engine = self.engine.clone();
        promise(env, async move { engine.cancel(run.parse()?).await })
    }

    /// The runs after a given one.
    #[napi]
    pub fn runs<'e>(
        &self,
        env: &'e Env,
        after: Option<String>,
        limit: u32,
    ) -> napi::Result<PromiseRaw<'e, String>> {
        let engine = self.engine.clone();
        promise(env, async move {
            let after = after.map(|run| run.parse()).transpose()?;
            let filter = RunFilter { after, limit: limit as usize, ..RunFilter::default() };
            let runs = engine.runs(filter).await?.runs;
            written(&runs.iter().map(|(id, summary)| Listed { run_id: *id, summary }).collect::<Vec<_>>())
        })
    }

    /// What happened in a run.
    #[napi]
    pub fn history<'e>(
        &self,
        env: &'e Env,
        run: String,
        from: f64,
        limit: u32,
    ) -> napi::Result<PromiseRaw<'e, String>> {
        let engine = self.engine.clone();
        promise(env, async move {
            let entries = engine.history(run.parse()?, sequence(from), limit as usize).await?;
            written(&entries.iter().map(Told::of).collect::<Vec<_>>())
        })
    }

    /// Subscribes to events; filter and lag are JSON.
    #[napi]
    pub fn subscribe(
        &self,
        filter: String,
        capacity: u32,
        lag: String,
        #[napi(ts_arg_type = "(error: Error | null, batch: string) => void")] deliver: Deliver,
    ) -> napi::Result<NativeSubscription> {
        let subscribe = || {
            let lag: WhenFull = data("lag", &lag)?;
            self.engine.bus().subscribe(data("filter", &filter)?, capacity as usize, lag.try_into()?)
        };
        Ok(NativeSubscription::new(native(subscribe())?, Some(deliver)))
    }

    /// Events that the bus still has, as JSON.
    #[napi]
    pub fn events(&self, filter: String, from: f64, limit: u32) -> napi::Result<String> {
        let events = || {
            let query = event::History {
                filter: data("filter", &filter)?,
                from: sequence(from),
                limit: limit as usize,
            };
            let events = self.engine.bus().history(&Context::new(self.engine.runtime()), &query);
            written(&events)
        };
        native(events())
    }

    /// Counts of the bus, as JSON.
    #[napi]
    pub fn bus_stats(&self) -> napi::Result<String> {
        native(written(&self.engine.bus().stats()))
    }

    /// Stops everything and closes the storage.
    #[napi]
    pub fn close<'e>(&self, env: &'e Env) -> napi::Result<PromiseRaw<'e, ()>> {
        let engine = self.engine.clone();
        promise(env, async move { engine.shutdown().await })
    }
}

/// A run in the background.
#[napi]
pub struct NativeRun {
    id: RunId,
    outcome: Shared<BoxFuture<'static, Result<Outcome>>>,
    events: NativeSubscription,
}

#[napi]
impl NativeRun {
    /// Its id.
    #[napi(getter)]
    #[must_use]
    pub fn id(&self) -> String {
        self.id.to_string()
    }

    /// Its events, from its start to its end.
    #[napi(getter)]
    #[must_use]
    pub fn events(&self) -> NativeSubscription {
        self.events.clone()
    }

    /// Waits for its end.
    #[napi]
    pub fn outcome<'e>(&self, env: &'e Env) -> napi::Result<PromiseRaw<'e, String>> {
        let outcome = self.outcome.clone();
        promise(env, async move { written(&outcome.await?) })
    }
}

/// Agents and teams of a folder.
#[napi]
pub struct NativePack {
    pack: Pack,
}

#[napi]
impl NativePack {
    /// Reads and checks the pack in a folder.
    #[napi(ts_return_type = "Promise<NativePack>")]
    pub fn load(env: &Env, folder: String) -> napi::Result<PromiseRaw<'_, NativePack>> {
        promise(env, async move {
            let load = Tasks::current()?.spawn_blocking(move || Pack::load(folder));
            Ok(Self { pack: load.await?? })
        })
    }

    /// What it is, as JSON.
    #[napi]
    pub fn describe(&self) -> napi::Result<String> {
        let Manifest { name, version, description, .. } = self.pack.manifest();
        let teams = self.pack.teams().iter().map(|(team, _)| team.name.as_str()).collect();
        let agents = self.pack.agents().iter().map(|agent| agent.name.as_str()).collect();
        native(written(&Described { name, version, description, teams, agents }))
    }
}

/// Reports of orchestrators.
#[napi]
pub struct NativeReport;

#[napi]
impl NativeReport {
    /// A report, given as JSON, in Markdown.
    #[napi]
    pub fn to_markdown(report: String) -> napi::Result<String> {
        let report: Report = native(data("report", &report))?;
        Ok(report.to_markdown())
    }
}

fn request(engine: &Engine, ask: Ask, cancel: &Cancel) -> Result<RunRequest> {
    let mut request = engine.run(&ask.agent, ask.input);
    if let Some(capability) = ask.capability {
        request = request.capability(capability);
    }
    Ok(applied!(request, ask.how, cancel))
}

/// A number that JavaScript counts with; what is no count is 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast stops at the bounds")]
fn sequence(number: f64) -> u64 {
    number as u64
}

#[derive(Serialize)]
struct Described<'a> {
    name: &'a str,
    version: &'a str,
    description: &'a str,
    teams: Vec<&'a str>,
    agents: Vec<&'a str>,
}

#[derive(Serialize)]
struct Listed<'a> {
    run_id: RunId,
    #[serde(flatten)]
    summary: &'a Summary,
}

/// An entry of a journal with readable names; its own form is that of the storage.
#[derive(Serialize)]
struct Told<'a> {
    sequence: u64,
    time: Timestamp,
    path: &'a str,
    fact: &'a Fact,
}

impl<'a> Told<'a> {
    fn of(entry: &'a Entry) -> Self {
        Self { sequence: entry.sequence, time: entry.time, path: &entry.path, fact: &entry.fact }
    }
}
