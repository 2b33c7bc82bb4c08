//! `RunRequest` and `ResumeRequest`: a run with its options, awaited or started in the background.

use std::{
    any::Any,
    fmt,
    future::IntoFuture,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use crate::{
    agent::{Agent, AgentBuilder, AgentInput, AgentOutput, AgentSpec, AnswerForm, Piece, Session},
    engine::{
        Engine, Outcome, Run, Target,
        engine::Active,
        opening::{thread_of, user_of},
    },
    error::{Error, ErrorKind, Result},
    event::{Filter, Lag, Priority, Subscription},
    journal::{Entry, Fact, Opened, RunStatus, Summary},
    orchestrator::Permit,
    runtime::{Cancel, Context},
    types::{Message, Part, RunId, TenantId},
};

/// How many events a run's own subscription holds before the oldest make room.
const EVENTS: usize = 4096;

type Ended = Pin<Box<dyn Future<Output = Result<Outcome>> + Send>>;

/// What applies to new and resumed runs alike.
#[derive(Clone, Default)]
struct Options {
    tenant: Option<TenantId>,
    user: Option<Arc<str>>,
    thread: Option<Arc<str>>,
    timeout: Option<Duration>,
    priority: Priority,
    cancel: Option<Cancel>,
    content: bool,
    extension: Option<Arc<dyn Any + Send + Sync>>,
    /// Who reads the answer as it arrives.
    reader: Option<mpsc::Sender<Piece>>,
}

impl Options {
    fn context(&self, engine: &Engine, run: RunId) -> Context {
        let mut ctx = engine.context(run, self.tenant.as_ref());
        if let Some(user) = &self.user {
            ctx = ctx.with_principal(Arc::clone(user));
        }
        if let Some(thread) = &self.thread {
            ctx = ctx.with_thread(Arc::clone(thread));
        }
        if let Some(timeout) = self.timeout {
            ctx = ctx.with_timeout(timeout);
        }
        match &self.extension {
            Some(extension) => ctx.with_extension(Arc::clone(extension)),
            None => ctx,
        }
    }
}

/// A slot for a run, where the engine bounds them.
async fn admitted(engine: &Engine, ctx: &Context, priority: Priority) -> Result<Option<Permit>> {
    match engine.admission() {
        Some(admission) => admission.admit(ctx, priority).await.map(Some),
        None => Ok(None),
    }
}

/// Works until the end; when the host's token is cancelled meanwhile, the run's is too.
///
/// The run keeps a token of its own, because a shutdown of the engine stops it as well.
///
/// It takes the work by reference: a future that was moved into this one would be kept in it more than once.
async fn tied<T>(host: Option<Cancel>, run: Cancel, mut work: Pin<&mut impl Future<Output = T>>) -> T {
    if let Some(host) = host {
        tokio::select! {
            biased;
            () = host.cancelled() => run.cancel(),
            ended = &mut work => return ended,
        }
    }
    work.await
}

macro_rules! options {
    ($type:ident) => {
        impl $type {
            /// The tenant; the engine's by default.
            #[must_use]
            pub fn tenant(mut self, tenant: TenantId) -> Self {
                self.options.tenant = Some(tenant);
                self
            }

            /// Who asks: the user whose budgets and limits apply, and whom tools find as the context's principal;
            /// nobody by default.
            ///
            /// It is recorded with the run, and a run that is resumed without a user is still that user's.
            #[must_use]
            pub fn user(mut self, user: impl Into<Arc<str>>) -> Self {
                self.options.user = Some(user.into());
                self
            }

            /// The conversation that the run belongs to, which agents that remember go on with; none by default.
            ///
            /// It is recorded with the run, and a run that is resumed without one is still of that conversation.
            #[must_use]
            pub fn thread(mut self, thread: impl Into<Arc<str>>) -> Self {
                self.options.thread = Some(thread.into());
                self
            }

            /// How long the run may take; no bound by default.
            #[must_use]
            pub fn timeout(mut self, timeout: Duration) -> Self {
                self.options.timeout = Some(timeout);
                self
            }

            /// How urgent the run is where the engine bounds how many work; `Normal` by default.
            #[must_use]
            pub fn priority(mut self, priority: Priority) -> Self {
                self.options.priority = priority;
                self
            }

            /// A token that cancels the run for good.
            #[must_use]
            pub fn cancel_with(mut self, cancel: &Cancel) -> Self {
                self.options.cancel = Some(cancel.clone());
                self
            }

            /// Publishes pieces of answers as they arrive, as `message_sent` events; off by default, because
            /// events carry no content unless the host asks for it.
            #[must_use]
            pub fn content(mut self, content: bool) -> Self {
                self.options.content = content;
                self
            }

            /// Data of the host that agents and tools find in their context.
            #[must_use]
            pub fn extension(mut self, extension: Arc<dyn Any + Send + Sync>) -> Self {
                self.options.extension = Some(extension);
                self
            }

            /// Starts it in the background.
            ///
            /// # Errors
            /// What fails before the agent begins.
            pub async fn start(self) -> Result<Run> {
                let ctx = self.options.context(&self.engine, self.run_id());
                let filter = Filter { run: Some(ctx.run_id()), ..Filter::default() };
                let events: Subscription = self.engine.bus().subscribe(filter, EVENTS, Lag::DropOldest)?;
                let (engine, cancel, host) =
                    (self.engine.clone(), ctx.cancel().clone(), self.options.cancel.clone());
                let run = ctx.run_id();
                let prepared = tied(host.clone(), cancel.clone(), pin!(self.prepare(ctx))).await?;
                let (tied_engine, tied_cancel) = (engine.clone(), cancel.clone());
                let work = async move { tied(host, tied_cancel, pin!(prepared.finish(tied_engine))).await };
                let task = engine.runtime().tasks().spawn("engine.run", work);
                Ok(Run::new(engine, run, cancel, events, task))
            }
        }

        impl IntoFuture for $type {
            type Output = Result<Outcome>;
            type IntoFuture = Ended;

            fn into_future(self) -> Ended {
                Box::pin(async move {
                    let ctx = self.options.context(&self.engine, self.run_id());
                    let (engine, cancel, host) =
                        (self.engine.clone(), ctx.cancel().clone(), self.options.cancel.clone());
                    let work = pin!(async { self.prepare(ctx).await?.finish(engine).await });
                    tied(host, cancel, work).await
                })
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type)).field("run", &self.run).finish_non_exhaustive()
            }
        }
    };
}

