//! Agents that ask other agents: an agent as a tool, how deep calls may go, and no agent above itself.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::{
    agent::{Agent, AgentInput, AgentOutput, AgentSpec, Session, failure::is_its_own},
    error::{Error, ErrorKind, Result},
    journal::{Fact, Note},
    memory::{Blackboard, Post},
    runtime::Context,
    tool::Tool,
    types::{AgentId, Digest, Effects, Finish, Schema, ToolSpec},
};

/// What errors of a call name.
const OPERATION: &str = "agent.call";
/// How long an agent without a bound of its own may work on a call.
const TIMEOUT: Duration = Duration::from_secs(600);
/// The longest part of a path that comes from a model.
const MAX_SEGMENT: usize = 64;

/// An agent that another one asks as a tool.
///
/// The asked agent works in the same run: its facts lie in the same journal below the caller's path, so that a run that
/// was interrupted repeats nothing of it; what it takes counts for the caller; and what stops the caller stops it.
/// An answer, or a failure of the agent's own, is the tool's; what concerns the whole run, such as a model that is out of
/// reach or a budget of the run, ends the run, which can be resumed.
///
/// Calls are at most [`Limits::depth`](crate::agent::Limits::depth) deep, and no agent is asked below itself.
///
/// ```
/// use raptorflow_core::{Agent, tool::Tool as _};
/// let researcher = Agent::builder("researcher").description("Finds what documents say.").build()?;
/// let tool = researcher.as_tool().with_name("research");
/// assert_eq!(tool.spec().parameters.as_value()["required"][0], "task");
/// let writer = Agent::builder("writer").tool(tool).build()?;
/// # assert_eq!(writer.name().as_str(), "writer");
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct AgentTool {
    agent: Agent,
    capability: Option<Arc<str>>,
    spec: ToolSpec,
}

impl AgentTool {
    /// The agent as a whole, asked with a `task` and its `background`.
    pub(super) fn new(agent: Agent) -> Self {
        let spec = agent.spec();
        let parameters = Schema::unchecked(json!({
            "type": "object",
            "properties": {
                "task": {
                    "type": "string",
                    "minLength": 1,
                    "description": "What is to be done, in full: the agent sees nothing else of the conversation."
                },
                "background": { "type": "string", "description": "What the task is a part of." }
            },
            "required": ["task"],
            "additionalProperties": false
        }));
        let mut tool = ToolSpec::new(tool_name(spec.name.as_str()), said_of(spec), parameters);
        tool.timeout = spec.limits.time().unwrap_or(TIMEOUT);
        tool.effects = agent.effects();
        // It is listed with the agent that may ask it, and has no more grants than that one.
        tool.needs = Some(Vec::new());
        Self { agent, capability: None, spec: tool }
    }

    /// One capability of the agent, asked with what the capability takes.
    ///
    /// # Errors
    /// `NotFound` when the agent has no such capability.
    pub fn for_capability(mut self, name: &str) -> Result<Self> {
        let spec = Arc::clone(self.agent.spec());
        let capability = spec.capability(name)?;
        self.spec.name = tool_name(&format!("{}_{name}", spec.name));
        self.spec.description.clone_from(&capability.description);
        self.spec.parameters = capability.input.clone();
        self.spec.timeout = capability.timeout().min(self.spec.timeout);
        self.capability = Some(name.into());
        Ok(self)
    }

    /// The name that models call it by; the agent's by default.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.spec.name = name.into();
        self
    }

    /// What models are told about it; the agent's description by default.
    #[must_use]
    pub fn with_description(mut self, text: impl Into<String>) -> Self {
        self.spec.description = text.into();
        self
    }

    /// How long one call may take; the time that the agent or the capability has by default, else 10 minutes.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.spec.timeout = timeout;
        self
    }

    /// What a call changes; [`Actor::effects`](crate::agent::Actor::effects) of the agent by default.
    ///
    /// Calls of agents that only read run at the same time.
    #[must_use]
    pub fn with_effects(mut self, effects: Effects) -> Self {
        self.spec.effects = effects;
        self
    }

    fn input(&self, arguments: Value) -> AgentInput {
        if self.capability.is_some() {
            return AgentInput { capability: self.capability.clone(), ..AgentInput::new(arguments) };
        }
        let text = |name| arguments.get(name).and_then(Value::as_str).unwrap_or_default();
        let input = AgentInput::new(text("task"));
        match text("background") {
            "" => input,
            background => input.with_background(background),
        }
    }
}

