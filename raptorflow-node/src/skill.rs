//! Skills of a folder: data in, JSON out.

use napi::{Env, bindgen_prelude::PromiseRaw};
use napi_derive::napi;
use raptorflow_core::{
    runtime::Tasks,
    skill::{Language, SkillRegistry, generate_types},
    types::Schema,
};
use serde::Serialize;

use crate::convert::{data, native, promise, written};

/// A folder of skills.
#[napi]
pub struct NativeSkills {
    pub(crate) skills: SkillRegistry,
}

#[napi]
impl NativeSkills {
    /// Reads a folder in which every skill has to be usable.
    #[napi(ts_return_type = "Promise<NativeSkills>")]
    pub fn load(env: &Env, folder: String) -> napi::Result<PromiseRaw<'_, NativeSkills>> {
        promise(env, async move {
            let load = Tasks::current()?.spawn_blocking(move || SkillRegistry::load(folder));
            Ok(Self { skills: load.await?? })
        })
    }

    /// Reads a folder and leaves out what is not usable.
    #[napi(ts_return_type = "Promise<NativeSkills>")]
    pub fn open(env: &Env, folder: String) -> napi::Result<PromiseRaw<'_, NativeSkills>> {
        promise(env, async move {
            let open = Tasks::current()?.spawn_blocking(move || SkillRegistry::open(folder));
            Ok(Self { skills: open.await?? })
        })
    }

    /// Reads the folder again.
    #[napi]
    pub fn reload<'e>(&self, env: &'e Env) -> napi::Result<PromiseRaw<'e, String>> {
        let skills = self.skills.clone();
        promise(env, async move {
            let reload = Tasks::current()?.spawn_blocking(move || skills.reload());
            written(&reload.await??)
        })
    }

    /// One entry for each skill, as JSON.
    #[napi]
    pub fn list(&self) -> napi::Result<String> {
        native(written(&self.skills.summaries()))
    }

    /// What a skill says of itself, as JSON.
    #[napi]
    pub fn spec(&self, id: String) -> napi::Result<String> {
        native(self.skills.get(&id).and_then(|skill| written(skill.spec())))
    }

    /// The JSON Schemas of a skill's inputs and its output.
    #[napi]
    pub fn schemas(&self, id: String) -> napi::Result<String> {
        let skill = native(self.skills.get(&id))?;
        native(written(&Schemas { input: skill.input_schema(), output: skill.output_schema() }))
    }

    /// The messages of a skill for these inputs, both JSON.
    #[napi]
    pub fn render(&self, id: String, inputs: String) -> napi::Result<String> {
        let inputs: serde_json::Value = native(data("inputs", &inputs))?;
        native(self.skills.render(&id, &inputs).and_then(|messages| written(&messages)))
    }

    /// The types of every skill in a language, given as JSON.
    #[napi]
    pub fn types(&self, language: String) -> napi::Result<String> {
        let language: Language = native(data("language", &language))?;
        Ok(generate_types(&self.skills.list(), language))
    }

    /// Everything that was wrong when the folder was read last, as JSON.
    #[napi]
    pub fn diagnostics(&self) -> napi::Result<String> {
        native(written(&self.skills.diagnostics()))
    }
}

#[derive(Serialize)]
struct Schemas<'a> {
    input: &'a Schema,
    output: &'a Schema,
}
