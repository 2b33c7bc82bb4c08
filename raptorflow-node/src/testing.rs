//! Test doubles: scripted and replayed models, and cassettes; replies and requests as JSON.

use std::sync::Arc;

use napi::{Env, bindgen_prelude::PromiseRaw};
use napi_derive::napi;
use raptorflow_core::{
    Result,
    model::{HttpClient, Model, ReqwestClient},
    security::SecretStore,
    testing::{Cassette, CassetteMode, ReplayModel, Reply, ScriptedModel},
};

use crate::{
    convert::{data, native, promise, written},
    engine::NativeEngine,
};

/// A model that plays given replies.
#[napi]
pub struct NativeScript {
    script: ScriptedModel,
}

#[napi]
impl NativeScript {
    /// Without replies.
    #[napi(constructor)]
    #[must_use]
    pub fn new() -> Self {
        Self { script: ScriptedModel::new([]) }
    }

    /// Adds a reply to the end of the list.
    #[napi]
    pub fn push(&self, reply: String) -> napi::Result<()> {
        self.script.push(read(&reply)?);
        Ok(())
    }

    /// Answers every request whose last message has a text in it.
    #[napi]
    pub fn when_asked(&self, text: String, reply: String) -> napi::Result<()> {
        drop(self.script.clone().when_asked(text, read(&reply)?));
        Ok(())
    }

    /// Answers every request that nothing else answers.
    #[napi]
    pub fn always(&self, reply: String) -> napi::Result<()> {
        drop(self.script.clone().always(read(&reply)?));
        Ok(())
    }

    /// Every request so far, as JSON.
    #[napi]
    pub fn requests(&self) -> napi::Result<String> {
        native(written(&self.script.requests()))
    }

    /// The idempotency key of every request so far.
    #[napi]
    #[must_use]
    pub fn keys(&self) -> Vec<Option<String>> {
        self.script.keys()
    }

    /// How many replies of the list are left.
    #[napi]
    #[must_use]
    pub fn remaining(&self) -> u32 {
        u32::try_from(self.script.remaining()).unwrap_or(u32::MAX)
    }

    pub(crate) fn model(&self, name: &str) -> Model {
        Model::new(self.script.clone().named(name.to_owned()))
    }
}

fn read(reply: &str) -> napi::Result<Reply> {
    native(data("reply", reply).and_then(Reply::from_json))
}

/// A model that gives the answers of a recorded run again.
#[napi]
pub struct NativeReplay {
    replay: ReplayModel,
}

#[napi]
impl NativeReplay {
    /// The answers of a file.
    #[napi(factory)]
    pub fn load(path: String) -> napi::Result<Self> {
        Ok(Self { replay: native(ReplayModel::load(path))? })
    }

    /// The answers that stand in the journal of a run.
    #[napi(ts_return_type = "Promise<NativeReplay>")]
    pub fn of_run<'e>(
        env: &'e Env,
        engine: &NativeEngine,
        run: String,
    ) -> napi::Result<PromiseRaw<'e, NativeReplay>> {
        let engine = engine.engine.clone();
        promise(env, async move {
            let entries = engine.history(run.parse()?, 0, usize::MAX).await?;
            Ok(Self { replay: ReplayModel::from_entries(&entries) })
        })
    }

    /// Writes the answers that are left to a file.
    #[napi]
    pub fn save(&self, path: String) -> napi::Result<()> {
        native(self.replay.save(path))
    }

    /// How many answers are left.
    #[napi(getter)]
    #[must_use]
    pub fn left(&self) -> u32 {
        u32::try_from(self.replay.left()).unwrap_or(u32::MAX)
    }

    pub(crate) fn model(&self, name: &str) -> Model {
        Model::new(self.replay.clone().named(name.to_owned()))
    }
}

/// What providers answered, in a file.
#[napi]
pub struct NativeCassette {
    cassette: Cassette,
}

#[napi]
impl NativeCassette {
    /// Opens a file; the mode is JSON.
    #[napi(constructor)]
    pub fn new(path: String, mode: String, ignoring: Vec<String>) -> napi::Result<Self> {
        let open = || -> Result<Cassette> {
            let mode: CassetteMode = data("mode", &mode)?;
            let cassette = Cassette::open(path, mode, Arc::new(ReqwestClient::default()))?;
            Ok(ignoring.into_iter().fold(cassette, Cassette::ignoring))
        };
        Ok(Self { cassette: native(open())? })
    }

    /// How many recorded exchanges were not asked for.
    #[napi(getter)]
    #[must_use]
    pub fn left(&self) -> u32 {
        u32::try_from(self.cassette.left()).unwrap_or(u32::MAX)
    }

    /// Fails when something could not be written.
    #[napi]
    pub fn check(&self) -> napi::Result<()> {
        native(self.cassette.check())
    }

    /// What sends requests, and the keys for them.
    pub(crate) fn core(&self) -> (Arc<dyn HttpClient>, Arc<dyn SecretStore>) {
        (Arc::new(self.cassette.clone()), self.cassette.secrets())
    }
}
