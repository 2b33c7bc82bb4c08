//! Carries out one step: attempts, time-outs, items, turns, and the record of what came of it.

use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc, task::Poll, time::Duration};

use futures_util::{FutureExt as _, poll};
use serde_json::{Value, json};

use crate::{
    agent::{Actor, AgentInput, Desk, Session, event},
    error::{Error, ErrorKind, Result, Retry},
    event::{EventKind, Status},
    journal::Fact,
    runtime::{Backoff, Context},
    tool::{Called, call_tool},
    types::{Timestamp, ToolResult},
    workflow::{
        StepFunction,
        driver::{Boxed, Flow},
        graph::{Action, Node, Timer},
        many::Agents,
        run::Given,
        watchdog::Bounds,
    },
};

/// What is tried, how long, and how often.
#[derive(Clone, Copy)]
pub(super) struct Tries<'a> {
    pub(super) call: Call<'a>,
    pub(super) timeout: Option<Duration>,
    pub(super) retries: u32,
    pub(super) backoff: &'a Backoff,
    pub(super) background: Option<&'a Arc<str>>,
    pub(super) bounds: &'a Bounds,
    /// Whether it is finished even when the bounds say to halt.
    pub(super) finished: bool,
}

/// Something that takes a value and gives one.
#[derive(Clone, Copy)]
pub(super) enum Call<'a> {
    Agent { name: &'a Arc<str>, capability: Option<&'a Arc<str>> },
    Tool(&'a str),
    Function(&'a StepFunction),
}

impl Tries<'_> {
    /// Does work until it ends or is halted.
    async fn halted<T>(&self, operation: &'static str, work: impl Future<Output = Result<T>>) -> Result<T> {
        if self.finished { work.await } else { self.bounds.halt.run(operation, work).await.flatten() }
    }
}

