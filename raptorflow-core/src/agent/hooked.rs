//! The part of `AgentRun` that follows hooks: what waits for them, and what comes of what they decided.

use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    agent::{
        AgentRun, Transfer,
        run::{Phase, drift},
    },
    error::{Error, ErrorKind, Result},
    journal::Fact,
    model::ChatRequest,
    types::{Finish, Limit, Message, Moment, Money, Part, Role, ToolCall, Usage, Verdict},
};

/// What hooks have to do with the state of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Hooked {
    /// The answer that follows waits for hooks.
    asked: bool,
    /// The answer that waits for hooks.
    held: Option<Box<Fact>>,
    /// What the model is asked next, in place of the conversation.
    request: Option<Box<ChatRequest>>,
    /// The calls of this step whose arguments hooks have changed.
    calls: Vec<String>,
    /// Whether hooks have changed the handoff.
    handoff: bool,
    /// After how many answers hooks were asked about the end of a step.
    steps: u32,
}

impl Hooked {
    /// What the model is asked next, where hooks changed it.
    pub(super) fn request(&self) -> Option<&ChatRequest> {
        self.request.as_deref()
    }

    /// A new step begins: what was changed was for the last one.
    pub(super) fn step(&mut self) {
        (self.request, self.handoff) = (None, false);
        self.calls.clear();
    }

    /// Keeps an answer that waits for hooks; gives any other fact back.
    pub(super) fn hold(&mut self, fact: Fact) -> Option<Fact> {
        if self.asked && matches!(fact, Fact::ModelResponded { .. } | Fact::ToolReturned { .. }) {
            (self.asked, self.held) = (false, Some(Box::new(fact)));
            return None;
        }
        Some(fact)
    }

    pub(super) fn ask(&mut self) {
        self.asked = true;
    }
}

impl AgentRun {
    /// The answer that waits for hooks.
    pub(super) fn held(&self) -> Option<&Fact> {
        self.hooked.held.as_deref()
    }

    /// The call of a tool that is being answered.
    pub(super) fn call(&self, id: &str) -> Option<&ToolCall> {
        let Phase::Tools { calls, .. } = &self.phase else { return None };
        calls.iter().find(|call| call.id == id)
    }

    /// The calls whose arguments are as hooks changed them.
    pub(super) fn changed_calls(&self) -> &[String] {
        &self.hooked.calls
    }

    /// Whether hooks have changed the next question to the model.
    pub(super) fn is_prepared(&self) -> bool {
        self.hooked.request.is_some()
    }

    /// Whether hooks have changed the handoff that is next.
    pub(super) fn is_redirected(&self) -> bool {
        self.hooked.handoff
    }

    /// Whether a step is over about whose end no hook was asked.
    pub(super) fn is_step_over(&self) -> bool {
        let over = matches!(self.phase, Phase::Model | Phase::HandOver(_) | Phase::Done { .. });
        over && self.steps > self.hooked.steps
    }

    /// The conversation so far.
    pub(super) fn messages(&self) -> &[Message] {
        &self.request.messages
    }

    /// The tokens and the cost so far.
    pub(super) fn spent(&self) -> (Usage, Option<Money>) {
        (self.usage, self.cost.known())
    }

    /// What the model said last.
    pub(super) fn said(&self) -> String {
        let said = self.request.messages.iter().rev().find(|message| message.role == Role::Assistant);
        said.map(Message::text).unwrap_or_default()
    }

    /// What comes of a decision.
    pub(super) fn decide(
        &mut self,
        moment: Moment,
        hooks: &[String],
        call: Option<String>,
        verdict: Verdict<Value, Value>,
    ) -> Result<()> {
        let refused = |reason: String| {
            Error::new(ErrorKind::PermissionDenied, "agent.hook", "a hook refused to go on")
                .with("hook", hooks.join(", "))
                .with("moment", moment.name())
                .with("reason", reason)
        };
        // A decision after a failure says that the run was reopened in between.
        self.reopen();
        match (moment, verdict) {
            (Moment::AfterModel, verdict) => self.decide_answer(verdict, refused)?,
            (Moment::AfterTool, verdict) => self.decide_result(verdict)?,
            (Moment::AfterStep, verdict) => {
                self.hooked.steps = self.steps;
                match verdict {
                    Verdict::Continue => {}
                    Verdict::Refuse(reason) => self.phase = Phase::Failed { error: refused(reason) },
                    Verdict::Stop(output) => self.stop(output),
                    Verdict::Change(_) | Verdict::Answer(_) => return Err(drift("hook_decided")),
                }
            }
            (_, Verdict::Stop(output)) => self.stop(output),
            (Moment::BeforeStep | Moment::BeforeModel, Verdict::Refuse(reason)) => {
                self.phase = Phase::Failed { error: refused(reason) };
            }
            (Moment::BeforeModel, Verdict::Change(request)) => {
                self.hooked.request = Some(Box::new(read(request)?));
            }
            (Moment::BeforeModel, Verdict::Answer(message)) => {
                if !matches!(self.phase, Phase::Model) {
                    return Err(drift("hook_decided"));
                }
                self.begin_step();
                self.answer_with(read(message)?, Usage::default(), false)?;
            }
            (Moment::BeforeTool, Verdict::Change(arguments)) => self.change_call(call, arguments)?,
            (Moment::Handoff, verdict) => self.decide_handoff(verdict)?,
            // What the model is told of a call follows as the tool's answer.
            (Moment::BeforeTool, _) | (_, Verdict::Continue) => {}
            _ => return Err(drift("hook_decided")),
        }
        Ok(())
    }

