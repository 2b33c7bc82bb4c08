//! `Engine`: the facade that applications and bindings hold.

use std::{
    collections::HashMap,
    fmt,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use futures_util::poll;

use crate::{
    agent::{Agent, AgentInput, AgentOutput, AgentRegistry, Hook, Means, Session, SkillAgent},
    economics::Budgets,
    engine::{
        EngineBuilder, Outcome, ResumeRequest, Run, RunRequest, Target,
        opening::{fitting, of_run},
    },
    error::{Error, ErrorKind, Result, Retry},
    event::Bus,
    journal::{Entry, Fact, Journal, Journals, RunFilter, RunPage},
    orchestrator::Admission,
    pack::Pack,
    rag::Retriever,
    runtime::{Cancel, Context, Runtime},
    skill::SkillRegistry,
    storage::Storage,
    types::{RunId, TenantId},
};

/// How long a shutdown waits for tasks.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// Agents, models, journals and a bus in one handle; cloning shares them.
///
/// ```
/// use raptorflow_core::{Agent, Engine, agent::{AgentSpec, FunctionAgent}};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let engine = Engine::builder().build().await?;
/// engine.register(FunctionAgent::new(AgentSpec::new("shout")?, |_ctx, input| async move {
///     Ok(input.question().to_uppercase().into())
/// }))?;
/// let outcome = engine.run("shout", "hello").await?;
/// assert_eq!(outcome.output, "HELLO");
/// # Ok::<(), raptorflow_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Engine(Arc<Inner>, TenantId);

struct Inner {
    runtime: Runtime,
    storage: Storage,
    journals: Journals,
    means: Arc<Means>,
    budgets: Option<Budgets>,
    admission: Option<Admission>,
    // A std mutex: no await happens while it is held.
    active: Mutex<HashMap<RunId, Cancel>>,
}

impl Engine {
    /// Starts to build an engine.
    #[must_use]
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    pub(super) fn new(
        runtime: Runtime,
        storage: Storage,
        journals: Journals,
        means: Arc<Means>,
        (budgets, admission): (Option<Budgets>, Option<Admission>),
        tenant: TenantId,
    ) -> Self {
        let active = Mutex::default();
        Self(Arc::new(Inner { runtime, storage, journals, means, budgets, admission, active }), tenant)
    }

    /// The same engine for another tenant: its runs, and the questions about them, are that tenant's.
    #[must_use]
    pub fn for_tenant(&self, tenant: TenantId) -> Self {
        Self(Arc::clone(&self.0), tenant)
    }

    /// Makes an agent or a workflow known.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken.
    pub fn register(&self, agent: impl Into<Agent>) -> Result<()> {
        self.0.means.agents.register(agent.into())
    }

    /// Makes every agent of a pack known, and the pack's teams under the pack's name; all or nothing.
    ///
    /// # Errors
    /// `AlreadyExists` when a name is taken.
    pub fn install(&self, pack: &Pack) -> Result<()> {
        pack.install(&self.0.means.agents)
    }

    /// Makes an agent of each skill of a registry known, under the skill's id; all or nothing.
    ///
    /// Such an agent works by what the registry has under its id when a run begins, so that a folder that is read again
    /// needs nothing more; a skill that came later is registered as a [`SkillAgent`].
    ///
    /// # Errors
    /// `AlreadyExists` when a name is taken, and as [`SkillAgent::of`].
    ///
    /// # Examples
    /// ```
    /// use raptorflow_core::{Engine, skill::{Skill, SkillRegistry}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let skills = SkillRegistry::new();
    /// let front = "skill_id: talk.greet.v1\nname: Greet\ndescription: Greets.\nversion: 1.0.0";
    /// skills.insert(Skill::parse(&format!("---\n{front}\n---\n## MISSION\nGreet.\n"))?)?;
    /// let engine = Engine::builder().build().await?;
    /// engine.install_skills(&skills)?;
    /// assert_eq!(engine.agents().list()[0].name().as_str(), "talk.greet.v1");
    /// # Ok(())
    /// # }
    /// ```
    pub fn install_skills(&self, skills: &SkillRegistry) -> Result<()> {
        let agents = skills.list().into_iter().map(|skill| SkillAgent::of(skills, skill.id().as_str()));
        let agents = agents.map(|agent| agent.map(Agent::new)).collect::<Result<Vec<_>>>()?;
        self.0.means.agents.register_all(agents)
    }

    /// Says where agents with retrieval find passages from now on.
    ///
    /// ```
    /// use raptorflow_core::{Agent, Engine, KnowledgeBase, agent::Retrieval, rag::{Document, HashingEmbedder}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let kb = KnowledgeBase::in_memory(HashingEmbedder::default()).await?;
    /// kb.add([Document::new("plans.md", "The basic plan costs ₹499 a month.")]).await?;
    /// let engine = Engine::builder().default_model("offline:extractive").build().await?;
    /// engine.use_knowledge(kb);
    /// engine.register(Agent::builder("reader").retrieval(Retrieval::default()).build()?)?;
    /// let outcome = engine.run("reader", "What does the basic plan cost?").await?;
    /// assert_eq!(&*outcome.passages[0].source, "plans.md");
    /// # Ok(())
    /// # }
    /// ```
    pub fn use_knowledge(&self, knowledge: impl Retriever) {
        let knowledge: Arc<dyn Retriever> = Arc::new(knowledge);
        *self.0.means.knowledge.write().unwrap_or_else(PoisonError::into_inner) = Some(knowledge);
    }

    /// Lets a hook watch and steer all agents that begin to work from now on, after the hooks that there are.
    pub fn add_hook(&self, hook: impl Hook) {
        let mut hooks = self.0.means.hooks.write().unwrap_or_else(PoisonError::into_inner);
        let hook: Arc<dyn Hook> = Arc::new(hook);
        *hooks = hooks.iter().cloned().chain([hook]).collect();
    }

    /// Asks an agent, or runs a workflow, and waits for the answer; see [`RunRequest`] for options.
    ///
    /// # Errors
    /// `NotFound` for an unknown agent, and what the agent, its model or the storage says; the error's context has
    /// the `run`, which can be resumed.
    /// `Unavailable` or `Conflict` with [`Retry::Soon`] when the store was out of reach while the run worked, or the
    /// lease was lost: what is tried again is the resume, not the run.
    ///
    /// # Cancellation
    /// Dropping the future stops the work; the run can be resumed.
    pub fn run(&self, target: impl Into<Target>, input: impl Into<AgentInput>) -> RunRequest {
        RunRequest::new(self.clone(), target.into(), input.into())
    }

    /// Asks an agent, or runs a workflow, in the background; the run goes on when the handle is dropped.
    ///
    /// # Errors
    /// As [`Engine::run`], for what fails before the agent begins.
    ///
    /// # Cancellation
    /// A future that is dropped before it is done may leave a run that was recorded and has not begun; it can be
    /// resumed.
    ///
    /// # Examples
    /// ```
    /// # use raptorflow_core::{Engine, agent::{AgentSpec, FunctionAgent}};
    /// use futures_util::StreamExt as _;
    /// use raptorflow_core::event::EventKind;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// # let engine = Engine::builder().build().await?;
    /// # engine.register(FunctionAgent::new(AgentSpec::new("shout")?, |_ctx, input| async move {
    /// #     Ok(input.question().to_uppercase().into())
    /// # }))?;
    /// let mut events = engine.start("shout", "hello").await?.events();
    /// let mut kinds = Vec::new();
    /// while let Some(event) = events.next().await {
    ///     kinds.push(event?.kind.clone());
    /// }
    /// assert_eq!(kinds.first(), Some(&EventKind::AgentStarted));
    /// assert_eq!(events.outcome().await?.output, "HELLO");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn start(&self, target: impl Into<Target>, input: impl Into<AgentInput>) -> Result<Run> {
        self.run(target, input).start().await
    }

    /// Takes up a run whose process ended, or that failed, and waits for its answer.
    ///
    /// Nothing that is recorded is done again; a run that is complete gives its recorded answer.
    /// The run's lease must have lapsed: that is waited for, and takes some seconds after a crash.
    ///
    /// # Errors
    /// `NotFound` for an unknown run, `Cancelled` for one that was cancelled, `Conflict` while a living process
    /// owns it or when a definition has changed, and what [`Engine::run`] says.
    ///
    /// # Cancellation
    /// As [`Engine::run`].
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use raptorflow_core::{Engine, Error, ErrorKind, agent::{AgentSpec, FunctionAgent}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let engine = Engine::builder().build().await?;
    /// let down = AtomicBool::new(true);
    /// engine.register(FunctionAgent::new(AgentSpec::new("flaky")?, move |_ctx, _input| {
    ///     let down = down.swap(false, Ordering::Relaxed);
    ///     async move {
    ///         if down { Err(Error::new(ErrorKind::Unavailable, "host.call", "down")) } else { Ok("up".into()) }
    ///     }
    /// }))?;
    /// let err = engine.run("flaky", "go").await.unwrap_err();
    /// let run = err.get("run").unwrap_or_default().parse()?;
    /// assert_eq!(engine.resume(run).await?.output, "up");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn resume(&self, run: RunId) -> ResumeRequest {
        ResumeRequest::new(self.clone(), run)
    }

    /// The runs of the engine's tenant that a filter lets through, oldest first; by default the first 100 of all.
    ///
    /// A call looks at 10,000 runs at most, so that a page may be short, or empty, and have a next one.
    ///
    /// # Errors
    /// What the storage says.
    ///
    /// # Examples
    /// ```
    /// use raptorflow_core::{Engine, agent::{AgentSpec, FunctionAgent}, journal::{RunFilter, RunStatus}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let engine = Engine::builder().build().await?;
    /// engine.register(FunctionAgent::new(AgentSpec::new("shout")?, |_ctx, input| async move {
    ///     Ok(input.question().to_uppercase().into())
    /// }))?;
    /// let first = engine.run("shout", "hello").await?.run_id;
    /// let done = RunFilter { status: Some(RunStatus::Completed), ..RunFilter::default() };
    /// let page = engine.runs(done.clone()).await?;
    /// assert_eq!((page.runs[0].0, page.next), (first, None));
    /// let page = engine.runs(RunFilter { target: Some("whisper".into()), ..done }).await?;
    /// assert!(page.runs.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn runs(&self, filter: RunFilter) -> Result<RunPage> {
        let ctx = self.context(self.0.runtime.ids().run(), None);
        self.0.journals.list(&ctx, &filter).await
    }

    /// What happened in a run, oldest first, from a sequence number on, at most `limit`.
    ///
    /// # Errors
    /// `NotFound` for an unknown run, and what the storage says.
    ///
    /// # Examples
    /// ```
    /// # use raptorflow_core::{Engine, agent::{AgentSpec, FunctionAgent}, journal::RunFilter};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// # let engine = Engine::builder().build().await?;
    /// # engine.register(FunctionAgent::new(AgentSpec::new("shout")?, |_ctx, input| async move {
    /// #     Ok(input.question().to_uppercase().into())
    /// # }))?;
    /// let run = engine.run("shout", "hello").await?.run_id;
    /// let facts = engine.history(run, 0, 100).await?;
    /// assert_eq!((facts.len(), &*facts[1].path), (3, "call"));
    /// assert_eq!(engine.runs(RunFilter::default()).await?.runs[0].0, run);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn history(&self, run: RunId, from: u64, limit: usize) -> Result<Vec<Entry>> {
        let (ctx, journals) = (self.context(run, None), &self.0.journals);
        let entries = journals.read(&ctx, run, from, limit).await?;
        if entries.is_empty() && journals.read(&ctx, run, 0, 1).await?.is_empty() {
            return Err(
                Error::new(ErrorKind::NotFound, "engine.history", "there is no such run").with("run", run)
            );
        }
        Ok(entries)
    }

    /// The bus on which every agent's work shows.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.0.means.bus
    }

    /// The store under the journals.
    #[must_use]
    pub fn storage(&self) -> &Storage {
        &self.0.storage
    }

    /// The agents that are known.
    #[must_use]
    pub fn agents(&self) -> &AgentRegistry {
        &self.0.means.agents
    }

    /// What bounds how many runs work at the same time, where there is a bound.
    #[must_use]
    pub fn admission(&self) -> Option<&Admission> {
        self.0.admission.as_ref()
    }

    /// Clock, ids and tasks.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.0.runtime
    }

    /// Stops what works in the background, waits for it at most 5 seconds, and closes the storage.
    ///
    /// Runs that are stopped can be resumed.
    ///
    /// # Errors
    /// `Timeout` when tasks were still running, and what the storage says.
    ///
    /// # Cancellation
    /// Dropping the future ends the waiting; the tasks are stopped all the same.
    pub async fn shutdown(&self) -> Result<()> {
        let stopped = self.0.runtime.tasks().shutdown(SHUTDOWN).await;
        self.0.journals.close().await;
        self.0.storage.close().await?;
        stopped
    }

    pub(super) fn context(&self, run: RunId, tenant: Option<&TenantId>) -> Context {
        let ctx = Context::for_run(&self.0.runtime, run);
        let tenant = tenant.unwrap_or(&self.1);
        if tenant == ctx.tenant() { ctx } else { ctx.with_tenant(tenant.clone()) }
    }

    /// Notes that a run works in this process, until the returned guard is dropped.
    pub(super) fn activate(&self, ctx: &Context) -> Active {
        let (engine, run) = (self.clone(), ctx.run_id());
        self.active().insert(run, ctx.cancel().clone());
        Active { engine, run }
    }

    /// Runs an agent over its journal and records how it ended.
    pub(super) async fn execute(
        &self,
        session: &Session,
        agent: &Agent,
        input: &AgentInput,
    ) -> Result<Outcome> {
        let result = watched(session, pin!(agent.run(session, input))).await;
        let result = result.and_then(|output| fitting(input, output));
        let (run, ctx, journal) = (session.ctx().run_id(), session.ctx(), session.journal());
        match result {
            Ok(output) => {
                // Moved into the fact and back: an answer may be large.
                let fact = Fact::ExecutionCompleted { output: output.output, finish: output.finish };
                let recorded = journal.finish(ctx, std::slice::from_ref(&fact)).await;
                recorded.map_err(|err| unrecorded(of_run(err, run), run))?;
                let Fact::ExecutionCompleted { output: answer, .. } = fact else {
                    return Err(Error::new(ErrorKind::Internal, "engine.run", "a fact changed its kind"));
                };
                // The journal also knows what agents took that gave no answer.
                let (usage, cost) = journal.spent();
                Ok(Outcome::new(run, AgentOutput { output: answer, usage, cost, ..output }))
            }
            Err(err) if journal.is_lost() => {
                let message = "the run lost its lease while it worked; it can be resumed";
                let lost = Error::new(ErrorKind::Conflict, "engine.run", message).with("run", run);
                Err(lost.retryable(Retry::Soon).caused_by(err))
            }
            Err(err) => {
                let err = of_run(err, run);
                let err = if journal.is_broken() { unrecorded(err, run) } else { err };
                let fact = match err.kind() {
                    ErrorKind::Cancelled if self.is_stopping() => return Err(err),
                    ErrorKind::Cancelled if ctx.cancel().is_cancelled() => Fact::ExecutionCancelled,
                    _ => Fact::ExecutionFailed { error: err.clone() },
                };
                match journal.finish(ctx, &[fact]).await {
                    Ok(_) => Err(err),
                    Err(unrecorded) => Err(err.with("not recorded", unrecorded)),
                }
            }
        }
    }

    pub(super) fn session(&self, ctx: Context, journal: Journal, content: bool) -> Session {
        Session::new(ctx, journal, Arc::clone(&self.0.means)).with_content(content)
    }

    pub(super) fn journals(&self) -> &Journals {
        &self.0.journals
    }

    pub(super) fn means(&self) -> &Means {
        &self.0.means
    }

    pub(super) fn tenant(&self) -> &TenantId {
        &self.1
    }

    pub(super) fn held_budgets(&self) -> Option<&Budgets> {
        self.0.budgets.as_ref()
    }

    /// The token of a run at work in this process.
    pub(super) fn cancel_of(&self, run: RunId) -> Option<Cancel> {
        self.active().get(&run).cloned()
    }

    fn active(&self) -> MutexGuard<'_, HashMap<RunId, Cancel>> {
        self.0.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        self.0.runtime.tasks().cancel().is_cancelled()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("tenant", &self.1)
            .field("agents", &self.agents().len())
            .field("active", &self.active().len())
            .finish_non_exhaustive()
    }
}