impl Flow<'_> {
    /// Does a step, or gives what is recorded of it.
    ///
    /// A step that takes part in a rollback is finished even when the bounds say to halt; any other is stopped then.
    pub(super) fn work<'a>(
        &'a self,
        node: &'a Node,
        given: Given,
        background: Option<Arc<str>>,
        session: &'a Session,
        bounds: &Bounds,
    ) -> Boxed<'a, Value> {
        let bounds = bounds.clone();
        let path = join(session.ctx().path(), &node.name);
        match given {
            Given::One(input) => match &node.action {
                Action::Function(function) => {
                    Box::pin(self.leaf(node, Call::Function(function), path, input, None, session, bounds))
                }
                Action::Tool(name) => {
                    Box::pin(self.leaf(node, Call::Tool(name), path, input, None, session, bounds))
                }
                _ => self.one(node, path, input, background, session, bounds),
            },
            Given::Items(inputs) => Box::pin(self.items(node, path, inputs, background, session, bounds)),
        }
    }

    /// One value through whatever the step does.
    pub(super) fn one<'a>(
        &'a self,
        node: &'a Node,
        path: Arc<str>,
        input: Value,
        background: Option<Arc<str>>,
        session: &'a Session,
        bounds: Bounds,
    ) -> Boxed<'a, Value> {
        match &node.action {
            Action::Function(function) => {
                Box::pin(self.leaf(node, Call::Function(function), path, input, background, session, bounds))
            }
            Action::Tool(name) => {
                Box::pin(self.leaf(node, Call::Tool(name), path, input, background, session, bounds))
            }
            Action::Agent { name, capability } => {
                let call = Call::Agent { name, capability: capability.as_ref() };
                Box::pin(self.leaf(node, call, path, input, background, session, bounds))
            }
            Action::Agents { names, capability, aggregate } => Box::pin(async move {
                let agents = Agents { node, names, capability: capability.as_ref(), aggregate: *aggregate };
                self.agents(agents, path, &input, background, session, bounds).await
            }),
            Action::Workflow(graph) => Box::pin(async move {
                let session = session.with_context(session.ctx().at_step(path, None));
                self.part(graph, session, input, &bounds).await
            }),
            Action::Repeat { body, at_most, until } => Box::pin(async move {
                self.turns(body, *at_most, until.as_deref(), path, input, session, bounds).await
            }),
            Action::Gate(gate) => Box::pin(async move {
                let session = session.with_context(session.ctx().at_step(path, None));
                let work = gate.answer(&session, self.workflow, self.workflow.graph().priority);
                self.recorded_or(node, &session, bounds, work).await
            }),
            Action::Timer(timer) => Box::pin(async move {
                let session = session.with_context(session.ctx().at_step(path, None));
                self.recorded_or(node, &session, bounds, wait(timer, &input, &session)).await
            }),
        }
    }

    /// The value that is recorded for a step, or that of the work, which is then recorded.
    pub(super) async fn recorded_or(
        &self,
        node: &Node,
        session: &Session,
        bounds: Bounds,
        work: impl Future<Output = Result<Value>>,
    ) -> Result<Value> {
        if let Some(recorded) = self.recorded(session.ctx().path()) {
            return recorded;
        }
        let outcome = session
            .ctx()
            .bound("workflow.step", bounds.halt.run("workflow.step", work))
            .await
            .flatten()
            .flatten();
        self.record(node, session.ctx(), outcome, None).await
    }

    /// A step that one call does: an agent, a tool or a function.
    #[expect(clippy::too_many_arguments, reason = "what a step is, what it is given and where it stands")]
    async fn leaf(
        &self,
        node: &Node,
        call: Call<'_>,
        path: Arc<str>,
        input: Value,
        background: Option<Arc<str>>,
        session: &Session,
        bounds: Bounds,
    ) -> Result<Value> {
        if let Some(recorded) = self.recorded(&path) {
            return recorded;
        }
        let tries = Tries {
            call,
            timeout: node.timeout,
            retries: node.retries,
            backoff: &node.backoff,
            background: background.as_ref(),
            bounds: &bounds,
            // So that it is known whether it was done.
            finished: node.compensate.is_some(),
        };
        let clock = session.ctx().runtime().clock();
        let start = clock.elapsed();
        let outcome = self.tried(&tries, &path, input, session).await;
        let ctx = session.ctx().at_step(path, None);
        self.record(node, &ctx, outcome, Some(clock.elapsed().saturating_sub(start))).await
    }

    pub(super) fn recorded(&self, path: &str) -> Option<Result<Value>> {
        let journal = self.session.journal();
        if !journal.has_history() {
            return None;
        }
        journal.recorded(path).into_iter().rev().find_map(|entry| match entry.fact {
            Fact::StepCompleted { value, .. } => Some(Ok(value)),
            Fact::StepFailed { error } => Some(Err(error)),
            _ => None,
        })
    }

    /// Records what came of a step at the context's path, and tells the bus.
    pub(super) async fn record(
        &self,
        node: &Node,
        ctx: &Context,
        outcome: Result<Value>,
        took: Option<Duration>,
    ) -> Result<Value> {
        let journal = self.session.journal();
        let mut told = event(ctx, Actor::spec(self.workflow), EventKind::CapabilityExecuted);
        told.duration = took;
        told.priority = self.workflow.graph().priority;
        let outcome = match outcome {
            Ok(value) => {
                let took = took.and_then(|took| u64::try_from(took.as_micros()).ok());
                // Moved into the fact and back: a value may be large.
                let fact = Fact::StepCompleted { value, took };
                let length = journal.append_at(ctx.path(), std::slice::from_ref(&fact)).await?;
                let Fact::StepCompleted { value, .. } = fact else {
                    return Err(Error::new(
                        ErrorKind::Internal,
                        "workflow.record",
                        "a fact changed its kind",
                    ));
                };
                if let Some(by) = &node.compensate {
                    self.note(ctx.path(), length, by, &value);
                }
                Ok(value)
            }
            // The step was stopped: it says nothing about how it would have ended.
            Err(err) if is_stopped(&err, ctx) || journal.is_broken() => return Err(err),
            Err(err) => {
                let err = if err.get("step").is_some() { err } else { err.with("step", ctx.path()) };
                journal.append_at(ctx.path(), &[Fact::StepFailed { error: err.clone() }]).await?;
                told.status = Status::Error;
                told.data = json!({ "error": err.kind().code(), "operation": err.operation() });
                Err(err)
            }
        };
        self.session.means().bus.publish(ctx, told).await?;
        outcome
    }

    /// Calls until it succeeds or the tries are used up.
    ///
    /// Tries before a crash count; those before the run as a whole failed and was resumed do not.
    pub(super) async fn tried(
        &self,
        tries: &Tries<'_>,
        path: &Arc<str>,
        input: Value,
        session: &Session,
    ) -> Result<Value> {
        let (mut attempt, mut used) = attempts_before(session, path);
        let mut input = Some(input);
        loop {
            let last = used >= tries.retries;
            let given = if last { input.take() } else { input.clone() }.unwrap_or_default();
            let err = match self.attempt(tries, path, given, attempt, session).await {
                Ok(value) => return Ok(value),
                Err(err) => err,
            };
            let stopped = session.ctx().cancel().is_cancelled() || session.journal().is_broken();
            if last || stopped || !can_help(&err) {
                return Err(err);
            }
            let failed = Fact::RetryTriggered { attempt, error: err.clone() };
            session.journal().append_at(path, &[failed]).await?;
            attempt += 1;
            used += 1;
            let pause = match err.retry() {
                Retry::After(pause) => pause,
                _ => tries.backoff.delay(used, fastrand::f64()),
            };
            let sleep = session.ctx().runtime().clock().sleep(pause);
            let sleep = session.ctx().bound("workflow.retry", sleep);
            tries.halted("workflow.retry", sleep).await?;
        }
    }

    async fn attempt(
        &self,
        tries: &Tries<'_>,
        path: &Arc<str>,
        input: Value,
        attempt: u32,
        session: &Session,
    ) -> Result<Value> {
        let ctx = session.ctx().at_step(Arc::clone(path), tries.timeout);
        let mut work = pin!(self.call(tries, input, attempt, session, ctx.clone()));
        // Most functions that only compute are over at once, and need neither timer nor token.
        if let Poll::Ready(outcome) = poll!(work.as_mut()) {
            return outcome;
        }
        let _busy = tries.bounds.watchdog.work();
        tries.halted("workflow.step", ctx.bound("workflow.step", work)).await.flatten()
    }

    async fn call(
        &self,
        tries: &Tries<'_>,
        input: Value,
        attempt: u32,
        session: &Session,
        ctx: Context,
    ) -> Result<Value> {
        match tries.call {
            Call::Function(function) => {
                // The function itself runs inside the guard too, not only the future that it makes.
                let work = AssertUnwindSafe(async { function.call(ctx, input).await }).catch_unwind();
                work.await.unwrap_or_else(|_| {
                    Err(Error::new(ErrorKind::Callback, "workflow.function", "the step's function panicked"))
                })
            }
            Call::Tool(name) => Box::pin(self.use_tool(name, input, &ctx)).await,
            Call::Agent { name, capability } => {
                let background = tries.background.cloned();
                Box::pin(self.ask(name, capability, input, background, attempt, session, &ctx)).await
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "who is asked what, and where it stands")]
    async fn ask(
        &self,
        name: &Arc<str>,
        capability: Option<&Arc<str>>,
        input: Value,
        background: Option<Arc<str>>,
        attempt: u32,
        session: &Session,
        ctx: &Context,
    ) -> Result<Value> {
        let agent = session.means().agents.get(name)?;
        // A further attempt is another conversation; the first one's facts are not its own.
        let ctx = if attempt > 1 { ctx.child(&format!("{name}@{attempt}")) } else { ctx.child(name) };
        let input = match capability {
            Some(capability) if !input.is_object() => {
                AgentInput::for_capability(Arc::clone(capability), &AgentInput::new(input).question())
            }
            capability => AgentInput { capability: capability.cloned(), ..AgentInput::new(input) },
        };
        let input = AgentInput { background, ..input };
        Ok(agent.run(&session.with_context(ctx), &input).await?.output)
    }

    async fn use_tool(&self, name: &str, input: Value, ctx: &Context) -> Result<Value> {
        if !input.is_object() {
            let message = "a tool takes an object; give the step an `input`";
            return Err(Error::new(ErrorKind::InvalidInput, "workflow.tool", message).with("tool", name));
        }
        let desk = Desk::new(self.session, Actor::spec(self.workflow));
        let called = call_tool(ctx, &self.session.means().tools, name, &input, &desk).await?;
        if called.cost.is_some() {
            let fact = returned(name, &called);
            self.session.journal().append(ctx, &[fact]).await?;
        }
        called.value
    }
}

