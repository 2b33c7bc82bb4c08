//! Does the I/O that `AgentRun` asks for: appends each fact, then acts on it, then tells the bus.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use serde_json::json;
use tracing::Instrument as _;

use crate::{
    agent::{
        Actor as _, AgentInput, AgentOutput, AgentRun, AgentSpec, Capability, Command, Desk, LlmAgent, Piece,
        Retrieval, Session,
        call::{Within, step_context},
        gate::Gatekeeper,
        hooks::Hooks,
        remember::Remembering,
        retry::Retries,
        vitals::Vitals,
    },
    error::{Error, ErrorKind, Result},
    event::{Batch, Event, EventKind, Status},
    journal::Fact,
    model::{Accumulator, ChatRequest, FinishReason, Model, StreamPart},
    runtime::{Context, names},
    tool::{DispatchConfig, Gate, ToolRegistry, dispatch_guarded},
    types::Moment,
};

/// Runs an agent to its end, from where its journal left it.
///
/// # Cancellation
/// Dropping the future stops the model or tool at work; what was appended stays, and a later run continues there.
pub(super) async fn drive(agent: &LlmAgent, session: &Session, input: &AgentInput) -> Result<AgentOutput> {
    let spec = agent.spec();
    let (tools, tool_specs) = agent.tools(session)?;
    // An agent that cannot remember as it should fails before anything else.
    let remembers = Remembering::of(session, spec)?.is_some();
    let mut run = AgentRun::new(spec, input, spec.retrieval, &tool_specs)?;
    for entry in session.journal().recorded(session.ctx().path()) {
        run.apply(entry.fact)?;
    }
    let hooks = agent.hooks(session);
    let settled = !run.is_step_over() || !hooks.wants(Moment::AfterStep);
    if run.next() == Command::Done && run.is_answered() && (run.has_kept() || !remembers) && settled {
        // Everything is recorded: nothing runs again, and nothing is told twice.
        return run.into_output();
    }
    run.reopen();
    let capability = input.capability.as_deref().map(|name| spec.capability(name)).transpose()?;
    let session = timed(session, spec, capability);
    let vitals = session.means().agents.vitals(&spec.name);
    let driver = Driver { agent, session: &session, input, tools, vitals, hooks };
    let work = async {
        let mut retries = Retries::of(&session, capability);
        while let Err(err) = driver.run(&mut run).await {
            retries.again(err).await?;
        }
        run.into_output()
    };
    // By reference: each future that it were moved into would keep room for it.
    observed(&session, spec, pin!(work)).await
}

/// The session within the time that an agent, and the capability that is wanted of it, may take.
pub(super) fn timed(session: &Session, spec: &AgentSpec, capability: Option<&Capability>) -> Session {
    match capability.map(Capability::timeout).into_iter().chain(spec.limits.time()).min() {
        Some(timeout) => session.with_context(session.ctx().with_timeout(timeout)),
        None => session.clone(),
    }
}

/// Tells the bus that an agent started, and how it ended: completed or failed, never both.
pub(crate) async fn observed(
    session: &Session,
    spec: &AgentSpec,
    work: impl Future<Output = Result<AgentOutput>>,
) -> Result<AgentOutput> {
    let (ctx, bus) = (session.ctx(), &session.means().bus);
    let clock = ctx.runtime().clock();
    let start = clock.elapsed();
    let vitals = session.means().agents.vitals(&spec.name);
    vitals.begin(ctx.now());
    let started = bus.publish(ctx, event(ctx, spec, EventKind::AgentStarted));
    // The event is out already; only waiting for full subscriptions is left.
    let mut dropped = Dropped { session, spec, vitals, start, armed: true };
    let span = tracing::debug_span!(names::AGENT_RUN, agent = %spec.name, run = %ctx.run_id());
    let ended = match started.await {
        Ok(()) => ctx.bound("agent.run", work.instrument(span)).await.and_then(|ended| ended),
        Err(err) => Err(err),
    };
    dropped.armed = false;
    let took = clock.elapsed().saturating_sub(start);
    dropped.vitals.end(ctx.now(), took, ended.as_ref().err().map(Error::kind));
    match ended {
        Ok(output) => {
            let generated = event(ctx, spec, EventKind::ResultGenerated);
            let mut completed = event(ctx, spec, EventKind::AgentCompleted);
            completed.duration = Some(took);
            bus.publish(ctx, vec![generated, completed]).await?;
            Ok(output)
        }
        Err(err) => {
            let mut failed = event(ctx, spec, EventKind::AgentFailed);
            failed.status = Status::Error;
            failed.duration = Some(took);
            failed.data = json!({ "error": err.kind().code(), "operation": err.operation() });
            match bus.publish(ctx, failed).await {
                Ok(()) => Err(err),
                Err(unpublished) => Err(err.with("not published", unpublished)),
            }
        }
    }
}