/// A run that is not started yet: await it, or [`RunRequest::start`] it in the background.
///
/// ```
/// # use raptorflow_core::{Engine, agent::{AgentSpec, FunctionAgent}};
/// use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// # let engine = Engine::builder().build().await?;
/// # engine.register(FunctionAgent::new(AgentSpec::new("shout")?, |_ctx, input| async move {
/// #     Ok(input.question().to_uppercase().into())
/// # }))?;
/// let run = engine.runtime().ids().run();
/// let outcome = engine.run("shout", "hello").id(run).timeout(Duration::from_secs(5)).await?;
/// assert_eq!((outcome.run_id, outcome.text()), (run, "HELLO".to_owned()));
/// # Ok(())
/// # }
/// ```
pub struct RunRequest {
    engine: Engine,
    run: Option<RunId>,
    asked: Asked,
    input: AgentInput,
    options: Options,
}

/// Who is asked.
enum Asked {
    Target(Target),
    /// An agent of which nobody but the run knows.
    Given(Box<AgentSpec>),
}

/// A run that is to be taken up again: await it, or [`ResumeRequest::start`] it in the background.
pub struct ResumeRequest {
    engine: Engine,
    run: RunId,
    options: Options,
}

options!(RunRequest);
options!(ResumeRequest);

/// A run whose journal is open, or one that has ended already.
enum Prepared {
    Open {
        active: Active,
        permit: Option<Permit>,
        session: Session,
        agent: Agent,
        input: AgentInput,
    },
    Ended(Result<Outcome>),
    /// Somebody else works on it; its end is waited for.
    Followed {
        run: RunId,
        ctx: Context,
    },
}

