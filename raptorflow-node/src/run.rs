//! Runs: how they are asked for, and the handle to one in the background.

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use napi::{
    Env, Status,
    bindgen_prelude::{ClassInstance, PromiseRaw},
    threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode},
};
use napi_derive::napi;
use raptorflow_core::{
    Engine, Result,
    engine::{Outcome, ResumeRequest, RunRequest, Target},
    event::{Filter, Lag},
    runtime::Cancel,
    types::{Part, RunId, TenantId},
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    agent::NativeAgent,
    convert::{data, duration, promise, written},
    engine::NativeEngine,
    event::NativeSubscription,
};

/// How many events of a run wait before the oldest make room.
const EVENTS: usize = 4096;

/// Told that a run has ended; weak, so that a run in the background does not keep the process alive.
type Ended = ThreadsafeFunction<(), (), (), Status, false, true>;

/// Stops work from outside.
#[napi]
#[derive(Default)]
pub struct Cancellation(pub(crate) Cancel);

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
struct Ask {
    /// What is to run, by name; where an agent itself is given, that counts.
    agent: String,
    input: Value,
    capability: Option<String>,
    id: Option<RunId>,
    #[serde(default)]
    attachments: Vec<Part>,
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
    user: Option<String>,
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
        let request = match $how.user {
            Some(user) => request.user(user),
            None => request,
        };
        match $how.timeout {
            Some(limit) => request.timeout(duration("timeout", limit)?),
            None => request,
        }
    }};
}

/// What is asked of whom, before it is read.
struct Request {
    engine: Engine,
    ask: String,
    agent: Option<Target>,
    cancel: Cancel,
}

impl Request {
    fn new(
        engine: &NativeEngine,
        ask: String,
        agent: Option<ClassInstance<'_, NativeAgent>>,
        cancel: &Cancellation,
    ) -> Self {
        let agent = agent.map(|it| Target::from(&it.agent));
        Self { engine: engine.engine.clone(), ask, agent, cancel: cancel.0.clone() }
    }

    /// The request of a new run, and its id.
    fn read(self) -> Result<(RunId, RunRequest)> {
        let Ask { agent, input, capability, id, attachments, how } = data("run", &self.ask)?;
        let id = id.unwrap_or_else(|| self.engine.runtime().ids().run());
        let mut request = self.engine.run(self.agent.unwrap_or_else(|| agent.into()), input).id(id);
        if let Some(capability) = capability {
            request = request.capability(capability);
        }
        request = attachments.into_iter().fold(request, RunRequest::attach);
        Ok((id, applied!(request, how, &self.cancel)))
    }
}

#[napi]
impl NativeEngine {
    /// Asks an agent, by name or itself, and waits for its outcome.
    #[napi]
    pub fn run<'e>(
        &self,
        env: &'e Env,
        ask: String,
        agent: Option<ClassInstance<'_, NativeAgent>>,
        cancel: &Cancellation,
    ) -> napi::Result<PromiseRaw<'e, String>> {
        let request = Request::new(self, ask, agent, cancel);
        promise(env, async move { written(&request.read()?.1.await?) })
    }

    /// Asks an agent in the background; `ended` is called when the run has ended.
    #[napi]
    pub fn start<'e>(
        &self,
        env: &'e Env,
        ask: String,
        agent: Option<ClassInstance<'_, NativeAgent>>,
        cancel: &Cancellation,
        #[napi(ts_arg_type = "() => void")] ended: Ended,
    ) -> napi::Result<PromiseRaw<'e, NativeRun>> {
        let request = Request::new(self, ask, agent, cancel);
        let engine = self.engine.clone();
        promise(env, async move {
            let (id, request) = request.read()?;
            // Before the start, so that nothing is missed.
            let filter = Filter { run: Some(id), ..Filter::default() };
            let events = engine.bus().subscribe(filter, EVENTS, Lag::DropOldest)?;
            let run = request.start().await?;
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
