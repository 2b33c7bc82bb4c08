//! Packs and reports: data of files in, JSON and Markdown out.

use napi::{Env, bindgen_prelude::PromiseRaw};
use napi_derive::napi;
use raptorflow_core::{
    orchestrator::Report,
    pack::{Manifest, Pack},
    runtime::Tasks,
};
use serde::Serialize;

use crate::convert::{data, native, promise, written};

/// Agents and teams of a folder.
#[napi]
pub struct NativePack {
    pub(crate) pack: Pack,
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

#[derive(Serialize)]
struct Described<'a> {
    name: &'a str,
    version: &'a str,
    description: &'a str,
    teams: Vec<&'a str>,
    agents: Vec<&'a str>,
}
