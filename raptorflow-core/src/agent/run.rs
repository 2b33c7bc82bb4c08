//! `AgentRun`: the loop of an agent as a state machine that never awaits and can be stored at any step.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    agent::{
        AgentInput, AgentOutput, AgentSpec, Handoff, HistoryPolicy, Limits, Retrieval, Transfer,
        answer::{checked, into_text, placed, repeats, tell_calls_apart},
        cost::Cost,
        handoff::{kept, told},
        hooked::Hooked,
        question::{opening_messages, schema_name, searched},
    },
    error::{Error, ErrorKind, Result},
    journal::Fact,
    model::{Answer, ChatRequest, ChatResponse, FinishReason, Output, as_object},
    types::{
        AgentId, Diagnostics, Finish, Limit, Message, Money, Part, Passage, Role, Schema, ToolCall,
        ToolResult, ToolSpec, Usage,
    },
};

/// What the driver must do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Command<'a> {
    /// Find passages for the query and apply [`Fact::ContextLoaded`].
    LoadContext {
        /// What to search for.
        query: &'a str,
        /// How much.
        retrieval: Retrieval,
    },
    /// Ask the model and apply [`Fact::ModelResponded`].
    CallModel(&'a ChatRequest),
    /// Run the tools that [`AgentRun::open_calls`] lists and apply a [`Fact::ToolReturned`] each, in any order.
    CallTools,
    /// Let another agent go on, with what [`AgentRun::history`] gives, and apply [`Fact::HandoffAnswered`].
    HandOver(&'a Transfer),
    /// Nothing: take [`AgentRun::into_output`].
    Done,
}

/// The loop of an agent: `(state, fact) -> state`, and the state says what to do next.
///
/// Applying the facts of a journal to a new machine gives the state in which the run was left.
///
/// ```
/// use raptorflow_core::{agent::{AgentInput, AgentRun, AgentSpec, Command}, journal::Fact, types::{Message, Usage}};
/// let spec = AgentSpec::new("greeter")?;
/// let mut run = AgentRun::new(&spec, &AgentInput::new("hello"), None, &[])?;
/// assert!(matches!(run.next(), Command::CallModel(_)));
/// run.apply(Fact::ModelResponded {
///     model: "scripted:x".into(), message: Message::assistant("hi"), usage: Usage::new(3, 1), cost: None,
///     truncated: false,
/// })?;
/// assert_eq!(run.into_output()?.output, "hi");
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentRun {
    pub(super) request: ChatRequest,
    /// What the answer must fit, where the model answers with an object around it.
    #[serde(default)]
    inner: Option<Output>,
    limits: Limits,
    pub(super) phase: Phase,
    pub(super) steps: u32,
    tool_calls: u32,
    repairs: u32,
    pub(super) usage: Usage,
    pub(super) cost: Cost,
    passages: Vec<Passage>,
    #[serde(default)]
    pub(super) handoffs: Vec<Handoff>,
    /// Who answered, after a handoff.
    #[serde(default)]
    answered: Option<AgentId>,
    #[serde(default)]
    recalled: bool,
    #[serde(default)]
    kept: bool,
    #[serde(default)]
    pub(super) hooked: Hooked,
    /// Where the question is in the conversation.
    #[serde(default)]
    pub(super) question: Option<usize>,
    /// After how many answers the conversation was made shorter last.
    #[serde(default)]
    pub(super) compacted: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Phase {
    Load { query: String, retrieval: Retrieval },
    Model,
    Tools { calls: Arc<[ToolCall]>, results: Vec<Option<ToolResult>> },
    HandOver(Transfer),
    Done { output: Value, finish: Finish },
    Failed { error: Error },
}

impl AgentRun {
    /// The state before the first step.
    ///
    /// `retrieval` says how many passages it is given before the model is asked, none when `None`; `tools` are what
    /// the model may call.
    ///
    /// # Errors
    /// `NotFound` for a capability that the agent lacks, `InvalidInput` for arguments that do not fit it.
    pub fn new(
        spec: &AgentSpec,
        input: &AgentInput,
        retrieval: Option<Retrieval>,
        tools: &[ToolSpec],
    ) -> Result<Self> {
        Self::begun(spec, input, retrieval, tools.into())
    }

    pub(super) fn begun(
        spec: &AgentSpec,
        input: &AgentInput,
        retrieval: Option<Retrieval>,
        tools: Arc<[ToolSpec]>,
    ) -> Result<Self> {
        let capability = input.capability.as_deref().map(|name| spec.capability(name)).transpose()?;
        if let Some(capability) = capability {
            capability.check_input(&input.input)?;
        }
        let messages = opening_messages(spec, input, capability, retrieval.is_some())?;
        let question = messages.len().checked_sub(1);
        let form = input.form.as_ref();
        let schema = form.map(|form| &form.schema).or(capability.map(|capability| &capability.output));
        let name = || schema_name(input.capability.as_deref().unwrap_or("answer"));
        let json = |schema: Schema| Output::Json { name: name(), schema };
        let (output, inner) = match schema.or(spec.output.as_ref()) {
            None => (Output::Text, None),
            Some(schema) => match as_object(schema) {
                None => (json(schema.clone()), None),
                Some(outer) => (json(outer), Some(json(schema.clone()))),
            },
        };
        let mut limits = spec.limits;
        limits.repairs = form.and_then(|form| form.repairs).unwrap_or(limits.repairs);
        let mut request = ChatRequest::new(messages).with_settings(&spec.model_settings).with_output(output);
        if !tools.is_empty() {
            request = request.with_tools(tools);
        }
        let phase = match retrieval {
            Some(retrieval) => Phase::Load { query: searched(input.question(), capability), retrieval },
            None => Phase::Model,
        };
        Ok(Self {
            request,
            inner,
            limits,
            phase,
            steps: 0,
            tool_calls: 0,
            repairs: 0,
            usage: Usage::default(),
            cost: Cost::Nothing,
            passages: Vec::new(),
            handoffs: spec.handoffs.clone(),
            answered: None,
            recalled: false,
            kept: false,
            hooked: Hooked::default(),
            question,
            compacted: None,
        })
    }

    /// What the driver must do next.
    #[must_use]
    pub fn next(&self) -> Command<'_> {
        match &self.phase {
            Phase::Load { query, retrieval } => Command::LoadContext { query, retrieval: *retrieval },
            Phase::Model => Command::CallModel(self.hooked.request().unwrap_or(&self.request)),
            Phase::Tools { .. } => Command::CallTools,
            Phase::HandOver(transfer) => Command::HandOver(transfer),
            Phase::Done { .. } | Phase::Failed { .. } => Command::Done,
        }
    }

    /// The calls that have no result yet, in the order in which the model made them.
    #[must_use]
    pub fn open_calls(&self) -> Vec<ToolCall> {
        self.shared_calls().to_vec()
    }

    pub(super) fn shared_calls(&self) -> Arc<[ToolCall]> {
        let Phase::Tools { calls, results } = &self.phase else { return Arc::default() };
        if results.iter().all(Option::is_none) {
            return Arc::clone(calls);
        }
        let open = calls.iter().zip(results).filter(|(_, result)| result.is_none());
        open.map(|(call, _)| call.clone()).collect()
    }

    /// The conversation as another agent reads it, as much of it as a policy lets through; a summary is none.
    #[must_use]
    pub fn history(&self, policy: HistoryPolicy) -> Vec<Message> {
        kept(told(&self.request.messages, &self.handoffs), policy)
    }

    /// How often the model answered.
    #[must_use]
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// The state after a fact; facts that are not about the loop change nothing.
    ///
    /// # Errors
    /// `Conflict` when the fact does not fit the state: the journal is of another definition of the agent.
    pub fn apply(&mut self, fact: Fact) -> Result<()> {
        let Some(fact) = self.hooked.hold(fact) else { return Ok(()) };
        match fact {
            Fact::HookAsked { .. } => {
                self.hooked.ask();
                Ok(())
            }
            Fact::ContextCompacted { kept, message, .. } => self.compact(kept, message),
            Fact::HookDecided { moment, hooks, call, verdict } => self.decide(moment, &hooks, call, verdict),
            Fact::ContextLoaded { passages, .. } => self.load(passages),
            Fact::MemoryRecalled { messages, .. } => self.remember(messages),
            Fact::MemoryKept { .. } => {
                self.kept = true;
                Ok(())
            }
            Fact::ModelResponded { message, usage, cost, truncated, .. } => {
                self.respond(message, usage, cost, truncated)
            }
            Fact::AgentAnswered { usage, cost, .. } => {
                self.add(usage, cost);
                Ok(())
            }
            Fact::HandoffAnswered { agent, output, finish, usage, cost, passages } => {
                if !matches!(self.phase, Phase::HandOver(_)) {
                    return Err(drift("handoff_answered"));
                }
                self.add(usage, cost);
                (self.answered, self.passages) = (Some(agent), passages);
                self.phase = Phase::Done { output, finish };
                Ok(())
            }
            Fact::ToolReturned { result } => self.return_tool(result),
            _ => Ok(()),
        }
    }

    /// Whether the run has its answer.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.answer().is_some()
    }

    /// The answer, where the run has it.
    #[must_use]
    pub fn answer(&self) -> Option<&Value> {
        match &self.phase {
            Phase::Done { output, .. } => Some(output),
            _ => None,
        }
    }

    /// Whether the agent was given what it remembers.
    #[must_use]
    pub fn has_recalled(&self) -> bool {
        self.recalled
    }

    /// Whether the answer is in the agent's memory.
    #[must_use]
    pub fn has_kept(&self) -> bool {
        self.kept
    }

    /// Lets a run that failed ask the model again; for a resume by somebody who mended the cause.
    pub fn reopen(&mut self) {
        if matches!(self.phase, Phase::Failed { .. }) {
            self.repairs = 0;
            self.phase = Phase::Model;
        }
    }

    /// The answer of a run that is done.
    ///
    /// # Errors
    /// What made the run fail, or `Internal` when it is not done.
    pub fn into_output(self) -> Result<AgentOutput> {
        match self.phase {
            Phase::Done { output, finish } => Ok(AgentOutput {
                output,
                finish,
                usage: self.usage,
                cost: self.cost.known(),
                passages: self.passages,
                agent: self.answered,
            }),
            Phase::Failed { error } => Err(error),
            Phase::Load { .. } | Phase::Model | Phase::Tools { .. } | Phase::HandOver(_) => {
                Err(Error::new(ErrorKind::Internal, "agent.output", "the run is not done"))
            }
        }
    }

    /// Counts what an agent took that was asked; one without a model took nothing.
    fn add(&mut self, usage: Usage, cost: Option<Money>) {
        self.usage = self.usage.plus(usage);
        if usage != Usage::default() || cost.is_some() {
            self.cost = self.cost.plus(cost);
        }
    }

    /// What is remembered comes behind the instructions, and before everything that belongs to this run.
    fn remember(&mut self, messages: Vec<Message>) -> Result<()> {
        if self.recalled || self.steps > 0 {
            return Err(drift("memory_recalled"));
        }
        let system = self.request.messages.iter().take_while(|message| message.role == Role::System).count();
        self.question = self.question.map(|place| place.saturating_add(messages.len()));
        self.request.messages.splice(system..system, messages);
        self.recalled = true;
        Ok(())
    }

    fn load(&mut self, passages: Vec<Passage>) -> Result<()> {
        if !matches!(self.phase, Phase::Load { .. }) {
            return Err(drift("context_loaded"));
        }
        if let Some(message) = self.request.messages.last_mut() {
            message.parts.splice(0..0, passages.iter().cloned().map(Part::Passage));
        }
        self.passages = passages;
        self.phase = Phase::Model;
        Ok(())
    }

    pub(super) fn respond(
        &mut self,
        message: Message,
        usage: Usage,
        cost: Option<Money>,
        truncated: bool,
    ) -> Result<()> {
        // An answer after a failure says that the run was reopened in between.
        self.reopen();
        if !matches!(self.phase, Phase::Model) {
            return Err(drift("model_responded"));
        }
        self.count(usage, cost);
        self.answer_with(message, usage, truncated)
    }

    /// Counts an answer of the model.
    pub(super) fn count(&mut self, usage: Usage, cost: Option<Money>) {
        self.begin_step();
        self.usage = self.usage.plus(usage);
        self.cost = self.cost.plus(cost);
    }

    pub(super) fn begin_step(&mut self) {
        self.steps = self.steps.saturating_add(1);
        self.hooked.step();
    }

    /// Goes on with an answer.
    pub(super) fn answer_with(&mut self, message: Message, usage: Usage, truncated: bool) -> Result<()> {
        if message.tool_calls().next().is_some() {
            return self.want_tools(message);
        }
        if truncated {
            let output = Value::String(message.text());
            self.phase = Phase::Done { output, finish: Finish::Limited(Limit::Length) };
            return Ok(());
        }
        if self.request.output == Output::Text {
            self.phase = Phase::Done { output: Value::String(into_text(message)), finish: Finish::Complete };
            return Ok(());
        }
        let response = ChatResponse { model: Arc::from(""), message, finish: FinishReason::Stop, usage };
        match checked(&self.request.output, self.inner.as_ref(), &response) {
            Answer::Valid(output) => self.phase = Phase::Done { output, finish: Finish::Complete },
            Answer::Invalid { problems, .. } if self.repairs >= self.limits.repairs => {
                let problems = if self.inner.is_some() { placed(problems) } else { problems };
                let error = Diagnostics(problems).into_error_of(
                    ErrorKind::InvalidOutput,
                    "agent.output",
                    "the model's answer does not fit the schema",
                );
                self.phase = Phase::Failed { error };
            }
            Answer::Invalid { hint, .. } => {
                self.repairs += 1;
                self.request.messages.push(response.message);
                self.request.messages.push(hint);
                self.ask_again();
            }
        }
        Ok(())
    }

    fn want_tools(&mut self, mut message: Message) -> Result<()> {
        tell_calls_apart(&mut message);
        let calls: Arc<[ToolCall]> = message.tool_calls().cloned().collect();
        let wanted = u32::try_from(calls.len()).unwrap_or(u32::MAX);
        let reached = if self.tool_calls.saturating_add(wanted) > self.limits.tool_calls {
            Some(Limit::ToolCalls)
        } else if repeats(&self.request.messages, &calls) > self.limits.repeated_calls {
            Some(Limit::RepeatedCalls)
        } else {
            None
        };
        if let Some(limit) = reached {
            let output = Value::String(message.text());
            self.phase = Phase::Done { output, finish: Finish::Limited(limit) };
            return Ok(());
        }
        self.tool_calls += wanted;
        self.request.messages.push(message);
        let results = vec![None; calls.len()];
        self.phase = Phase::Tools { calls, results };
        Ok(())
    }

    pub(super) fn return_tool(&mut self, mut result: ToolResult) -> Result<()> {
        // What a call cost is not for the model.
        let cost = result.cost.take();
        let Phase::Tools { calls, results } = &mut self.phase else {
            return Err(drift("tool_returned"));
        };
        let place = calls
            .iter()
            .zip(results.iter_mut())
            .find(|(call, place)| call.id == result.id && place.is_none());
        match place {
            Some((_, place)) => *place = Some(result),
            None => return Err(drift("tool_returned").with("call", result.id)),
        }
        if cost.is_some() {
            self.cost = self.cost.plus(cost);
        }
        if results.iter().all(Option::is_some) {
            let given = calls.iter().zip(results.iter().flatten()).filter(|(_, result)| !result.is_error);
            // The first one counts: a conversation goes to one agent.
            let transfer = given.into_iter().find_map(|(call, _)| Transfer::of(call, &self.handoffs));
            let parts = results.drain(..).flatten().map(Part::ToolResult).collect();
            self.request.messages.push(Message { role: Role::Tool, parts });
            match transfer {
                Some(transfer) => self.phase = Phase::HandOver(transfer),
                None => self.ask_again(),
            }
        }
        Ok(())
    }

    /// Back to the model, unless a bound was reached.
    pub(super) fn ask_again(&mut self) {
        let limit = if self.steps >= self.limits.steps {
            Limit::Steps
        } else if self.limits.tokens.is_some_and(|tokens| self.usage.total_tokens() >= tokens) {
            Limit::Tokens
        } else if self.limits.cost.is_some_and(|cap| self.cost.reaches(cap)) {
            Limit::Cost
        } else {
            self.phase = Phase::Model;
            return;
        };
        let output = Value::String(self.said());
        self.phase = Phase::Done { output, finish: Finish::Limited(limit) };
    }
}

pub(super) fn drift(fact: &'static str) -> Error {
    let message = "the recorded fact does not fit; the agent's definition has changed since the run began";
    Error::new(ErrorKind::Conflict, "agent.apply", message).with("fact", fact)
}
