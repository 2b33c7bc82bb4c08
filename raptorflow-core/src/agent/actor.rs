//! `Actor`, the trait of anything that can act, and `Agent`, the handle that everybody holds.

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    agent::{
        AgentBuilder, AgentSpec, AgentTool, Session,
        call::check_lineage,
        results::{kept_capability, through},
    },
    error::{Error, ErrorKind, Result},
    journal::Fact,
    types::{AgentId, Effects, Finish, Message, Money, Part, Passage, Schema, Usage},
};

/// What an agent is asked.
///
/// ```
/// use raptorflow_core::agent::AgentInput;
/// use serde_json::json;
/// assert_eq!(AgentInput::new("How much?").question(), "How much?");
/// let input = AgentInput::for_capability("price", "the basic plan").with_background("the launch");
/// assert_eq!((input.question().as_str(), &input.input), ("the basic plan", &json!({ "goal": "the basic plan" })));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentInput {
    /// The question or the arguments.
    pub input: Value,
    /// The capability that is wanted; the agent as a whole when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<Arc<str>>,
    /// What it is a part of, said before the question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background: Option<Arc<str>>,
    /// The form of the answer, in place of the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<AnswerForm>,
    /// Pictures and files that come with the question, for agents whose models see or read them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Part>,
    /// What was said before the question: texts of users and assistants, oldest first, for agents with a model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Message>,
}

/// The form that whoever asks wants an answer in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerForm {
    /// What fits.
    pub schema: Schema,
    /// How often an answer that does not fit is sent back; as the agent has it when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repairs: Option<u32>,
}

impl AgentInput {
    /// A question to the agent as a whole.
    pub fn new(input: impl Into<Value>) -> Self {
        Self {
            input: input.into(),
            capability: None,
            background: None,
            form: None,
            attachments: Vec::new(),
            history: Vec::new(),
        }
    }

    /// One capability, with arguments that hold at least the goal.
    pub fn for_capability(capability: impl Into<Arc<str>>, goal: &str) -> Self {
        Self { capability: Some(capability.into()), ..Self::new(json!({ "goal": goal })) }
    }

    /// Says what it is a part of.
    #[must_use]
    pub fn with_background(mut self, background: impl Into<Arc<str>>) -> Self {
        self.background = Some(background.into());
        self
    }

    /// Says in which form the answer is wanted.
    #[must_use]
    pub fn with_form(mut self, schema: Schema) -> Self {
        self.form = Some(AnswerForm { schema, repairs: None });
        self
    }

    /// Adds a picture or a file, [`Part::Image`] or [`Part::Document`].
    #[must_use]
    pub fn with_attachment(mut self, part: Part) -> Self {
        self.attachments.push(part);
        self
    }

    /// Says what was said before the question.
    #[must_use]
    pub fn with_history(mut self, messages: impl IntoIterator<Item = Message>) -> Self {
        self.history.extend(messages);
        self
    }

    /// Refuses attachments, for actors that have nobody to show them to.
    ///
    /// # Errors
    /// `Unsupported` when there are some.
    pub fn without_attachments(&self) -> Result<()> {
        if self.attachments.is_empty() {
            return Ok(());
        }
        let message = "pictures and files are for agents with a model; this target takes none";
        Err(Error::new(ErrorKind::Unsupported, "agent.run", message))
    }

    /// The question as text: a string as it is, the `goal` of an object, any other value as JSON.
    #[must_use]
    pub fn question(&self) -> String {
        match &self.input {
            Value::String(text) => text.clone(),
            Value::Object(fields) => match fields.get("goal") {
                Some(Value::String(goal)) => goal.clone(),
                _ => self.input.to_string(),
            },
            other => other.to_string(),
        }
    }
}

impl From<&str> for AgentInput {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for AgentInput {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<Value> for AgentInput {
    fn from(value: Value) -> Self {
        Self::new(value)
    }
}

/// What an agent answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentOutput {
    /// The answer: a string, or JSON that fits the schema.
    pub output: Value,
    /// How the run ended.
    #[serde(default)]
    pub finish: Finish,
    /// Tokens that its calls took.
    #[serde(default)]
    pub usage: Usage,
    /// What its calls cost; `None` when a price is unknown.
    #[serde(default)]
    pub cost: Option<Money>,
    /// The passages that it was given; citations in the answer are their numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passages: Vec<Passage>,
    /// Who answered, when the agent that was asked handed the conversation over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
}

impl AgentOutput {
    /// An answer that took no tokens.
    pub fn new(output: impl Into<Value>) -> Self {
        Self { output: output.into(), ..Self::default() }
    }
}

/// Anything that can act: a model with instructions, a function, a team.
///
/// # Contract
/// - `spec` is the same each time.
/// - what `run` records lies under the session's path, and run again over the same journal it repeats nothing
///   that is recorded.
/// - dropping the future of `run` stops everything below it.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use async_trait::async_trait;
/// use raptorflow_core::{Engine, Result, agent::{Actor, AgentInput, AgentOutput, AgentSpec, Session}};
///
/// #[derive(Debug)]
/// struct Counter(Arc<AgentSpec>);
///
/// #[async_trait]
/// impl Actor for Counter {
///     fn spec(&self) -> &Arc<AgentSpec> {
///         &self.0
///     }
///
///     async fn run(&self, session: &Session, input: &AgentInput) -> Result<AgentOutput> {
///         let count = |_ctx| async { Ok(input.question().split_whitespace().count()) };
///         // What the journal has is not counted again.
///         let words: usize = session.journal().step(session.ctx(), "count", count).await?;
///         Ok(AgentOutput::new(words))
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let engine = Engine::builder().build().await?;
/// engine.register(Counter(Arc::new(AgentSpec::new("counter")?)))?;
/// assert_eq!(engine.run("counter", "three little words").await?.output, 3);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Actor: Debug + Send + Sync + 'static {
    /// What it is.
    fn spec(&self) -> &Arc<AgentSpec>;