#[async_trait]
impl Tool for AgentTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(&self, ctx: &Context, arguments: Value) -> Result<Value> {
        let within = Within::of(ctx)?;
        let call = within.call_of(ctx)?;
        let output = within.ask(ctx, call, &self.agent, &self.input(arguments)).await?;
        let content = match output.finish {
            Finish::Complete => output.output,
            Finish::Limited(limit) => json!({ "answer": output.output, "stopped_at": limit }),
        };
        Ok(content)
    }
}

/// The agent at work, as the tools that it calls reach it.
#[derive(Debug)]
pub(super) struct Within {
    session: Session,
    caller: AgentId,
    depth: u32,
    /// How often the caller's model has answered.
    step: u32,
    // A std mutex: no await happens while it is held.
    heard: Mutex<Heard>,
}

/// What the driver must know of calls besides the answers of their tools.
#[derive(Debug, Default)]
struct Heard {
    answered: HashMap<String, Fact>,
    fault: Option<Error>,
}

impl Within {
    /// The agent of a session, between an answer of its model and the next.
    pub(super) fn new(session: &Session, caller: &AgentSpec, step: u32) -> Arc<Self> {
        let (session, depth) = (session.clone(), caller.limits.depth);
        Arc::new(Self { session, caller: caller.name.clone(), depth, step, heard: Mutex::default() })
    }

    /// The context of the tools that are called now: each call has its own key behind this one's.
    pub(super) fn context(self: &Arc<Self>) -> Context {
        self.session.ctx().with_step_at(Arc::clone(self) as _, self.step)
    }

    /// The agent that calls a tool.
    ///
    /// # Errors
    /// `InvalidInput` when no agent does.
    pub(super) fn of(ctx: &Context) -> Result<&Self> {
        ctx.place::<Self>().ok_or_else(|| {
            let message = "only an agent at work in a run can ask another one";
            Error::new(ErrorKind::InvalidInput, OPERATION, message)
        })
    }

    /// The agent at work.
    pub(super) fn caller(&self) -> &AgentId {
        &self.caller
    }

    /// The notes of the run.
    pub(super) fn blackboard(&self) -> Blackboard {
        self.session.blackboard()
    }

    /// Posts a note; where the journal cannot take it, the run ends and no model is told.
    pub(super) async fn post(&self, ctx: &Context, post: Post) -> Result<Note> {
        let posted = self.blackboard().post(ctx, post).await;
        posted.map_err(|err| if err.kind() == ErrorKind::LimitExceeded { err } else { self.faulty(err) })
    }

    /// An error that ends the run.
    fn faulty(&self, err: Error) -> Error {
        self.heard().fault.get_or_insert(err.clone());
        err
    }