/// Tells the bus of an agent whose future was dropped in the middle.
struct Dropped<'a> {
    session: &'a Session,
    spec: &'a AgentSpec,
    vitals: Vitals,
    start: Duration,
    armed: bool,
}

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        if self.armed {
            let ctx = self.session.ctx();
            let took = ctx.runtime().clock().elapsed().saturating_sub(self.start);
            self.vitals.end(ctx.now(), took, Some(ErrorKind::Cancelled));
            let mut failed = event(ctx, self.spec, EventKind::AgentFailed);
            failed.status = Status::Error;
            failed.data = json!({ "error": ErrorKind::Cancelled.code(), "operation": "agent.run" });
            // The event is out once this was called; only waiting for full subscriptions is left, and nobody can.
            drop(self.session.means().bus.publish(ctx, failed));
        }
    }
}

/// An event about an agent.
pub(crate) fn event(ctx: &Context, spec: &AgentSpec, kind: EventKind) -> Event {
    let mut event = Event::new(ctx, kind);
    event.agent = Some(spec.name.clone());
    event.domain.clone_from(&spec.domain);
    event
}

/// One agent at work.
pub(super) struct Driver<'a> {
    pub(super) agent: &'a LlmAgent,
    pub(super) session: &'a Session,
    pub(super) input: &'a AgentInput,
    tools: ToolRegistry,
    vitals: Vitals,
    pub(super) hooks: Hooks,
}

