//! The driver's part of hooks: when they are asked, and how what they say gets into the journal.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use serde_json::json;

use crate::{
    agent::{
        Actor as _, AgentRun, Command, Piece, Turn,
        driver::{Driver, event},
        hooks::{Hooks, OPERATION},
    },
    error::{Error, ErrorKind, Result},
    event::{Event, EventKind},
    journal::Fact,
    runtime::Context,
    tool::{Gate, Passed, ProposedCall},
    types::{Moment, Part, Verdict},
};

/// The kind of the event that tells that a hook steered a run.
const HOOK: &str = "agent.hook";

impl Driver<'_> {
    /// Asks the hooks about what is next; whether the state is another one now.
    pub(super) async fn steer(&self, run: &mut AgentRun) -> Result<bool> {
        if run.held().is_some() {
            self.settle(run).await?;
            return Ok(true);
        }
        let (ctx, hooks) = (self.session.ctx(), &self.hooks);
        if run.is_step_over() && hooks.wants(Moment::AfterStep) {
            let turn = self.turn(run, run.steps());
            let fact = hooks.after_step(ctx, &turn, run.messages(), run.answer()).await?;
            self.follow(run, fact.unwrap_or_else(|| nothing(Moment::AfterStep))).await?;
            return Ok(true);
        }
        let turn = self.turn(run, run.steps().saturating_add(1));
        let fact = match run.next() {
            Command::CallModel(request) if !run.is_prepared() => {
                match hooks.before_step(ctx, &turn, run.messages()).await? {
                    None => hooks.before_model(ctx, &turn, request).await?,
                    said => said,
                }
            }
            Command::HandOver(transfer) if !run.is_redirected() => {
                let turn = self.turn(run, run.steps());
                let fact = hooks.handoff(ctx, &turn, transfer).await?;
                self.check_handoff(fact.as_ref())?;
                fact
            }
            _ => None,
        };
        let Some(fact) = fact else { return Ok(false) };
        let answer = match &fact {
            Fact::HookDecided { moment: Moment::BeforeModel, verdict: Verdict::Answer(answer), .. } => {
                Some(answer.clone())
            }
            _ => None,
        };
        if let Some(answer) = answer {
            self.session.tell(Piece::Asked { attempt: turn.step }).await;
            self.follow(run, fact).await?;
            let parts = answer.get("parts").cloned().unwrap_or_default();
            self.show(&serde_json::from_value::<Vec<Part>>(parts).unwrap_or_default()).await?;
        } else {
            self.follow(run, fact).await?;
        }
        Ok(true)
    }

    /// Asks the hooks about an answer that is recorded already, by the model or by a tool.
    pub(super) async fn settle(&self, run: &mut AgentRun) -> Result<()> {
        let (ctx, turn) = (self.session.ctx(), self.turn(run, run.steps()));
        match run.held() {
            Some(Fact::ModelResponded { message, .. }) => {
                let turn = Turn { step: turn.step.saturating_add(1), ..turn };
                let parts = message.parts.clone();
                let fact = self.hooks.after_model(ctx, &turn, message).await?;
                let fact = fact.unwrap_or_else(|| nothing(Moment::AfterModel));
                let shown = match &fact {
                    Fact::HookDecided { verdict: Verdict::Continue, .. } => parts,
                    Fact::HookDecided { verdict: Verdict::Change(changed), .. } => {
                        let parts = changed.get("parts").cloned().unwrap_or_default();
                        serde_json::from_value(parts).unwrap_or_default()
                    }
                    _ => Vec::new(),
                };
                self.follow(run, fact).await?;
                self.show(&shown).await
            }
            Some(Fact::ToolReturned { result }) => {
                let call = run.call(&result.id).ok_or_else(|| {
                    let message = "the result that waits for hooks is of no call of this step";
                    Error::new(ErrorKind::Conflict, OPERATION, message).with("call", &result.id)
                })?;
                let fact = self.hooks.after_tool(ctx, &turn, call, result).await?;
                self.follow(run, fact.unwrap_or_else(|| nothing(Moment::AfterTool))).await
            }
            _ => Ok(()),
        }
    }

    /// Records a decision, acts on it, and tells the bus where it changes anything.
    async fn follow(&self, run: &mut AgentRun, fact: Fact) -> Result<()> {
        let ctx = self.session.ctx();
        let told = self.told(&fact);
        self.session.journal().append(ctx, std::slice::from_ref(&fact)).await?;
        run.apply(fact)?;
        match told {
            Some(told) => self.session.means().bus.publish(ctx, told).await,
            None => Ok(()),
        }
    }

    /// What the bus is told of a decision.
    pub(super) fn told(&self, fact: &Fact) -> Option<Event> {
        let Fact::HookDecided { moment, hooks, verdict, .. } = fact else { return None };
        if verdict.is_continue() {
            return None;
        }
        let kind = EventKind::Custom(HOOK.into());
        let mut told = event(self.session.ctx(), self.agent.spec(), kind);
        told.data = json!({ "moment": moment, "hooks": hooks, "verdict": verdict.name() });
        Some(told)
    }

    /// Whether an answer is shown only once hooks let it pass.
    pub(super) fn withholds(&self) -> bool {
        self.hooks.wants(Moment::AfterModel)
    }

    /// Shows an answer that was withheld to whoever reads along.
    async fn show(&self, parts: &[Part]) -> Result<()> {
        for part in parts {
            if let Part::Text { text } = part {
                self.show_text(text).await?;
            }
        }
        Ok(())
    }

    pub(super) fn turn(&self, run: &AgentRun, step: u32) -> Turn<'_> {
        let (usage, cost) = run.spent();
        Turn { agent: self.agent.spec(), input: self.input, step, usage, cost }
    }

    /// A handoff that a hook changed goes to one of the agent's own all the same.
    fn check_handoff(&self, fact: Option<&Fact>) -> Result<()> {
        let Some(Fact::HookDecided { verdict: Verdict::Change(changed), hooks, .. }) = fact else {
            return Ok(());
        };
        let to = changed.get("agent").and_then(serde_json::Value::as_str).unwrap_or_default();
        if self.agent.spec().handoffs.iter().any(|handoff| handoff.agent.as_str() == to) {
            return Ok(());
        }
        let message = "a hook changed a handoff to an agent that this one does not hand over to";
        Err(Error::new(ErrorKind::InvalidInput, OPERATION, message)
            .with("hook", hooks.join(", "))
            .with("moment", Moment::Handoff.name())
            .with("agent", to))
    }
}