    /// The id of the call of a tool that a context is for.
    fn call_of<'a>(&self, ctx: &'a Context) -> Result<&'a str> {
        let outer = self.session.ctx().with_step(self.step, "");
        let id = ctx
            .idempotency_key()
            .zip(outer.idempotency_key())
            .and_then(|(key, outer)| key.strip_prefix(outer).and_then(|rest| rest.strip_prefix("/tool/")));
        id.ok_or_else(|| {
            let message = "an agent is asked by a call of a tool, and this is none";
            Error::new(ErrorKind::InvalidInput, OPERATION, message)
        })
    }

    /// Refuses a call that is too deep, or of an agent that is at work above it or may do more than the caller.
    pub(super) fn check(&self, agent: &AgentId, grants: Option<&[String]>) -> Result<()> {
        self.session.ctx().check_grants(agent, grants.unwrap_or_default())?;
        let above = self.session.ctx().lineage();
        if *agent == self.caller || above.contains(agent) {
            return Err(cycle(above.iter().chain([&self.caller]), agent));
        }
        if above.len() >= usize::try_from(self.depth).unwrap_or(usize::MAX) {
            let message = "calls of agents are nested too deep; do the work without this agent";
            return Err(Error::new(ErrorKind::LimitExceeded, OPERATION, message)
                .with("depth", self.depth)
                .with("chain", chain(above.iter().chain([&self.caller, agent]))));
        }
        Ok(())
    }

    async fn ask(&self, ctx: &Context, call: &str, agent: &Agent, input: &AgentInput) -> Result<AgentOutput> {
        self.check(agent.name(), agent.spec().grants.as_deref())?;
        let place = format!("{}.{}.{}", self.step, segment(call), agent.name());
        let ctx = ctx.with_agent(&self.caller).child(&place);
        let session = self.session.with_context(ctx);
        let (ctx, journal) = (session.ctx(), session.journal());
        let failed = journal.recorded(ctx.path()).into_iter().find_map(|entry| match entry.fact {
            Fact::StepFailed { error } => Some(error),
            _ => None,
        });
        if let Some(error) = failed {
            return Err(error);
        }
        match agent.run(&session, input).await {
            Ok(output) => {
                self.heard().answered.insert(call.to_owned(), answered(agent.name(), &output));
                Ok(output)
            }
            // Its own time is not that of the caller, who may go on without the answer.
            Err(err)
                if is_its_own(self.session.ctx(), agent.name(), &err) && !ctx.cancel().is_cancelled() =>
            {
                let failed = [Fact::StepFailed { error: err.clone() }];
                journal.append(ctx, &failed).await.map_err(|err| self.faulty(err))?;
                Err(err)
            }
            Err(err) => Err(self.faulty(err.with("asked", agent.name()))),
        }
    }

    /// What an agent that was asked by a call took, for the caller's journal; `None` when the call asked none.
    ///
    /// # Errors
    /// What ends the run of the caller too.
    pub(super) fn heard_of(&self, call: &str) -> Result<Option<Fact>> {
        let mut heard = self.heard();
        match heard.fault.take() {
            Some(fault) => Err(fault),
            None => Ok(heard.answered.remove(call)),
        }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an agent took that another one asked.
fn answered(agent: &AgentId, output: &AgentOutput) -> Fact {
    Fact::AgentAnswered { agent: agent.clone(), usage: output.usage, cost: output.cost }
}

/// Refuses an agent that is at work above itself.
pub(super) fn check_lineage(ctx: &Context, agent: &AgentId) -> Result<()> {
    if ctx.lineage().contains(agent) { Err(cycle(ctx.lineage(), agent)) } else { Ok(()) }
}

fn cycle<'a>(above: impl IntoIterator<Item = &'a AgentId>, agent: &'a AgentId) -> Error {
    let message = "the agent is at work above this call; a call of it would go in a circle";
    Error::new(ErrorKind::InvalidInput, OPERATION, message)
        .with("agent", agent)
        .with("chain", chain(above.into_iter().chain([agent])))
}

fn chain<'a>(agents: impl Iterator<Item = &'a AgentId>) -> String {
    agents.map(AgentId::as_str).collect::<Vec<_>>().join(" → ")
}

/// What models are told of an agent.
pub(super) fn said_of(spec: &AgentSpec) -> String {
    if spec.description.is_empty() {
        format!("Asks the agent {}.", spec.title())
    } else {
        spec.description.to_string()
    }
}

/// A name as providers accept it for a tool.
pub(super) fn tool_name(name: &str) -> String {
    let fitting = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
    name.chars().map(fitting).take(64).collect()
}

/// A part of a path from what a model made up: told apart from others, short, and without separators.
fn segment(id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if (1..=MAX_SEGMENT).contains(&id.len()) && id.bytes().all(plain) {
        id.to_owned()
    } else {
        Digest::of(id.as_bytes()).to_string().chars().filter(char::is_ascii_hexdigit).take(16).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_made_up_is_one_part_of_a_path() {
        assert_eq!(segment("call_0-a"), "call_0-a");
        let long = "x".repeat(65);
        let odd = ["", "a/b", "a.b", "ключ", long.as_str()].map(segment);
        assert!(odd.iter().all(|it| it.len() == 16 && !it.contains('/')), "{odd:?}");
        assert_eq!(odd.iter().collect::<std::collections::HashSet<_>>().len(), odd.len());
    }
}
