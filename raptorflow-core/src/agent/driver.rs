//! Does the I/O that `AgentRun` asks for: appends each fact, then acts on it, then tells the bus.

use std::{ops::ControlFlow, pin::pin, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use serde_json::json;
use tracing::Instrument as _;

use crate::{
    agent::{
        Actor as _, AgentInput, AgentOutput, AgentRun, AgentSpec, Capability, Command, Desk, LlmAgent, Piece,
        Retrieval, Session, call::Within, gate::Gatekeeper, hooks::Hooks, remember::Remembering,
        retry::Retries, vitals::Vitals,
    },
    error::{Error, ErrorKind, Result},
    event::{Batch, Draft, Event, EventKind, Status, Told},
    journal::Fact,
    model::{Accumulator, ChatRequest, FinishReason, Model, StreamPart},
    runtime::{Context, names},
    tool::{DispatchConfig, Gate, ToolRegistry, dispatch_guarded, dispatch_one},
    types::{Moment, ToolResult},
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
    let mut run = AgentRun::begun(spec, input, spec.retrieval, tool_specs)?;
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
    let driver = Driver { agent, session: &session, input, tools, vitals: vitals.clone(), hooks };
    let work = async {
        let mut retries = Retries::of(&session, capability);
        while let Err(err) = driver.run(&mut run).await {
            retries.again(err).await?;
        }
        run.into_output()
    };
    // By reference: each future that it were moved into would keep room for it.
    observed_by(&session, spec, vitals, pin!(work)).await
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
    let vitals = session.means().agents.vitals(&spec.name);
    observed_by(session, spec, vitals, work).await
}

async fn observed_by(
    session: &Session,
    spec: &AgentSpec,
    vitals: Vitals,
    work: impl Future<Output = Result<AgentOutput>>,
) -> Result<AgentOutput> {
    let (ctx, bus) = (session.ctx(), &session.means().bus);
    let clock = ctx.runtime().clock();
    let start = clock.elapsed();
    vitals.begin(ctx.now());
    let started = bus.tell(ctx, [draft(ctx, spec, EventKind::AgentStarted)]);
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
            let generated = draft(ctx, spec, EventKind::ResultGenerated);
            let mut completed = draft(ctx, spec, EventKind::AgentCompleted);
            completed.duration = Some(took);
            bus.tell(ctx, [generated, completed]).await?;
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

/// An event about an agent that costs little as long as nobody reads it.
fn draft(ctx: &Context, spec: &AgentSpec, kind: EventKind) -> Draft {
    Draft::new(ctx, kind, &spec.name, spec.domain.as_ref())
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
            let recalled = Box::pin(memory.recall(self.input, async || self.model(self.session).await));
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
                        none => none.insert(self.model(self.session).await?),
                    };
                    let ctx = self.call_context(run.steps());
                    self.session.tell(Piece::Asked { attempt: run.steps().saturating_add(1) }).await;
                    let (fact, executed) = self.call_model(&ctx, model, request).await?;
                    let asked = Fact::HookAsked { moment: Moment::AfterModel };
                    if self.withholds() {
                        self.append(run, [asked, fact]).await?;
                    } else {
                        self.append(run, [fact]).await?;
                    }
                    self.session.means().bus.tell(self.session.ctx(), [executed]).await?;
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

    /// The agent's model behind the engine's layers.
    pub(super) async fn model(&self, session: &Session) -> Result<Model> {
        self.agent.model(session, &self.vitals).await
    }

    /// For a call of the model: the agent is above it, and pays for it.
    fn call_context(&self, step: u32) -> Context {
        let ctx = self.session.ctx().with_step_of(&self.agent.spec().name, step, "/model");
        if self.session.shows_pieces() && !self.withholds() { ctx } else { ctx.with_whole_answers() }
    }

    /// Appends facts, acts on them, and only then tells the bus.
    async fn record(
        &self,
        run: &mut AgentRun,
        facts: impl IntoIterator<Item = Fact> + AsRef<[Fact]>,
        events: impl Into<Batch>,
    ) -> Result<()> {
        self.append(run, facts).await?;
        self.session.means().bus.publish(self.session.ctx(), events).await
    }

    /// Appends facts and acts on them.
    async fn append(
        &self,
        run: &mut AgentRun,
        facts: impl IntoIterator<Item = Fact> + AsRef<[Fact]>,
    ) -> Result<()> {
        let ctx = self.session.ctx();
        self.session.journal().append(ctx, facts.as_ref()).await?;
        self.vitals.beat(ctx.now());
        facts.into_iter().try_for_each(|fact| run.apply(fact))
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
    ) -> Result<(Fact, Draft)> {
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
        let mut executed = draft(ctx, self.agent.spec(), EventKind::CapabilityExecuted);
        executed.duration = Some(clock.elapsed().saturating_sub(start));
        let (name, tokens) = (Arc::clone(&answer.model), answer.usage.total_tokens());
        executed.told = Told::Model { name, tokens };
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
        let config = DispatchConfig::default();
        let calls = run.shared_calls();
        // Many models count their calls from 0 in every answer, so the step belongs to the key.
        let within = Within::new(self.session, self.agent.spec(), run.steps());
        let keyed = within.context();
        let desk = Desk::new(self.session, self.agent.spec());
        let gate = self.hooks.wants(Moment::BeforeTool).then(|| Gatekeeper::new(self, run));
        let guard = gate.as_ref().map(|gate| gate as &dyn Gate);
        if let [call] = &*calls {
            let result = dispatch_one(&keyed, &self.tools, call, &config, &desk, guard).await;
            return self.returned(run, &within, gate.as_ref(), result).await.map(drop);
        }
        // On the heap: most answers have one call, and each would keep room for it.
        let mut results = Box::pin(dispatch_guarded(&keyed, &self.tools, &calls, &config, &desk, guard));
        while let Some(result) = results.next().await {
            let result = result.map(|(_, result)| result);
            if self.returned(run, &within, gate.as_ref(), result).await?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Records what a tool answered; breaks where a hook ended the run.
    async fn returned(
        &self,
        run: &mut AgentRun,
        within: &Within,
        gate: Option<&Gatekeeper<'_>>,
        result: Result<ToolResult>,
    ) -> Result<ControlFlow<()>> {
        let ctx = self.session.ctx();
        self.learn(run, gate)?;
        let result = match result {
            Ok(result) => result,
            Err(err) => {
                return if self.end(run, gate).await? { Ok(ControlFlow::Break(())) } else { Err(err) };
            }
        };
        let answered = within.heard_of(&result.id)?;
        let decided = gate.and_then(|gate| gate.answered(&result.id));
        let mut executed = draft(ctx, self.agent.spec(), EventKind::CapabilityExecuted);
        executed.status = if result.is_error { Status::Error } else { Status::Success };
        executed.told = Told::Tool { name: result.name.as_str().into() };
        let returned = Fact::ToolReturned { result };
        // An answer of a hook is the last word.
        let asks = decided.is_none() && self.hooks.wants(Moment::AfterTool);
        if answered.is_none() && decided.is_none() && !asks {
            self.append(run, [returned]).await?;
        } else {
            let told = decided.as_ref().and_then(|fact| self.told(fact));
            let asked = asks.then_some(Fact::HookAsked { moment: Moment::AfterTool });
            let facts = answered.into_iter().chain(asked).chain(decided).chain([returned]);
            self.append(run, facts.collect::<Vec<_>>()).await?;
            if let Some(told) = told {
                self.session.means().bus.publish(ctx, told).await?;
            }
        }
        self.session.means().bus.tell(ctx, [executed]).await?;
        if run.held().is_some() {
            Box::pin(self.settle(run)).await?;
        }
        Ok(ControlFlow::Continue(()))
    }
}
