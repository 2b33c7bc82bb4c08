//! What is said to runs from outside, and what is recorded of them, as JSON.

use napi::{Env, bindgen_prelude::PromiseRaw};
use napi_derive::napi;
use raptorflow_core::{
    engine::ApprovalRequest,
    journal::{Entry, Fact, RunFilter, RunState, RunStatus, Summary},
    types::{Digest, RunId, Timestamp},
};
use serde::{Deserialize, Serialize};

use crate::{
    convert::{count, data, promise, written},
    engine::NativeEngine,
};

#[napi]
impl NativeEngine {
    /// Cancels a run for good.
    #[napi]
    pub fn cancel<'e>(&self, env: &'e Env, run: String) -> napi::Result<PromiseRaw<'e, ()>> {
        let engine = self.engine.clone();
        promise(env, async move { engine.cancel(run.parse()?).await })
    }

    /// Answers a gate of a run; the value is JSON.
    #[napi]
    pub fn signal<'e>(
        &self,
        env: &'e Env,
        run: String,
        name: String,
        value: String,
        by: Option<String>,
    ) -> napi::Result<PromiseRaw<'e, ()>> {
        let engine = self.engine.clone();
        promise(env, async move {
            let request = engine.signal(run.parse()?, name, data::<serde_json::Value>("value", &value)?);
            match by {
                Some(by) => request.by(by).await,
                None => request.await,
            }
        })
    }

    /// The calls of tools that wait for a person, of a run or of all, as JSON.
    #[napi]
    pub fn approvals<'e>(&self, env: &'e Env, run: Option<String>) -> napi::Result<PromiseRaw<'e, String>> {
        let engine = self.engine.clone();
        promise(env, async move {
            written(&match run {
                Some(run) => engine.approvals(run.parse()?).await?,
                None => engine.pending_approvals().await?,
            })
        })
    }

    /// Approves or denies a call of a tool; the answer is JSON.
    #[napi]
    pub fn answer_approval<'e>(&self, env: &'e Env, answer: String) -> napi::Result<PromiseRaw<'e, ()>> {
        let engine = self.engine.clone();
        promise(env, async move {
            let Answered { run, id, digest, approved, by, reason } = data("answer", &answer)?;
            let request =
                if approved { engine.approve(run, id, digest) } else { engine.deny(run, id, digest) };
            let request = by.into_iter().fold(request, ApprovalRequest::by);
            reason.into_iter().fold(request, ApprovalRequest::because).await
        })
    }

    /// Asks a run to begin nothing new.
    #[napi]
    pub fn pause<'e>(&self, env: &'e Env, run: String) -> napi::Result<PromiseRaw<'e, ()>> {
        let engine = self.engine.clone();
        promise(env, async move { engine.pause(run.parse()?).await })
    }

    /// The id of a new run with the first entries of another.
    #[napi]
    pub fn fork<'e>(&self, env: &'e Env, run: String, at: f64) -> napi::Result<PromiseRaw<'e, String>> {
        let engine = self.engine.clone();
        promise(env, async move { Ok(engine.fork(run.parse()?, count(at)).await?.to_string()) })
    }

    /// What a run looks like after so many entries, or now.
    #[napi]
    pub fn state<'e>(
        &self,
        env: &'e Env,
        run: String,
        at: Option<f64>,
    ) -> napi::Result<PromiseRaw<'e, String>> {
        let engine = self.engine.clone();
        promise(env, async move {
            let run_id = run.parse()?;
            let state = engine.state(run_id, at.map(count)).await?;
            written(&Shown { run_id, state: &state })
        })
    }

    /// The runs that a filter lets through; it is JSON.
    #[napi]
    pub fn runs<'e>(&self, env: &'e Env, filter: String) -> napi::Result<PromiseRaw<'e, String>> {
        let engine = self.engine.clone();
        promise(env, async move {
            let page = engine.runs(data::<Wanted>("filter", &filter)?.into()).await?;
            let runs = page.runs.iter().map(|(id, summary)| Listed { run_id: *id, summary }).collect();
            written(&Page { runs, next: page.next })
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
            let entries = engine.history(run.parse()?, count(from), limit as usize).await?;
            written(&entries.iter().map(Told::of).collect::<Vec<_>>())
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    status: Option<RunStatus>,
    target: Option<String>,
    started_after: Option<Timestamp>,
    started_before: Option<Timestamp>,
    after: Option<RunId>,
    limit: usize,
}

impl From<Wanted> for RunFilter {
    fn from(wanted: Wanted) -> Self {
        let Wanted { status, target, started_after, started_before, after, limit } = wanted;
        Self { status, target, started_after, started_before, after, limit }
    }
}

#[derive(Serialize)]
struct Page<'a> {
    runs: Vec<Listed<'a>>,
    next: Option<RunId>,
}

#[derive(Serialize)]
struct Listed<'a> {
    run_id: RunId,
    #[serde(flatten)]
    summary: &'a Summary,
}

#[derive(Serialize)]
struct Shown<'a> {
    run_id: RunId,
    #[serde(flatten)]
    state: &'a RunState,
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

/// What somebody says about a call of a tool.
#[derive(Deserialize)]
struct Answered {
    run: RunId,
    id: String,
    digest: Digest,
    approved: bool,
    by: Option<String>,
    reason: Option<String>,
}