impl<'a> Driver<'a> {
    /// The same agent at another place of the run, without tools.
    pub(super) fn aside(&self, session: &'a Session) -> Self
    where
        Self: 'a,
    {
        Self {
            agent: self.agent,
            session,
            input: self.input,
            tools: ToolRegistry::default(),
            vitals: self.vitals.clone(),
            hooks: Hooks::default(),
        }
    }
}

impl Driver<'_> {
    async fn run(&self, run: &mut AgentRun) -> Result<()> {
        let mut model = None;
        let memory = Remembering::of(self.session, self.agent.spec())?;
        if let Some(memory) = memory.as_ref().filter(|_| !run.has_recalled() && run.steps() == 0) {
            // On the heap: few agents remember, and each would keep room for it.
            let recalled = Box::pin(memory.recall(self.input, async || self.agent.model(self.session).await));
            let (facts, queried) = recalled.await?;
            self.session.journal().append(self.session.ctx(), &facts).await?;
            facts.into_iter().try_for_each(|fact| run.apply(fact))?;
            self.session.means().bus.publish(self.session.ctx(), queried).await?;
        }
        let compacts = self.agent.spec().compaction.is_some();
        loop {
            if compacts && run.held().is_none() && Box::pin(self.compact(run, &mut model)).await? {
                continue;
            }
            if (run.held().is_some() || !self.hooks.is_empty()) && Box::pin(self.steer(run)).await? {
                continue;
            }
            match run.next() {
                Command::LoadContext { query, retrieval } => {
                    let (fact, queried) = self.load_context(query, retrieval).await?;
                    self.record(run, [fact], queried).await?;
                }
                Command::CallModel(request) => {
                    let model = match &mut model {
                        Some(model) => model,
                        none => none.insert(self.agent.model(self.session).await?),
                    };
                    // The agent is above its call, and pays for it.
                    let mut ctx = step_context(self.session.ctx(), run.steps(), "/model")
                        .with_agent(&self.agent.spec().name);
                    if self.withholds() || !self.session.shows_pieces() {
                        ctx = ctx.with_whole_answers();
                    }
                    self.session.tell(Piece::Asked { attempt: run.steps().saturating_add(1) }).await;
                    let (fact, executed) = self.call_model(&ctx, model, request).await?;
                    let asked = Fact::HookAsked { moment: Moment::AfterModel };
                    if self.withholds() {
                        self.record(run, [asked, fact], executed).await?;
                    } else {
                        self.record(run, [fact], executed).await?;
                    }
                }
                Command::CallTools => self.call_tools(run).await?,
                Command::HandOver(transfer) => {
                    // On the heap: few runs hand over, and each would keep room for it.
                    let facts = Box::pin(self.hand_over(transfer, run)).await?;
                    self.session.journal().append(self.session.ctx(), &facts).await?;
                    facts.into_iter().try_for_each(|fact| run.apply(fact))?;
                }
                Command::Done => {
                    if let (Some(memory), Some(answer), false) = (&memory, run.answer(), run.has_kept()) {
                        let (fact, created) = Box::pin(memory.keep(self.input, answer)).await?;
                        self.record(run, [fact], created).await?;
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Appends facts, acts on them, and only then tells the bus.
    async fn record(
        &self,
        run: &mut AgentRun,
        facts: impl IntoIterator<Item = Fact> + AsRef<[Fact]>,
        events: impl Into<Batch>,
    ) -> Result<()> {
        let ctx = self.session.ctx();
        self.session.journal().append(ctx, facts.as_ref()).await?;
        self.vitals.beat(ctx.now());
        facts.into_iter().try_for_each(|fact| run.apply(fact))?;
        self.session.means().bus.publish(ctx, events).await
    }

    async fn load_context(&self, query: &str, retrieval: Retrieval) -> Result<(Fact, Event)> {
        let ctx = self.session.ctx();
        let found = self.session.knowledge()?.context(ctx, query, retrieval.max_tokens).await?;
        let passages = found.passages;
        if passages.is_empty() && retrieval.required {
            let message = "no passage of the documents bears on the question";
            return Err(Error::new(ErrorKind::NotFound, "agent.context", message)
                .with("agent", &self.agent.spec().name));
        }
        let mut queried = event(ctx, self.agent.spec(), EventKind::DataQueried);
        queried.data = json!({ "passages": passages.len() });
        Ok((Fact::ContextLoaded { query: query.to_owned(), passages }, queried))
    }

    pub(super) async fn call_model(
        &self,
        ctx: &Context,
        model: &Model,
        request: &ChatRequest,
    ) -> Result<(Fact, Event)> {
        let clock = ctx.runtime().clock();
        let start = clock.elapsed();
        let mut answer = Accumulator::new(Arc::clone(&model.info().name));
        let received = self.receive(ctx, model, request, &mut answer).await;
        let answer = match received {
            Ok(()) => answer.finish()?,
            Err(err) => return Err(answer.fail(err)),
        };
        if answer.finish == FinishReason::ContentFilter {
            let message = "the provider withheld the answer";
            return Err(
                Error::new(ErrorKind::InvalidOutput, "model.stream", message).with("model", answer.model)
            );
        }
        let cost = self.session.means().prices.cost(&answer.model, &answer.usage, ctx.now());
        let mut executed = event(ctx, self.agent.spec(), EventKind::CapabilityExecuted);
        executed.duration = Some(clock.elapsed().saturating_sub(start));
        executed.data = json!({ "model": &*answer.model, "tokens": answer.usage.total_tokens() });
        let fact = Fact::ModelResponded {
            model: answer.model.as_ref().to_owned(),
            message: answer.message,
            usage: answer.usage,
            cost,
            truncated: answer.finish == FinishReason::Length,
        };
        Ok((fact, executed))
    }

    async fn receive(
        &self,
        ctx: &Context,
        model: &Model,
        request: &ChatRequest,
        answer: &mut Accumulator,
    ) -> Result<()> {
        let mut stream = model.stream(ctx, request).await?;
        while let Some(part) = stream.next().await {
            let part = part?;
            if let StreamPart::Text { text } = &part
                && !self.withholds()
            {
                self.show_text(text).await?;
            }
            answer.push(part)?;
        }
        Ok(())
    }

    /// Gives text of the answer to whoever reads along.
    pub(super) async fn show_text(&self, text: &str) -> Result<()> {
        if self.session.content() {
            self.publish_text(text).await?;
        }
        if self.session.is_read() {
            self.session.tell(Piece::Text(text.to_owned())).await;
        }
        Ok(())
    }

    async fn publish_text(&self, text: &str) -> Result<()> {
        let ctx = self.session.ctx();
        let mut piece = event(ctx, self.agent.spec(), EventKind::MessageSent);
        piece.data = json!({ "text": text });
        self.session.means().bus.publish(ctx, piece).await
    }

    /// Runs the open calls; each result is recorded before further calls start.
    async fn call_tools(&self, run: &mut AgentRun) -> Result<()> {
        let (ctx, config) = (self.session.ctx(), DispatchConfig::default());
        let calls = run.open_calls();
        // Many models count their calls from 0 in every answer, so the step belongs to the key.
        let within = Within::new(self.session, self.agent.spec(), run.steps());
        let keyed = within.context();
        let desk = Desk::new(self.session, self.agent.spec());
        let gate = self.hooks.wants(Moment::BeforeTool).then(|| Gatekeeper::new(self, run));
        let guard = gate.as_ref().map(|gate| gate as &dyn Gate);
        let mut results = pin!(dispatch_guarded(&keyed, &self.tools, &calls, &config, &desk, guard));
        while let Some(result) = results.next().await {
            self.learn(run, gate.as_ref())?;
            let (_, result) = match result {
                Ok(result) => result,
                Err(err) => return if self.end(run, gate.as_ref()).await? { Ok(()) } else { Err(err) },
            };
            let mut executed = event(ctx, self.agent.spec(), EventKind::CapabilityExecuted);
            executed.status = if result.is_error { Status::Error } else { Status::Success };
            executed.data = json!({ "tool": result.name });
            let mut facts = Vec::with_capacity(2);
            facts.extend(within.heard_of(&result.id)?);
            let decided = gate.as_ref().and_then(|gate| gate.answered(&result.id));
            // An answer of a hook is the last word.
            if decided.is_none() && self.hooks.wants(Moment::AfterTool) {
                facts.push(Fact::HookAsked { moment: Moment::AfterTool });
            }
            let told = decided.as_ref().and_then(|fact| self.told(fact));
            facts.extend(decided);
            facts.push(Fact::ToolReturned { result });
            self.record(run, facts, told.into_iter().chain([executed]).collect::<Vec<_>>()).await?;
            if run.held().is_some() {
                Box::pin(self.settle(run)).await?;
            }
        }
        Ok(())
    }
}
