//! Runs a pattern: asks whose turn it is, records what each said, and takes back what a sequence did when it fails.

use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::{
    agent::{Actor, Agent, AgentInput, AgentOutput, Session, event, is_its_own, observed},
    error::{Error, ErrorKind, Result, Retry},
    event::EventKind,
    journal::Fact,
    runtime::{Backoff, Context},
    types::{Finish, Limit, Money, Usage},
    workflow::{
        Decision, Member, Pattern, PatternKind, PatternSpec, Stopped,
        driver::define,
        patterns::machine::{Answered, Ask, Batch, Heard, PatternRun, Step, Undo, Until},
        perform::can_help,
    },
};

/// How long one turn may take by default.
const TIMEOUT: Duration = Duration::from_secs(600);
/// How often a turn of a sequence is tried again by default.
const RETRIES: u32 = 2;
/// Where the turns that were waited for stand, behind the key of the first of their batch.
const HEARD: &str = ".heard";

/// Runs a pattern at the path of its session, from where its journal left it.
///
/// # Cancellation
/// Dropping the future stops the members at work; what was recorded stays, and a later run continues there.
pub(super) async fn run(pattern: &Pattern, session: &Session, input: &AgentInput) -> Result<AgentOutput> {
    define(pattern.definition(), session).await?;
    let session = session.with_context(session.ctx().with_agent(pattern.name()));
    let work = async {
        pattern.check()?;
        Table::new(pattern, &session)?.run(&input.input).await
    };
    observed(&session, Actor::spec(pattern), pin!(work)).await
}

/// Those who take part, ready to be asked.
struct Table<'a> {
    pattern: &'a Pattern,
    session: &'a Session,
    /// The agents behind the voices of the pattern, in their order.
    agents: Vec<(Agent, Member)>,
    retries: u32,
    /// Why what was done is being taken back, where a run before this one began with that.
    rolled_back: Option<Error>,
}

#[derive(Default)]
struct Spent {
    usage: Usage,
    /// `None` from the first price that is not known.
    cost: Option<Money>,
    any: bool,
}

impl Spent {
    fn add(&mut self, heard: &Heard) {
        self.usage = self.usage.plus(heard.usage);
        self.cost = match (self.any, self.cost, heard.cost) {
            (false, _, cost) => cost,
            (true, Some(sum), Some(cost)) => sum.plus(cost).ok(),
            _ => None,
        };
        self.any = true;
    }
}

impl<'a> Table<'a> {
    fn new(pattern: &'a Pattern, session: &'a Session) -> Result<Self> {
        let known = &session.means().agents;
        let spec = pattern.spec();
        let mut agents = Vec::new();
        for member in spec.pattern.voices() {
            let agent = match (&member.given, &member.pattern) {
                (Some(agent), _) => agent.clone(),
                (None, Some(inner)) => Agent::new(Pattern::new((**inner).clone())?),
                (None, None) => known.get(&member.agent).map_err(|err| err.with("member", member.label()))?,
            };
            if let Some(undo) = &member.undo {
                known.get(undo).map_err(|err| err.with("undo of", member.label()))?;
            }
            agents.push((agent, member.clone()));
        }
        let sequence = matches!(spec.pattern, PatternKind::Sequential(_));
        let retries = spec.retries.unwrap_or(if sequence { RETRIES } else { 0 });
        Ok(Self { pattern, session, agents, retries, rolled_back: rolled_back(session) })
    }

    fn spec(&self) -> &PatternSpec {
        self.pattern.spec()
    }

    async fn run(&self, input: &Value) -> Result<AgentOutput> {
        let mut machine = PatternRun::new(self.spec(), input)?;
        let (mut answered, mut spent, mut batches) = (Vec::new(), Spent::default(), 0_u32);
        loop {
            match machine.next(std::mem::take(&mut answered))? {
                Step::Ask(batch) => {
                    self.unpaused().await?;
                    batches += 1;
                    let turns = batch.asks.len();
                    let round = batch.asks.first().map_or(0, |ask| ask.round);
                    self.tell(
                        json!({ "pattern": self.spec().pattern.name(), "round": round, "turns": turns }),
                    )
                    .await?;
                    answered = self.batch(batch, batches).await?;
                    for turn in &answered {
                        if let Ok(heard) = &turn.outcome {
                            spent.add(heard);
                        }
                    }
                }
                Step::Done(decision) => return self.done(*decision, &spent).await,
                Step::Fail { error, undo } => return Err(self.take_back(error, undo).await?),
            }
        }
    }

