//! `Hooks`: the hooks of one agent at work, asked one after the other, each within its time.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use serde::Serialize;
use serde_json::Value;

use crate::{
    agent::{Hook, Transfer, Turn},
    error::{Error, ErrorKind, Result},
    journal::Fact,
    model::ChatRequest,
    runtime::Context,
    tool::{ProposedCall, panic_message},
    types::{Diagnostics, Message, Moment, ToolCall, ToolResult, Verdict},
};

/// The operation that errors of hooks name.
pub(super) const OPERATION: &str = "agent.hook";

/// Those of the engine, and then those of the agent.
#[derive(Clone, Debug, Default)]
pub(super) struct Hooks {
    all: Vec<Arc<dyn Hook>>,
    limit: Duration,
}

/// Asks the hooks of a moment until one has the last word; what changes anything is a fact.
macro_rules! ask {
    ($hooks:expr, $ctx:expr, $moment:expr, $start:expr, |$hook:ident, $at:ident, $value:ident| $call:expr) => {{
        let mut by = Vec::new();
        let mut changed = None;
        let mut last = Verdict::Continue;
        for $hook in $hooks.of($moment) {
            let $at = &$ctx.with_timeout($hooks.limit);
            let $value = changed.as_ref().unwrap_or($start);
            // Inside of the future, so that what a method does before it awaits is contained too.
            let verdict = $hooks.within($ctx, $at, &**$hook, $moment, async { $call.await }).await?;
            if !verdict.is_continue() {
                by.push($hook.name().to_owned());
            }
            match verdict {
                Verdict::Continue => {}
                Verdict::Change(value) => changed = Some(value),
                word => {
                    last = word;
                    break;
                }
            }
        }
        let last = if last.is_continue() { changed.map_or(last, Verdict::Change) } else { last };
        decided($moment, by, last)
    }};
}

