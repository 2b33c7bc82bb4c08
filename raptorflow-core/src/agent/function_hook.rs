//! `FunctionHook`: a hook made of functions over JSON, for hosts that have no types of ours.

use std::{collections::HashMap, fmt, sync::Arc};

use async_trait::async_trait;
use futures_util::{FutureExt as _, future::BoxFuture};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    agent::{Hook, Transfer, Turn},
    error::{Error, ErrorKind, Result},
    model::ChatRequest,
    runtime::Context,
    tool::ProposedCall,
    types::{Message, Moment, ToolCall, ToolResult, Verdict},
};

type Function =
    Arc<dyn Fn(Context, Value) -> BoxFuture<'static, Result<Verdict<Value, Value>>> + Send + Sync>;

/// A hook with one function per moment that it wants; what it is asked and what it says are JSON.
///
/// What a function is asked has the fields `moment`, `agent`, `input`, `step`, `usage` and `cost` at all moments, and
/// - `messages` before and after a step, after it also `answer`, where there is one,
/// - `request` before the model, and `answer`, a message, after it,
/// - `tool`, `arguments` and `key` before a tool, and `call` and `result` after it,
/// - `handoff` at a handoff.
///
/// What it changes has the form of what it was asked: a request, a message, arguments, a result or a handoff.
///
/// ```
/// use raptorflow_core::{Agent, agent::FunctionHook, types::{Moment, Verdict}};
/// let polite = FunctionHook::new("polite").on(Moment::BeforeTool, |_ctx, asked| async move {
///     Ok(if asked["tool"] == "shout" { Verdict::refuse("be quiet") } else { Verdict::Continue })
/// });
/// let agent = Agent::builder("clerk").hook(polite).build()?;
/// # assert_eq!(agent.name().as_str(), "clerk");
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone)]
pub struct FunctionHook {
    name: Arc<str>,
    functions: HashMap<Moment, Function>,
}

impl FunctionHook {
    /// A hook that wants no moment yet.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), functions: HashMap::new() }
    }

    /// Asks a function at a moment, in place of one that was there.
    #[must_use]
    pub fn on<F, Fut>(mut self, moment: Moment, function: F) -> Self
    where
        F: Fn(Context, Value) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Verdict<Value, Value>>> + Send + 'static,
    {
        let function: Function = Arc::new(move |ctx, asked| function(ctx, asked).boxed());
        self.functions.insert(moment, function);
        self
    }

    async fn ask<C: DeserializeOwned, A: DeserializeOwned>(
        &self,
        ctx: &Context,
        turn: &Turn<'_>,
        moment: Moment,
        about: Value,
    ) -> Result<Verdict<C, A>> {
        let Some(function) = self.functions.get(&moment) else { return Ok(Verdict::Continue) };
        let mut asked = json!({
            "moment": moment,
            "agent": turn.agent.name,
            "input": turn.input.input,
            "step": turn.step,
            "usage": turn.usage,
            "cost": turn.cost,
        });
        if let (Some(fields), Value::Object(about)) = (asked.as_object_mut(), about) {
            fields.extend(about);
        }
        Ok(match function(ctx.clone(), asked).await? {
            Verdict::Continue => Verdict::Continue,
            Verdict::Change(value) => Verdict::Change(read(moment, "change", value)?),
            Verdict::Answer(value) => Verdict::Answer(read(moment, "answer", value)?),
            Verdict::Refuse(reason) => Verdict::Refuse(reason),
            Verdict::Stop(output) => Verdict::Stop(output),
        })
    }
}

/// What a verdict holds, in the form of its moment.
fn read<T: DeserializeOwned>(moment: Moment, verdict: &'static str, value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|err| {
        Error::new(ErrorKind::InvalidInput, "agent.verdict", "the verdict of a hook does not fit the moment")
            .with("moment", moment.name())
            .with("verdict", verdict)
            .with("problem", err)
    })
}

#[async_trait]
impl Hook for FunctionHook {
    fn name(&self) -> &str {
        &self.name
    }

    fn wants(&self, moment: Moment) -> bool {
        self.functions.contains_key(&moment)
    }

    async fn before_step(&self, ctx: &Context, turn: &Turn<'_>, messages: &[Message]) -> Result<Verdict> {
        self.ask(ctx, turn, Moment::BeforeStep, json!({ "messages": messages })).await
    }

    async fn before_model(
        &self,
        ctx: &Context,
        turn: &Turn<'_>,
        request: &ChatRequest,
    ) -> Result<Verdict<ChatRequest, Message>> {
        self.ask(ctx, turn, Moment::BeforeModel, json!({ "request": request })).await
    }

    async fn after_model(
        &self,
        ctx: &Context,
        turn: &Turn<'_>,
        answer: &Message,
    ) -> Result<Verdict<Message>> {
        self.ask(ctx, turn, Moment::AfterModel, json!({ "answer": answer })).await
    }

    async fn before_tool(
        &self,
        ctx: &Context,
        turn: &Turn<'_>,
        call: ProposedCall<'_>,
    ) -> Result<Verdict<Value, Value>> {
        let ProposedCall { spec, arguments, key } = call;
        let about = json!({ "tool": spec.name, "arguments": arguments, "key": key });
        self.ask(ctx, turn, Moment::BeforeTool, about).await
    }

    async fn after_tool(
        &self,
        ctx: &Context,
        turn: &Turn<'_>,
        call: &ToolCall,
        result: &ToolResult,
    ) -> Result<Verdict<ToolResult>> {
        self.ask(ctx, turn, Moment::AfterTool, json!({ "call": call, "result": result })).await
    }

    async fn handoff(
        &self,
        ctx: &Context,
        turn: &Turn<'_>,
        transfer: &Transfer,
    ) -> Result<Verdict<Transfer, Value>> {
        self.ask(ctx, turn, Moment::Handoff, json!({ "handoff": transfer })).await
    }

    async fn after_step(
        &self,
        ctx: &Context,
        turn: &Turn<'_>,
        messages: &[Message],
        answer: Option<&Value>,
    ) -> Result<Verdict> {
        let about = json!({ "messages": messages, "answer": answer });
        self.ask(ctx, turn, Moment::AfterStep, about).await
    }
}

impl fmt::Debug for FunctionHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionHook").field("name", &self.name).finish_non_exhaustive()
    }
}