    async fn done(&self, decision: Decision, spent: &Spent) -> Result<AgentOutput> {
        let finish = match decision.stopped {
            Stopped::Tokens => Finish::Limited(Limit::Tokens),
            _ => Finish::Complete,
        };
        self.tell(json!({
            "pattern": decision.pattern, "stopped": decision.stopped, "agreed": decision.agreed,
            "rounds": decision.rounds, "turns": decision.turns.len(), "missing": decision.missing.len(),
        }))
        .await?;
        let output = if self.spec().answer_only {
            let work = |_ctx| async { Ok(decision) };
            self.session.journal().step(self.session.ctx(), "decision", work).await?.answer
        } else {
            serde_json::to_value(&decision).map_err(|err| {
                let message = "the decision does not serialize";
                Error::new(ErrorKind::Internal, "pattern.run", message).caused_by(err)
            })?
        };
        Ok(AgentOutput { output, finish, usage: spent.usage, cost: spent.cost, ..AgentOutput::default() })
    }

    /// Waits until the run is not paused.
    async fn unpaused(&self) -> Result<()> {
        let (ctx, journal) = (self.session.ctx(), self.session.journal());
        if journal.is_paused() { ctx.bound("pattern.pause", journal.unpaused()).await } else { Ok(()) }
    }

    async fn tell(&self, data: Value) -> Result<()> {
        let mut told = event(self.session.ctx(), Actor::spec(self.pattern), EventKind::StatusUpdated);
        told.data = data;
        self.session.means().bus.publish(self.session.ctx(), told).await
    }

    /// Asks all of a batch until it is over.
    ///
    /// Which answers were waited for is recorded where it depends on who was faster, before anything is made of them.
    async fn batch(&self, batch: Batch, number: u32) -> Result<Vec<Answered>> {
        let Batch { asks, until } = batch;
        let place = format!("{number}{HEARD}");
        let heard: Option<Vec<String>> = match &until {
            Until::Enough { .. } => self.recorded(&place)?,
            Until::All | Until::Failure => None,
        };
        let order: HashMap<String, usize> =
            asks.iter().enumerate().map(|(place, ask)| (ask.key.clone(), place)).collect();
        let wanted = |ask: &Ask| heard.as_ref().is_none_or(|heard| heard.contains(&ask.key));
        let turns = asks.into_iter().filter(wanted).map(|ask| async move {
            let outcome = self.turn(&ask).await;
            (ask, outcome)
        });
        let mut turns = stream::iter(turns).buffer_unordered(self.spec().parallel.max(1));
        let mut answered: Vec<Answered> = Vec::new();
        let mut got = 0.0;
        while let Some((ask, outcome)) = turns.next().await {
            if let Err(err) = &outcome
                && self.ends_run(&ask, err)
            {
                return Err(err.clone());
            }
            let failed = outcome.is_err();
            if let (Until::Enough { weights, .. }, false) = (&until, failed) {
                got += order.get(&ask.key).and_then(|place| weights.get(*place)).copied().unwrap_or_default();
            }
            answered.push(Answered { ask, outcome });
            let over = match &until {
                Until::All => false,
                Until::Failure => failed,
                Until::Enough { needed, failure, .. } => {
                    (failed && *failure) || (heard.is_none() && got >= *needed)
                }
            };
            if over {
                break;
            }
        }
        drop(turns);
        match (until, heard) {
            (Until::Enough { .. }, Some(heard)) => {
                answered.sort_by_key(|turn| heard.iter().position(|key| *key == turn.ask.key));
            }
            (Until::Enough { .. }, None) => {
                let keys: Vec<String> = answered.iter().map(|turn| turn.ask.key.clone()).collect();
                self.session.journal().step(self.session.ctx(), &place, |_ctx| async { Ok(keys) }).await?;
            }
            _ => answered.sort_by_key(|turn| order.get(&turn.ask.key).copied()),
        }
        Ok(answered)
    }