/// Does the work, and hears meanwhile what is said to the run from outside.
async fn watched(
    session: &Session,
    mut work: Pin<&mut impl Future<Output = Result<AgentOutput>>>,
) -> Result<AgentOutput> {
    // Work that is over at once hears nothing.
    if let Poll::Ready(ended) = poll!(work.as_mut()) {
        return ended;
    }
    tokio::select! {
        biased;
        ended = work => ended,
        heard = Box::pin(session.journal().watch()) => match heard {
            Ok(()) => Err(Error::new(ErrorKind::Internal, "engine.run", "the journal is not watched any more")),
            Err(err) => Err(err),
        },
    }
}

/// A run at work in this process, so that it can be cancelled by its id; forgotten when dropped.
pub(super) struct Active {
    engine: Engine,
    run: RunId,
}

impl Drop for Active {
    fn drop(&mut self) {
        self.engine.active().remove(&self.run);
    }
}

/// The error of a run whose store could not be reached: whether the write was done is what a resume finds out.
fn unrecorded(err: Error, run: RunId) -> Error {
    if err.kind() != ErrorKind::Unavailable {
        return err;
    }
    let message = "the store could not be reached while the run worked; it can be resumed";
    let error = Error::new(ErrorKind::Unavailable, "engine.run", message).with("run", run);
    error.retryable(Retry::Soon).caused_by(err)
}
