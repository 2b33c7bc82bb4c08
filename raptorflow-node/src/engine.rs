//! The engine: options as JSON, outcomes as JSON, everything that waits as a promise.

use napi::{
    Env,
    bindgen_prelude::{ClassInstance, PromiseRaw, block_on},
};
use napi_derive::napi;
use raptorflow_core::{
    Engine,
    engine::EngineConfig,
    event,
    journal::JournalConfig,
    model::{FunctionModel, Model, ModelInfo},
    runtime::Context,
    types::TenantId,
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    agent::{NativeAgent, NativeHook, NativeTool},
    callback::Callback,
    convert::{count, data, native, promise, written},
    event::{Deliver, NativeSubscription, WhenFull},
    pack::NativePack,
    rag::{NativeEmbedder, NativeKnowledgeBase},
    skill::NativeSkills,
    testing::{NativeCassette, NativeReplay, NativeScript},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    storage: Option<String>,
    default_model: Option<String>,
    tenant: Option<TenantId>,
    owner: Option<String>,
    /// Layers, budgets and prices.
    config: Value,
}

/// The engine.
#[napi]
pub struct NativeEngine {
    pub(crate) engine: Engine,
}

#[napi]
impl NativeEngine {
    /// Opens the storage and makes the engine, with tools that agents may name.
    #[napi(constructor)]
    pub fn new(
        options: String,
        tools: Vec<ClassInstance<'_, NativeTool>>,
        cache_embedder: Option<ClassInstance<'_, NativeEmbedder>>,
        cassette: Option<ClassInstance<'_, NativeCassette>>,
    ) -> napi::Result<Self> {
        let options: Options = native(data("options", &options))?;
        let mut journal = JournalConfig::default();
        journal.owner = options.owner.map(Into::into);
        let mut builder = Engine::builder().journal(journal);
        if let Some(address) = options.storage {
            builder = builder.storage(address);
        }
        if let Some(model) = options.default_model {
            builder = builder.default_model(model);
        }
        if let Some(tenant) = options.tenant {
            builder = builder.tenant(tenant);
        }
        if let Some(cassette) = cassette {
            let (http, secrets) = cassette.core();
            builder = builder.http(http).secrets(secrets);
        }
        let builder = tools.iter().fold(builder, |builder, it| builder.tool(it.tool.clone()));
        let builder =
            native(EngineConfig::from_json(options.config).and_then(|config| builder.config(config)))?;
        let builder = match cache_embedder {
            Some(it) => builder.cache_embedder(it.core()),
            None => builder,
        };
        Ok(Self { engine: native(block_on(builder.build()))? })
    }

    /// The same engine for another tenant.
    #[napi(ts_return_type = "NativeEngine")]
    pub fn for_tenant(&self, tenant: String) -> napi::Result<Self> {
        Ok(Self { engine: self.engine.for_tenant(native(TenantId::new(tenant))?) })
    }

    /// Lets a hook watch and steer all agents that begin to work from now on.
    #[napi]
    pub fn add_hook(&self, hook: &NativeHook) {
        self.engine.add_hook(hook.hook.clone());
    }

    /// Makes an agent or a workflow known.
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

    /// Makes a script known as a model.
    #[napi]
    pub fn register_script(&self, name: String, script: &NativeScript) -> napi::Result<()> {
        native(self.engine.register_model(&name, script.model(&name)))
    }

    /// Makes the answers of a recorded run known as a model.
    #[napi]
    pub fn register_replay(&self, name: String, replay: &NativeReplay) -> napi::Result<()> {
        native(self.engine.register_model(&name, replay.model(&name)))
    }

    /// Makes the agents of a pack known.
    #[napi]
    pub fn install(&self, pack: &NativePack) -> napi::Result<()> {
        native(self.engine.install(&pack.pack))
    }

    /// Makes an agent of each skill known.
    #[napi]
    pub fn install_skills(&self, skills: &NativeSkills) -> napi::Result<()> {
        native(self.engine.install_skills(&skills.skills))
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
            let query =
                event::History { filter: data("filter", &filter)?, from: count(from), limit: limit as usize };
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