    fn recorded<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let path = self.session.ctx().child(key);
        let entries = self.session.journal().recorded(path.path());
        let value = entries.into_iter().rev().find_map(|entry| match entry.fact {
            Fact::StepCompleted { value, .. } => Some(value),
            _ => None,
        });
        value.map(serde_json::from_value).transpose().map_err(|err| {
            let message = "the recorded value does not have the expected form";
            Error::new(ErrorKind::Corrupt, "pattern.resume", message).with("path", path.path()).caused_by(err)
        })
    }

    /// One turn: what is recorded of it, or what the member says now.
    async fn turn(&self, ask: &Ask) -> Result<Heard> {
        let (agent, member) = self.agents.get(ask.who).ok_or_else(|| {
            Error::new(ErrorKind::Internal, "pattern.turn", "a turn of nobody").with("key", &ask.key)
        })?;
        // What is taken back is not gone on with: a turn that is not recorded failed for the same reason.
        if let Some(error) = &self.rolled_back
            && self.recorded::<Heard>(&ask.key)?.is_none()
        {
            return Err(error.clone());
        }
        let capability = member.capability.as_deref();
        let work = |ctx: Context| async move { self.tried(agent, capability, &ask.input, &ctx).await };
        self.session.journal().step(self.session.ctx(), &ask.key, work).await
    }

    /// Asks until there is an answer or the tries are used up.
    async fn tried(
        &self,
        agent: &Agent,
        capability: Option<&str>,
        input: &Value,
        ctx: &Context,
    ) -> Result<Heard> {
        let backoff = Backoff::default();
        let before = self.session.journal().recorded(ctx.path());
        let before = before.iter().filter(|entry| matches!(entry.fact, Fact::RetryTriggered { .. })).count();
        let mut attempt = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
        loop {
            let err = match self.ask(agent, capability, input, ctx, attempt).await {
                Ok(heard) => return Ok(heard),
                Err(err) => err,
            };
            if attempt > self.retries || self.is_stopped() || !can_help(&err) {
                return Err(err);
            }
            let failed = Fact::RetryTriggered { attempt, error: err.clone() };
            self.session.journal().append(ctx, &[failed]).await?;
            let pause = match err.retry() {
                Retry::After(pause) => pause,
                _ => backoff.delay(attempt, fastrand::f64()),
            };
            attempt += 1;
            ctx.bound("pattern.retry", ctx.runtime().clock().sleep(pause)).await?;
        }
    }

    async fn ask(
        &self,
        agent: &Agent,
        capability: Option<&str>,
        input: &Value,
        ctx: &Context,
        attempt: u32,
    ) -> Result<Heard> {
        let name = agent.name();
        // A further attempt is another conversation; the first one's facts are not its own.
        let segment = if attempt > 1 { format!("{name}@{attempt}") } else { name.to_string() };
        let ctx = ctx.child(&segment).with_timeout(self.spec().timeout.unwrap_or(TIMEOUT));
        let input = match capability {
            Some(capability) if !input.is_object() => {
                AgentInput::for_capability(capability, &AgentInput::new(input.clone()).question())
            }
            capability => {
                AgentInput { capability: capability.map(Arc::from), ..AgentInput::new(input.clone()) }
            }
        };
        let session = self.session.with_context(ctx.clone());
        let work = agent.run(&session, &input);
        let output = Box::pin(ctx.bound("pattern.turn", work)).await.flatten()?;
        let limited = !output.finish.is_complete();
        Ok(Heard { output: output.output, usage: output.usage, cost: output.cost, limited })
    }

    /// Whether the run was stopped from outside: nothing can be recorded, and a later run goes on.
    fn is_stopped(&self) -> bool {
        let (ctx, journal) = (self.session.ctx(), self.session.journal());
        ctx.cancel().is_cancelled() || journal.is_lost() || journal.is_broken() || ctx.is_overdue()
    }

    /// Whether a failure concerns the run, and not only the voice of one member.
    fn ends_run(&self, ask: &Ask, err: &Error) -> bool {
        let member = self.agents.get(ask.who);
        let own = member.is_some_and(|(agent, _)| is_its_own(self.session.ctx(), agent.name(), err));
        match err.kind() {
            _ if self.is_stopped() => true,
            ErrorKind::BudgetExceeded => !own,
            ErrorKind::Cancelled
            | ErrorKind::Conflict
            | ErrorKind::Corrupt
            | ErrorKind::Unauthenticated
            | ErrorKind::PermissionDenied
            | ErrorKind::Internal => true,
            _ => false,
        }
    }

    /// Takes back what was done, last first, and gives the error of the pattern; one that fails is named in it.
    ///
    /// What is to be taken back is recorded before, so that a run that goes on from there only goes backward.
    async fn take_back(&self, error: Error, undo: Vec<Undo>) -> Result<Error> {
        if undo.is_empty() {
            return Ok(error);
        }
        let (ctx, journal) = (self.session.ctx(), self.session.journal());
        let steps = undo.iter().map(|it| it.label.as_str().into()).collect();
        if self.rolled_back.is_none() {
            journal.append(ctx, &[Fact::RollbackStarted { error: error.clone(), steps }]).await?;
        }
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for Undo { label, agent, value } in undo {
            let agent = self.session.means().agents.get(&agent)?;
            let key = format!("undo.{label}");
            let work = |ctx: Context| async move { self.tried(&agent, None, &value, &ctx).await };
            match journal.step(ctx, &key, work).await {
                Ok(_) => done.push(label),
                Err(err) if self.is_stopped() => return Err(err),
                Err(_) => failed.push(label),
            }
        }
        let error = if done.is_empty() { error } else { error.with("taken back", done.join(", ")) };
        Ok(if failed.is_empty() { error } else { error.with("not taken back", failed.join(", ")) })
    }
}

/// Why a run before this one, from which it was not forked, began to take back what was done.
fn rolled_back(session: &Session) -> Option<Error> {
    let journal = session.journal();
    let since = journal.forked();
    let entries = journal.recorded(session.ctx().path()).into_iter().rev();
    let own = entries.take_while(|entry| since.is_none_or(|since| entry.sequence > since));
    own.into_iter().find_map(|entry| match entry.fact {
        Fact::RollbackStarted { error, .. } => Some(error),
        _ => None,
    })
}