impl Prepared {
    async fn finish(self, engine: Engine) -> Result<Outcome> {
        match self {
            Self::Open { active: _active, permit: _permit, session, agent, input } => {
                engine.execute(&session, &agent, &input).await
            }
            Self::Ended(outcome) => outcome,
            Self::Followed { run, ctx } => followed(&engine, &ctx, run).await,
        }
    }
}

impl RunRequest {
    pub(super) fn new(engine: Engine, target: Target, input: AgentInput) -> Self {
        Self { engine, run: None, asked: Asked::Target(target), input, options: Options::default() }
    }

    /// One capability of the agent; its input must fit the capability's schema.
    #[must_use]
    pub fn capability(mut self, capability: impl Into<Arc<str>>) -> Self {
        self.input.capability = Some(capability.into());
        self
    }

    /// The id of the run, for a host that must know it before the run begins; a new one by default.
    #[must_use]
    pub fn id(mut self, run: RunId) -> Self {
        self.run = Some(run);
        self
    }

    fn run_id(&self) -> RunId {
        self.run.unwrap_or_else(|| self.engine.runtime().ids().run())
    }

    /// What the question is a part of, said before it.
    #[must_use]
    pub fn background(mut self, text: impl Into<Arc<str>>) -> Self {
        self.input.background = Some(text.into());
        self
    }

    /// A picture or a file that comes with the question, [`Part::Image`] or [`Part::Document`]; it is kept in the
    /// journal with the question.
    ///
    /// The run fails with `Unsupported` when the target has no model, or its model does not see or read them.
    #[must_use]
    pub fn attach(mut self, part: Part) -> Self {
        self.input.attachments.push(part);
        self
    }

    /// What was said before the question; see [`AgentInput::history`].
    ///
    /// ```
    /// # use raptorflow_core::{Agent, Engine, model::{Model, OfflineModel}};
    /// use raptorflow_core::types::Message;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// # let engine = Engine::builder().build().await?;
    /// # engine.register(Agent::builder("reader").model("offline:extractive").build()?)?;
    /// let before = [Message::user("Which plan is the cheapest?"), Message::assistant("The basic plan.")];
    /// engine.run("reader", "What does it cost?").history(before).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn history(mut self, messages: impl IntoIterator<Item = Message>) -> Self {
        self.input = self.input.with_history(messages);
        self
    }

    pub(super) fn of(mut self, target: Target) -> Self {
        self.asked = Asked::Target(target);
        self
    }

    pub(super) fn asking(mut self, spec: AgentSpec) -> Self {
        self.asked = Asked::Given(Box::new(spec));
        self
    }

    pub(super) fn form(mut self, form: AnswerForm) -> Self {
        self.input.form = Some(form);
        self
    }

    pub(super) fn read_by(mut self, reader: mpsc::Sender<Piece>) -> Self {
        self.options.reader = Some(reader);
        self
    }

    async fn prepare(self, ctx: Context) -> Result<Prepared> {
        let (agent, given) = match self.asked {
            Asked::Target(Target::Name(name)) => (self.engine.agents().get(&name)?, None),
            Asked::Target(Target::Agent(agent)) => {
                self.engine.agents().make_known(&agent);
                (agent, None)
            }
            Asked::Given(spec) => (AgentBuilder::from_spec((*spec).clone()).build()?, Some(spec)),
        };
        let permit = admitted(&self.engine, &ctx, self.options.priority).await?;
        let journal = self.engine.create(&ctx, &agent, given.as_deref(), &self.input).await?;
        let active = self.engine.activate(&ctx);
        let session = self.engine.session(ctx, journal, self.options.content);
        let session = session.with_pieces(self.options.reader);
        Ok(Prepared::Open { active, permit, session, agent, input: self.input })
    }
}