    /// Ends the run with what a hook gives, or with what there is.
    fn stop(&mut self, output: Option<Value>) {
        let output = output.or_else(|| self.answer().cloned()).unwrap_or_else(|| self.said().into());
        self.hooked.step();
        self.phase = Phase::Done { output, finish: Finish::Limited(Limit::Hook) };
    }

    fn decide_answer(
        &mut self,
        verdict: Verdict<Value, Value>,
        refused: impl FnOnce(String) -> Error,
    ) -> Result<()> {
        let held = self.hooked.held.take().map(|held| *held);
        let Some(Fact::ModelResponded { message, usage, cost, truncated, .. }) = held else {
            return Err(drift("hook_decided"));
        };
        match verdict {
            Verdict::Continue => self.respond(message, usage, cost, truncated),
            Verdict::Change(changed) => self.respond(read(changed)?, usage, cost, truncated),
            Verdict::Refuse(reason) => {
                self.count(usage, cost);
                self.hooked.steps = self.steps;
                self.phase = Phase::Failed { error: refused(reason) };
                Ok(())
            }
            Verdict::Stop(output) => {
                self.count(usage, cost);
                self.stop(Some(output.unwrap_or_else(|| message.text().into())));
                Ok(())
            }
            Verdict::Answer(_) => Err(drift("hook_decided")),
        }
    }

    fn decide_result(&mut self, verdict: Verdict<Value, Value>) -> Result<()> {
        let held = self.hooked.held.take().map(|held| *held);
        let Some(Fact::ToolReturned { mut result }) = held else { return Err(drift("hook_decided")) };
        let mut stopped = None;
        match verdict {
            Verdict::Continue => {}
            Verdict::Change(changed) => {
                let changed: crate::types::ToolResult = read(changed)?;
                (result.content, result.is_error) = (changed.content, changed.is_error);
            }
            Verdict::Refuse(reason) => {
                result.content = refusal("a hook withheld the result", &reason);
                result.is_error = true;
            }
            Verdict::Stop(output) => stopped = Some(output),
            Verdict::Answer(_) => return Err(drift("hook_decided")),
        }
        self.return_tool(result)?;
        if let Some(output) = stopped {
            self.stop(output);
        }
        Ok(())
    }

    fn change_call(&mut self, id: Option<String>, arguments: Value) -> Result<()> {
        let (Some(id), Phase::Tools { calls, .. }) = (id, &mut self.phase) else {
            return Err(drift("hook_decided"));
        };
        let Some(call) = Arc::make_mut(calls).iter_mut().find(|call| call.id == id) else {
            return Err(drift("hook_decided").with("call", id));
        };
        call.arguments = arguments;
        self.hooked.calls.push(id);
        Ok(())
    }

    fn decide_handoff(&mut self, verdict: Verdict<Value, Value>) -> Result<()> {
        let Phase::HandOver(transfer) = &mut self.phase else { return Err(drift("hook_decided")) };
        match verdict {
            Verdict::Change(changed) => {
                *transfer = read(changed)?;
                self.hooked.handoff = true;
            }
            Verdict::Answer(output) => self.phase = Phase::Done { output, finish: Finish::Complete },
            Verdict::Refuse(reason) => {
                let refused = transfer.clone();
                self.take_back(&refused, &reason);
                self.ask_again();
            }
            Verdict::Continue | Verdict::Stop(_) => {}
        }
        Ok(())
    }

    /// Tells the model that the conversation was not handed over, where it was told that it is.
    fn take_back(&mut self, refused: &Transfer, reason: &str) {
        let handoffs = &self.handoffs;
        let [.., asked, told] = self.request.messages.as_mut_slice() else { return };
        let is_it =
            |call: &&ToolCall| Transfer::of(call, handoffs).is_some_and(|it| it.agent == refused.agent);
        let Some(id) = asked.tool_calls().find(is_it).map(|call| call.id.clone()) else { return };
        for part in &mut told.parts {
            if let Part::ToolResult(result) = part
                && result.id == id
            {
                result.content = refusal("a hook refused the handoff", reason);
                result.is_error = true;
            }
        }
    }
}

/// What the model is told of a refusal.
fn refusal(message: &str, reason: &str) -> Value {
    json!({ "error": ErrorKind::PermissionDenied.code(), "message": message, "reason": reason })
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|err| drift("hook_decided").caused_by(err))
}