/// What the journal has of a call that costs something, so that the cost of the run is whole.
fn returned(name: &str, called: &Called) -> Fact {
    let (content, is_error) = match &called.value {
        Ok(value) => (value.clone(), false),
        Err(err) => (json!({ "error": err.kind().code(), "message": err.message() }), true),
    };
    let result = ToolResult { id: name.into(), name: name.into(), content, is_error, cost: called.cost };
    Fact::ToolReturned { result }
}

async fn wait(timer: &Timer, found: &Value, session: &Session) -> Result<Value> {
    let ctx = session.ctx();
    let due = match timer {
        Timer::After(duration) => ctx.now().plus(*duration),
        Timer::At(point) => *point,
        Timer::Found(_) => found.as_str().unwrap_or_default().parse::<Timestamp>()?,
    };
    // After a restart it is the one that was recorded.
    let due = session.journal().timer(ctx, due).await?;
    Ok(due.to_string().into())
}

/// How many attempts there were before the next one, plus one; and how many of them count as retries.
fn attempts_before(session: &Session, path: &Arc<str>) -> (u32, u32) {
    let journal = session.journal();
    if !journal.has_history() {
        return (1, 0);
    }
    let mut total = 0;
    let mut used = 0;
    let failed = journal.begun_again();
    for entry in journal.recorded(path) {
        if let Fact::RetryTriggered { .. } = entry.fact {
            total += 1;
            used += u32::from(failed.is_none_or(|failed| entry.sequence > failed));
        }
    }
    (total + 1, used)
}

/// Whether another attempt can help: not when what was asked is wrong, and not when somebody tried often enough.
pub(super) fn can_help(err: &Error) -> bool {
    match err.retry() {
        Retry::Exhausted => false,
        Retry::Soon | Retry::After(_) => true,
        Retry::Never => matches!(
            err.kind(),
            ErrorKind::RateLimited
                | ErrorKind::Unavailable
                | ErrorKind::Timeout
                | ErrorKind::InvalidOutput
                | ErrorKind::Callback
        ),
    }
}

fn is_stopped(err: &Error, ctx: &Context) -> bool {
    err.kind() == ErrorKind::Cancelled || ctx.cancel().is_cancelled()
}

pub(super) fn join(path: &Arc<str>, segment: &str) -> Arc<str> {
    if path.is_empty() { segment.into() } else { format!("{path}/{segment}").into() }
}
