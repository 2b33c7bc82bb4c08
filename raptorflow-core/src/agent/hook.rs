//! `Hook`: an observer and steerer of agents, with one method per moment of a run.

use std::fmt::Debug;

use async_trait::async_trait;
use serde_json::Value;

use crate::{
    agent::{AgentInput, AgentSpec, Transfer},
    error::Result,
    model::ChatRequest,
    runtime::Context,
    tool::ProposedCall,
    types::{Message, Moment, Money, ToolCall, ToolResult, Usage, Verdict},
};

/// Where a run of an agent is when hooks are asked.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Turn<'a> {
    /// The agent at work.
    pub agent: &'a AgentSpec,
    /// What it was asked.
    pub input: &'a AgentInput,
    /// Which call of the model the step began with or begins with, from 1.
    pub step: u32,
    /// The tokens that the run of the agent took so far.
    pub usage: Usage,
    /// What they cost; `None` when there were none or a price is unknown.
    pub cost: Option<Money>,
}

/// Watches and steers the runs of agents: before and after steps, questions to the model and calls of tools.
///
/// Every method has a default that lets the run go on, so that a hook has those alone that it wants.
/// A hook is given to one agent with [`AgentBuilder::hook`](crate::agent::AgentBuilder::hook), or to all with
/// [`EngineBuilder::hook`](crate::engine::EngineBuilder::hook).
///
/// Several are asked in the order in which they were given, those of the engine first; at the moments *after* something
/// in the reverse order.
/// Each sees what those before it changed; an answer, a refusal or a stop is the last word.
///
/// What changes a run is recorded before it takes effect, so that a resumed run goes by the record and does not ask
/// again.
/// At the moments *after* something the answer itself is recorded first: neither a crash nor a failure of the hook makes
/// the model or the tool be asked twice.
/// Before that record a hook may be asked again about the same thing, by a resume or a repeated attempt.
///
/// Questions that the library asks by itself, such as a summary for a handoff, pass no hook.
///
/// # Contract
/// - the verdict comes within [`Limits::hook_seconds`](crate::agent::Limits::hook_seconds).
/// - an error, a panic or a verdict that is late ends the run with an error whose operation is `agent.hook` and whose
///   context names the `hook` and the `moment`.
/// - dropping the future of a method decides nothing.
///
/// # Examples
/// ```
/// use async_trait::async_trait;
/// use raptorflow_core::{
///     Agent, Engine, Result,
///     agent::{Hook, Turn},
///     runtime::Context,
///     tool::{Calculator, ProposedCall},
///     types::{Moment, Verdict},
/// };
/// use serde_json::Value;
///
/// /// Lets nobody divide.
/// #[derive(Debug)]
/// struct NoDivision;
///
/// #[async_trait]
/// impl Hook for NoDivision {
///     fn wants(&self, moment: Moment) -> bool {
///         moment == Moment::BeforeTool
///     }
///
///     async fn before_tool(
///         &self, _ctx: &Context, _turn: &Turn<'_>, call: ProposedCall<'_>,
///     ) -> Result<Verdict<Value, Value>> {
///         let divides = call.arguments["expression"].as_str().is_some_and(|it| it.contains('/'));
///         Ok(if divides { Verdict::refuse("we do not divide") } else { Verdict::Continue })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let engine = Engine::builder().default_model("offline:extractive").hook(NoDivision).build().await?;
/// engine.register(Agent::builder("clerk").tool(Calculator::new()).build()?)?;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Hook: Debug + Send + Sync + 'static {
    /// Its name in errors, events and the journal; that of its type by default.
    fn name(&self) -> &str {
        std::any::type_name::<Self>()
    }

    /// Whether it is asked at a moment; at all of them by default.
    ///
    /// Moments after something cost one more record where a hook wants them.
    fn wants(&self, moment: Moment) -> bool {
        let _ = moment;
        true
    }

    /// A step begins, with the conversation as it stands; a refusal ends the run with `PermissionDenied`.
    async fn before_step(&self, ctx: &Context, turn: &Turn<'_>, messages: &[Message]) -> Result<Verdict> {
        let _ = (ctx, turn, messages);
        Ok(Verdict::Continue)
    }

    /// The model is about to be asked; a changed request is for this question alone, and an answer stands in place of
    /// the model's and costs nothing.
    ///
    /// A refusal ends the run with `PermissionDenied`.
    async fn before_model(
        &self,
        ctx: &Context,
        turn: &Turn<'_>,
        request: &ChatRequest,
    ) -> Result<Verdict<ChatRequest, Message>> {
        let _ = (ctx, turn, request);
        Ok(Verdict::Continue)
    }

    /// The model answered; a refusal ends the run with `PermissionDenied`, and a resume asks the model again.
    ///
    /// Whoever reads the answer as it arrives gets it whole, once hooks let it pass.
    async fn after_model(
        &self,
        ctx: &Context,
        turn: &Turn<'_>,
        answer: &Message,
    ) -> Result<Verdict<Message>> {
        let _ = (ctx, turn, answer);
        Ok(Verdict::Continue)
    }

    /// A tool is about to be called; changed arguments must fit the tool, and are what a person approves.
    ///
    /// An answer stands in place of the tool's, and the model is told a refusal.
    /// Calls that only read may be asked about at the same time.
    async fn before_tool(
        &self,
        ctx: &Context,
        turn: &Turn<'_>,
        call: ProposedCall<'_>,
    ) -> Result<Verdict<Value, Value>> {
        let _ = (ctx, turn, call);
        Ok(Verdict::Continue)
    }

    /// A tool answered; a changed result keeps its call and the name of its tool, and the model is told a refusal in
    /// place of the result.
    async fn after_tool(
        &self,
        ctx: &Context,
        turn: &Turn<'_>,
        call: &ToolCall,
        result: &ToolResult,
    ) -> Result<Verdict<ToolResult>> {
        let _ = (ctx, turn, call, result);
        Ok(Verdict::Continue)
    }

    /// The conversation is about to be handed over; a changed handoff must be to one of the agent's own.
    ///
    /// An answer stands in place of the other agent's, and the model is told a refusal and goes on.
    async fn handoff(
        &self,
        ctx: &Context,
        turn: &Turn<'_>,
        transfer: &Transfer,
    ) -> Result<Verdict<Transfer, Value>> {
        let _ = (ctx, turn, transfer);
        Ok(Verdict::Continue)
    }

    /// A step is over, and the last one has the answer; a refusal ends the run with `PermissionDenied`.
    async fn after_step(
        &self,
        ctx: &Context,
        turn: &Turn<'_>,
        messages: &[Message],
        answer: Option<&Value>,
    ) -> Result<Verdict> {
        let _ = (ctx, turn, messages, answer);
        Ok(Verdict::Continue)
    }
}