impl Hooks {
    pub(super) fn new(of_engine: &[Arc<dyn Hook>], of_agent: &[Arc<dyn Hook>], limit: Duration) -> Self {
        Self { all: of_engine.iter().chain(of_agent).cloned().collect(), limit }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether any is asked at a moment.
    pub(super) fn wants(&self, moment: Moment) -> bool {
        self.all.iter().any(|hook| hook.wants(moment))
    }

    pub(super) async fn before_step(
        &self,
        ctx: &Context,
        turn: &Turn<'_>,
        messages: &[Message],
    ) -> Result<Option<Fact>> {
        ask!(self, ctx, Moment::BeforeStep, &(), |hook, at, nothing| {
            let () = nothing;
            hook.before_step(at, turn, messages).map(|verdict| verdict.map(without_change))
        })
    }

    pub(super) async fn before_model(
        &self,
        ctx: &Context,
        turn: &Turn<'_>,
        request: &ChatRequest,
    ) -> Result<Option<Fact>> {
        ask!(self, ctx, Moment::BeforeModel, request, |hook, at, request| hook
            .before_model(at, turn, request))
    }

    pub(super) async fn after_model(
        &self,
        ctx: &Context,
        turn: &Turn<'_>,
        answer: &Message,
    ) -> Result<Option<Fact>> {
        ask!(self, ctx, Moment::AfterModel, answer, |hook, at, answer| hook.after_model(at, turn, answer))
    }

    pub(super) async fn before_tool(
        &self,
        ctx: &Context,
        turn: &Turn<'_>,
        id: &str,
        call: ProposedCall<'_>,
    ) -> Result<Option<Fact>> {
        let fact = ask!(self, ctx, Moment::BeforeTool, call.arguments, |hook, at, arguments| {
            hook.before_tool(at, turn, ProposedCall { arguments, ..call })
        })?;
        if let Some(Fact::HookDecided { verdict: Verdict::Change(arguments), hooks, .. }) = &fact {
            check(call, arguments).map_err(|err| {
                err.with("hook", hooks.join(", ")).with("moment", Moment::BeforeTool.name())
            })?;
        }
        Ok(fact.map(|fact| of_call(fact, id)))
    }

    pub(super) async fn after_tool(
        &self,
        ctx: &Context,
        turn: &Turn<'_>,
        call: &ToolCall,
        result: &ToolResult,
    ) -> Result<Option<Fact>> {
        let fact = ask!(self, ctx, Moment::AfterTool, result, |hook, at, result| {
            hook.after_tool(at, turn, call, result)
        })?;
        Ok(fact.map(|fact| of_call(fact, &call.id)))
    }

    pub(super) async fn handoff(
        &self,
        ctx: &Context,
        turn: &Turn<'_>,
        transfer: &Transfer,
    ) -> Result<Option<Fact>> {
        ask!(self, ctx, Moment::Handoff, transfer, |hook, at, transfer| hook.handoff(at, turn, transfer))
    }

    pub(super) async fn after_step(
        &self,
        ctx: &Context,
        turn: &Turn<'_>,
        messages: &[Message],
        answer: Option<&Value>,
    ) -> Result<Option<Fact>> {
        ask!(self, ctx, Moment::AfterStep, &(), |hook, at, nothing| {
            let () = nothing;
            hook.after_step(at, turn, messages, answer).map(|verdict| verdict.map(without_change))
        })
    }

    /// Those that want a moment, in its order.
    fn of(&self, moment: Moment) -> impl Iterator<Item = &Arc<dyn Hook>> {
        let (ahead, back) = if moment.is_after() {
            (None, Some(self.all.iter().rev()))
        } else {
            (Some(self.all.iter()), None)
        };
        let all = ahead.into_iter().flatten().chain(back.into_iter().flatten());
        all.filter(move |hook| hook.wants(moment))
    }

    /// What a hook says, within its time; its failure names it and the moment.
    async fn within<T>(
        &self,
        ctx: &Context,
        at: &Context,
        hook: &dyn Hook,
        moment: Moment,
        asked: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let failed = |err: Error| err.with("hook", hook.name()).with("moment", moment.name());
        // What a hook left half-changed is its author's concern; nothing of ours is borrowed mutably.
        match at.bound(OPERATION, AssertUnwindSafe(asked).catch_unwind()).await {
            Ok(Ok(Ok(said))) => Ok(said),
            Ok(Ok(Err(err))) => {
                let (kind, retry) = (err.kind(), err.retry());
                Err(failed(Error::new(kind, OPERATION, "a hook failed").retryable(retry).caused_by(err)))
            }
            Ok(Err(payload)) => {
                let panicked = Error::new(ErrorKind::Callback, OPERATION, "a hook panicked");
                Err(failed(panicked.with("panic", panic_message(payload.as_ref()))))
            }
            // The whole run was cancelled, or is late.
            Err(err) if ctx.cancel().is_cancelled() || ctx.is_overdue() => Err(err),
            Err(_) => {
                let late = Error::new(ErrorKind::Timeout, OPERATION, "a hook gave no verdict in time");
                Err(failed(late.with("seconds", self.limit.as_secs())))
            }
        }
    }
}

/// The verdict at a moment where nothing can be changed.
fn without_change(verdict: Verdict) -> Verdict<(), ()> {
    match verdict {
        Verdict::Continue => Verdict::Continue,
        Verdict::Change(never) | Verdict::Answer(never) => match never {},
        Verdict::Refuse(reason) => Verdict::Refuse(reason),
        Verdict::Stop(output) => Verdict::Stop(output),
    }
}

/// The fact of a verdict, where it changes anything.
fn decided<C: Serialize, A: Serialize>(
    moment: Moment,
    hooks: Vec<String>,
    verdict: Verdict<C, A>,
) -> Result<Option<Fact>> {
    let verdict = match verdict {
        Verdict::Continue => return Ok(None),
        Verdict::Change(value) => Verdict::Change(json(moment, &hooks, &value)?),
        Verdict::Answer(value) => Verdict::Answer(json(moment, &hooks, &value)?),
        Verdict::Refuse(reason) => Verdict::Refuse(reason),
        Verdict::Stop(output) => Verdict::Stop(output),
    };
    Ok(Some(Fact::HookDecided { moment, hooks, call: None, verdict }))
}

fn json(moment: Moment, hooks: &[String], value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|err| {
        Error::new(ErrorKind::InvalidInput, OPERATION, "what a hook said cannot be written as JSON")
            .with("hook", hooks.join(", "))
            .with("moment", moment.name())
            .caused_by(err)
    })
}

fn of_call(fact: Fact, id: &str) -> Fact {
    match fact {
        Fact::HookDecided { moment, hooks, verdict, .. } => {
            Fact::HookDecided { moment, hooks, call: Some(id.to_owned()), verdict }
        }
        other => other,
    }
}

/// Whether arguments that a hook changed fit the tool.
fn check(call: ProposedCall<'_>, arguments: &Value) -> Result<()> {
    let message = "the arguments that a hook gave do not fit the tool";
    if !arguments.is_object() {
        let err = Error::new(ErrorKind::InvalidInput, OPERATION, message).with("expected", "an object");
        return Err(err.with("tool", &call.spec.name));
    }
    let problems = call.spec.parameters.validate(arguments);
    if problems.is_empty() {
        return Ok(());
    }
    let err = Diagnostics(problems).into_error_of(ErrorKind::InvalidInput, OPERATION, message);
    Err(err.with("tool", &call.spec.name))
}