fn nothing(moment: Moment) -> Fact {
    Fact::HookDecided { moment, hooks: Vec::new(), call: None, verdict: Verdict::Continue }
}

/// Asks hooks about the calls of tools of one step.
pub(super) struct Gatekeeper<'a> {
    driver: &'a Driver<'a>,
    hooks: &'a Hooks,
    turn: Turn<'a>,
    /// The calls about which hooks were asked already.
    known: Vec<String>,
    // A std mutex: no await happens while it is held.
    decided: Mutex<Decided>,
}

/// What hooks decided and the machine does not know yet.
#[derive(Default)]
struct Decided {
    /// In the journal already.
    changed: Vec<Fact>,
    /// Goes into the journal together with what the model is told.
    answered: HashMap<String, Fact>,
    stopped: Option<Fact>,
}

impl<'a> Gatekeeper<'a> {
    pub(super) fn new(driver: &'a Driver<'a>, run: &AgentRun) -> Self {
        Self {
            driver,
            hooks: &driver.hooks,
            turn: driver.turn(run, run.steps()),
            known: run.changed_calls().to_vec(),
            decided: Mutex::default(),
        }
    }

    /// Arguments that were changed, for the machine.
    pub(super) fn changed(&self) -> Vec<Fact> {
        std::mem::take(&mut self.decided().changed)
    }

    /// What answered or refused a call.
    pub(super) fn answered(&self, call: &str) -> Option<Fact> {
        self.decided().answered.remove(call)
    }

    /// What ended the run.
    pub(super) fn stopped(&self) -> Option<Fact> {
        self.decided().stopped.take()
    }

    fn decided(&self) -> MutexGuard<'_, Decided> {
        self.decided.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Gate for Gatekeeper<'_> {
    async fn pass(&self, ctx: &Context, id: &str, call: ProposedCall<'_>) -> Result<Passed> {
        if self.known.iter().any(|known| known == id) {
            return Ok(Passed::Unchanged);
        }
        let Some(fact) = self.hooks.before_tool(ctx, &self.turn, id, call).await? else {
            return Ok(Passed::Unchanged);
        };
        let Fact::HookDecided { verdict, .. } = &fact else { return Ok(Passed::Unchanged) };
        let passed = match verdict.clone() {
            Verdict::Continue => return Ok(Passed::Unchanged),
            Verdict::Change(arguments) => {
                let session = self.driver.session;
                session.journal().append(session.ctx(), std::slice::from_ref(&fact)).await?;
                let told = self.driver.told(&fact);
                self.decided().changed.push(fact);
                if let Some(told) = told {
                    session.means().bus.publish(session.ctx(), told).await?;
                }
                return Ok(Passed::Changed(arguments));
            }
            Verdict::Answer(content) => Passed::Answered(content),
            Verdict::Refuse(reason) => Passed::Refused(reason),
            Verdict::Stop(_) => {
                self.decided().stopped = Some(fact);
                return Err(Error::new(ErrorKind::Cancelled, OPERATION, "a hook ended the run"));
            }
        };
        self.decided().answered.insert(id.to_owned(), fact);
        Ok(passed)
    }
}

impl Driver<'_> {
    /// Tells the machine what hooks changed, also when the calls failed after it.
    pub(super) fn learn(&self, run: &mut AgentRun, gate: Option<&Gatekeeper<'_>>) -> Result<()> {
        gate.into_iter().flat_map(Gatekeeper::changed).try_for_each(|fact| run.apply(fact))
    }

    /// Ends the run where a hook said so while calls were at work.
    pub(super) async fn end(&self, run: &mut AgentRun, gate: Option<&Gatekeeper<'_>>) -> Result<bool> {
        match gate.and_then(Gatekeeper::stopped) {
            Some(fact) => self.follow(run, fact).await.map(|()| true),
            None => Ok(false),
        }
    }
}