impl ResumeRequest {
    pub(super) fn new(engine: Engine, run: RunId) -> Self {
        Self { engine, run, options: Options::default() }
    }

    fn run_id(&self) -> RunId {
        self.run
    }

    /// Opens the run; `None` when it was paused and whoever works on it goes on now.
    async fn open(&self, ctx: &Context) -> Result<Option<Opened>> {
        if self.engine.cancel_of(self.run).is_none() {
            match self.engine.open_known(ctx).await {
                // Somebody works on it; that its definition has changed is no reason to tell them to go on.
                Err(err) if err.kind() == ErrorKind::Conflict && err.operation() == "journal.open" => {}
                opened => return opened.map(Some),
            }
        }
        match self.engine.journals().unpause(ctx, self.run).await {
            Ok(_) => Ok(None),
            Err(err) if err.kind() == ErrorKind::Conflict => {
                let message = "the run is at work already";
                Err(Error::new(ErrorKind::Conflict, "engine.resume", message)
                    .with("run", self.run)
                    .caused_by(err))
            }
            Err(err) => Err(err),
        }
    }

    async fn prepare(self, ctx: Context) -> Result<Prepared> {
        let permit = admitted(&self.engine, &ctx, self.options.priority).await?;
        let (journal, entries) = match self.open(&ctx).await? {
            Some(Opened::Running { journal, entries }) => (journal, entries),
            Some(Opened::Ended { summary, entries }) => {
                return Ok(Prepared::Ended(ended(self.run, &summary, &entries)));
            }
            None => return Ok(Prepared::Followed { run: self.run, ctx }),
        };
        let ctx = match (ctx.principal(), user_of(&entries)) {
            (None, Some(user)) => ctx.with_principal(user),
            _ => ctx,
        };
        let ctx = match (ctx.thread(), thread_of(&entries)) {
            (None, Some(thread)) => ctx.with_thread(thread),
            _ => ctx,
        };
        let (agent, input) = self.engine.asked_in(self.run, &entries)?;
        let active = self.engine.activate(&ctx);
        let session = self.engine.session(ctx, journal, self.options.content);
        Ok(Prepared::Open { active, permit, session, agent, input })
    }
}

/// The outcome of a run that somebody else works on, once it has ended.
async fn followed(engine: &Engine, ctx: &Context, run: RunId) -> Result<Outcome> {
    let mut tail = engine.journals().tail(ctx, run, 0);
    let (mut entries, mut summary) = (Vec::new(), Summary::default());
    while let Some(entry) = tail.next().await {
        let entry = entry?;
        summary.apply(&entry);
        entries.push(entry);
    }
    if let Some(error) = summary.error.take() {
        return Err(error);
    }
    ended(run, &summary, &entries)
}

/// The outcome of a run that has ended, from what is recorded.
fn ended(run: RunId, summary: &Summary, entries: &[Entry]) -> Result<Outcome> {
    if summary.status == RunStatus::Cancelled {
        return Err(
            Error::new(ErrorKind::Cancelled, "engine.resume", "the run was cancelled").with("run", run)
        );
    }
    let (usage, cost) = summary.spent();
    let mut output = AgentOutput { usage, cost, ..AgentOutput::default() };
    for entry in entries {
        match &entry.fact {
            Fact::ExecutionCompleted { output: answer, finish } => {
                output.output = answer.clone();
                output.finish = *finish;
            }
            Fact::ContextLoaded { passages, .. } if entry.path.is_empty() => {
                output.passages.clone_from(passages);
            }
            Fact::ResultRecalled { passages, .. } if entry.path.is_empty() => {
                output.passages.clone_from(passages);
            }
            Fact::HandoffAnswered { agent, passages, .. } if entry.path.is_empty() => {
                output.agent = Some(agent.clone());
                output.passages.clone_from(passages);
            }
            _ => {}
        }
    }
    Ok(Outcome::new(run, output))
}