    /// Facts that belong to the start of a run of its own; none by default.
    fn opening(&self) -> Vec<Fact> {
        Vec::new()
    }

    /// What running it changes, as far as it is known; the world outside by default.
    ///
    /// Calls of it as a tool run beside others only when it is [`Effects::Read`].
    fn effects(&self) -> Effects {
        Effects::External
    }

    /// Checks what somebody is about to say to a run of it; anything goes by default.
    ///
    /// # Errors
    /// What is wrong with the name, the value or who says it.
    fn check_signal(&self, name: &str, value: &Value, by: Option<&str>) -> Result<()> {
        let _ = (name, value, by);
        Ok(())
    }

    /// Acts; the session holds the journal, the bus and the means.
    async fn run(&self, session: &Session, input: &AgentInput) -> Result<AgentOutput>;
}

/// The handle to an agent; cloning shares it.
///
/// ```
/// use raptorflow_core::Agent;
/// let agent = Agent::builder("pricing").model("offline:extractive").instructions("Answer briefly.").build()?;
/// assert_eq!(agent.name().as_str(), "pricing");
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Agent(Arc<dyn Actor>);

impl Agent {
    /// Starts to build an agent around a model.
    pub fn builder(name: impl Into<Arc<str>>) -> AgentBuilder {
        AgentBuilder::new(name)
    }

    /// Wraps an actor.
    pub fn new(actor: impl Actor) -> Self {
        Self(Arc::new(actor))
    }

    /// Wraps a shared actor.
    #[must_use]
    pub fn from_arc(actor: Arc<dyn Actor>) -> Self {
        Self(actor)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &AgentId {
        &self.0.spec().name
    }

    /// What it is.
    #[must_use]
    pub fn spec(&self) -> &Arc<AgentSpec> {
        self.0.spec()
    }

    /// What running it changes; see [`Actor::effects`].
    #[must_use]
    pub fn effects(&self) -> Effects {
        self.0.effects()
    }

    /// The agent as a tool of another one, asked with a `task`; see [`AgentTool`].
    #[must_use]
    pub fn as_tool(&self) -> AgentTool {
        AgentTool::new(self.clone())
    }

    /// Facts that belong to the start of a run of its own.
    #[must_use]
    pub fn opening(&self) -> Vec<Fact> {
        self.0.opening()
    }

    /// Checks what somebody is about to say to a run of it; see [`Actor::check_signal`].
    ///
    /// # Errors
    /// What the actor says.
    pub fn check_signal(&self, name: &str, value: &Value, by: Option<&str>) -> Result<()> {
        self.0.check_signal(name, value, by)
    }

    /// Acts within a session; an engine does this for its callers.
    ///
    /// # Errors
    /// What the actor says; `InvalidInput` with the `chain` of agents when it is at work above this call already, and
    /// `PermissionDenied` when it has a grant that its caller does not have.
    ///
    /// # Cancellation
    /// Dropping the future stops the work; what was recorded stays recorded.
    pub async fn run(&self, session: &Session, input: &AgentInput) -> Result<AgentOutput> {
        check_lineage(session.ctx(), self.name())?;
        let bound;
        let session = match &self.spec().grants {
            Some(names) => {
                let ctx = session.ctx().with_grants(self.name(), names.iter().map(String::as_str))?;
                bound = session.with_context(ctx);
                &bound
            }
            None => session,
        };
        match kept_capability(self.spec(), input) {
            Some(capability) => through(self, session, input, capability).await,
            None => self.act(session, input).await,
        }
    }

    /// Where it lies in memory: what tells it apart from others as long as it lives.
    pub(super) fn place(&self) -> usize {
        Arc::as_ptr(&self.0).cast::<()>().addr()
    }

    /// Acts, whatever was answered before.
    pub(super) async fn act(&self, session: &Session, input: &AgentInput) -> Result<AgentOutput> {
        self.0.run(session, input).await
    }
}

impl<A: Actor> From<A> for Agent {
    fn from(actor: A) -> Self {
        Self::new(actor)
    }
}
