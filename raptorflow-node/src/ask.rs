//! Typed questions: how they are asked, and an answer that is read as it arrives.

use std::sync::Arc;

use futures_util::StreamExt as _;
use napi::{
    Env,
    bindgen_prelude::{ClassInstance, PromiseRaw},
};
use napi_derive::napi;
use raptorflow_core::{
    Engine, Error, ErrorKind, Result,
    agent::{Limits, Retrieval},
    engine::{AnswerPart, AnswerStream, AskRequest, Outcome, Target},
    runtime::Cancel,
    types::{RunId, Schema, TenantId},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::{
    agent::NativeAgent,
    convert::{data, duration, native, promise, written},
    engine::NativeEngine,
    run::Cancellation,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    question: Value,
    schema: Schema,
    /// An agent by name; where an agent itself is given, that counts.
    agent: Option<String>,
    model: Option<String>,
    instructions: Option<String>,
    background: Option<String>,
    retrieval: Option<Retrieval>,
    limits: Option<Limits>,
    repairs: Option<u32>,
    tenant: Option<TenantId>,
    user: Option<String>,
    /// Milliseconds.
    timeout: Option<f64>,
    id: Option<RunId>,
}

/// The request of a new run, and its id.
fn request(
    engine: &Engine,
    text: &str,
    agent: Option<Target>,
    cancel: &Cancel,
) -> Result<(RunId, AskRequest<Value>)> {
    let question: Question = data("question", text)?;
    let id = question.id.unwrap_or_else(|| engine.runtime().ids().run());
    let mut ask = engine.ask::<Value>(question.question).schema(question.schema).id(id).cancel_with(cancel);
    if let Some(agent) = agent.or(question.agent.map(Target::from)) {
        ask = ask.agent(agent);
    }
    if let Some(model) = question.model {
        ask = ask.model(model);
    }
    if let Some(text) = question.instructions {
        ask = ask.instructions(text);
    }
    if let Some(text) = question.background {
        ask = ask.background(text);
    }
    if let Some(retrieval) = question.retrieval {
        ask = ask.retrieval(retrieval);
    }
    if let Some(limits) = question.limits {
        ask = ask.limits(limits);
    }
    if let Some(repairs) = question.repairs {
        ask = ask.repairs(repairs);
    }
    if let Some(tenant) = question.tenant {
        ask = ask.tenant(tenant);
    }
    if let Some(user) = question.user {
        ask = ask.user(user);
    }
    if let Some(limit) = question.timeout {
        ask = ask.timeout(duration("timeout", limit)?);
    }
    Ok((id, ask))
}

#[napi]
impl NativeEngine {
    /// Asks a typed question and waits for its outcome.
    #[napi]
    pub fn ask<'e>(
        &self,
        env: &'e Env,
        question: String,
        agent: Option<ClassInstance<'_, NativeAgent>>,
        cancel: &Cancellation,
    ) -> napi::Result<PromiseRaw<'e, String>> {
        let (engine, cancel) = (self.engine.clone(), cancel.0.clone());
        let agent = agent.map(|it| Target::from(&it.agent));
        promise(env, async move {
            let (_, ask) = request(&engine, &question, agent, &cancel)?;
            written(&Outcome::from(ask.await?))
        })
    }

    /// Asks a typed question whose answer is read as it arrives.
    #[napi]
    pub fn ask_stream(
        &self,
        question: String,
        agent: Option<ClassInstance<'_, NativeAgent>>,
        cancel: &Cancellation,
    ) -> napi::Result<NativeAnswer> {
        let agent = agent.map(|it| Target::from(&it.agent));
        let asked = request(&self.engine, &question, agent, &cancel.0);
        let (id, parts) = native(asked.and_then(|(id, ask)| Ok((id, ask.stream()?))))?;
        Ok(NativeAnswer { id, parts: Arc::new(Mutex::new(Some(parts))), closed: Cancel::new() })
    }
}

/// An answer that is read as it arrives; `None` inside is one that has ended or was let go.
#[napi]
pub struct NativeAnswer {
    id: RunId,
    parts: Arc<Mutex<Option<AnswerStream<Value>>>>,
    closed: Cancel,
}

#[napi]
impl NativeAnswer {
    /// The id of the run.
    #[napi(getter)]
    #[must_use]
    pub fn id(&self) -> String {
        self.id.to_string()
    }

    /// The next part, as JSON; nothing at the end.
    #[napi]
    pub fn next<'e>(&self, env: &'e Env) -> napi::Result<PromiseRaw<'e, Option<String>>> {
        let (parts, closed) = (Arc::clone(&self.parts), self.closed.clone());
        promise(env, async move {
            let mut place = parts.lock().await;
            let Some(stream) = &mut *place else { return Ok(None) };
            let part = tokio::select! {
                biased;
                () = closed.cancelled() => None,
                part = stream.next() => part,
            };
            if !matches!(part, Some(Ok(AnswerPart::Partial { .. } | AnswerPart::Again { .. }))) {
                *place = None;
            }
            part.map(|part| part_text(part?)).transpose()
        })
    }

    /// Stops the run, if it has not ended; it can be resumed.
    #[napi]
    pub fn close(&self) {
        self.closed.cancel();
        // Who waits for a part right now lets go of it instead.
        if let Ok(mut parts) = self.parts.try_lock() {
            *parts = None;
        }
    }
}

fn part_text(part: AnswerPart<Value>) -> Result<String> {
    match part {
        AnswerPart::Partial { value, open } => {
            written(&json!({ "kind": "partial", "value": value, "open": open }))
        }
        AnswerPart::Again { attempt } => written(&json!({ "kind": "again", "attempt": attempt })),
        AnswerPart::Done(outcome) => {
            // The outcome as text, as every other one crosses.
            let outcome = written(&Outcome::from(outcome))?;
            written(&json!({ "kind": "done", "outcome": outcome }))
        }
        _ => {
            let message = "a part of the answer is of a kind that this binding does not know";
            Err(Error::new(ErrorKind::Internal, "node.ask", message))
        }
    }
}
