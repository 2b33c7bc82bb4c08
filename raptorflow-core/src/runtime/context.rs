//! `Context`: run, tenant, principal, deadline, cancellation and lineage; first argument of every call.

use std::{
    any::Any,
    fmt,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::{
        Cancel, Grants, Runtime,
        key::{Key, Work, add_call},
    },
    types::{AgentId, RunId, TenantId, Timestamp},
};

/// What a call belongs to and when it must stop; cloning is cheap.
///
/// `with_*` and [`Context::child`] return a changed copy and leave the original as it is.
///
/// ```
/// use std::time::Duration;
/// use raptorflow_core::{ErrorKind, runtime::{Context, Runtime}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let ctx = Context::new(&Runtime::current()?);
/// let step = ctx.child("research").child("search").with_timeout(Duration::ZERO);
/// assert_eq!(&**step.path(), "research/search");
/// let late = step.bound("example.wait", std::future::pending::<()>()).await;
/// assert_eq!(late.unwrap_err().kind(), ErrorKind::Timeout);
/// // Cancelling the caller stops what is below it.
/// ctx.cancel().cancel();
/// assert!(step.cancel().is_cancelled());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Context {
    inner: Arc<Inner>,
    /// Here, because it is set for each call of a model.
    whole_answers: bool,
}

#[derive(Clone)]
struct Inner {
    run: RunId,
    tenant: TenantId,
    principal: Option<Arc<str>>,
    thread: Option<Arc<str>>,
    path: Arc<str>,
    lineage: Arc<[AgentId]>,
    deadline: Option<Deadline>,
    cancel: Cancel,
    /// Of this run and path: whoever changes the path changes the key too.
    idempotency_key: Option<Key>,
    extension: Option<Arc<dyn Any + Send + Sync>>,
    /// Who calls a tool or a function, for the floors that know; forgotten below another agent.
    place: Option<Arc<dyn Any + Send + Sync>>,
    grants: Option<Grants>,
    runtime: Runtime,
}

/// A point in time that does not move when the time of day is set.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    time: Timestamp,
    /// The same point by [`crate::runtime::Clock::elapsed`].
    elapsed: Duration,
}

impl Context {
    /// A context for a new run of the default tenant, without a deadline.
    #[must_use]
    pub fn new(runtime: &Runtime) -> Self {
        Self::for_run(runtime, runtime.ids().run())
    }

    /// A context for a given run of the default tenant, without a deadline.
    #[must_use]
    pub fn for_run(runtime: &Runtime, run: RunId) -> Self {
        let inner = Inner {
            run,
            tenant: TenantId::default(),
            principal: None,
            thread: None,
            path: Arc::default(),
            lineage: Arc::default(),
            deadline: None,
            cancel: runtime.tasks().cancel().child(),
            idempotency_key: None,
            extension: None,
            place: None,
            grants: None,
            runtime: runtime.clone(),
        };
        Self { inner: Arc::new(inner), whole_answers: false }
    }

    /// The run.
    #[must_use]
    pub fn run_id(&self) -> RunId {
        self.inner.run
    }

    /// The tenant; storage keeps tenants apart.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.inner.tenant
    }

    /// Who asked, where the host said so.
    #[must_use]
    pub fn principal(&self) -> Option<&str> {
        self.inner.principal.as_deref()
    }

    /// The conversation that the run belongs to, where the host said so.
    #[must_use]
    pub fn thread(&self) -> Option<&str> {
        self.inner.thread.as_deref()
    }

    /// The place inside the run, steps joined with `/`; empty at its top.
    #[must_use]
    pub fn path(&self) -> &Arc<str> {
        &self.inner.path
    }

    /// The agents above this call, outermost first.
    #[must_use]
    pub fn lineage(&self) -> &[AgentId] {
        &self.inner.lineage
    }

    /// When the work must be over, by the time of day when the deadline was set.
    ///
    /// What is left until then is counted by a clock that does not jump.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.inner.deadline.map(|deadline| deadline.time)
    }

    /// Whether the deadline has passed.
    pub(crate) fn is_overdue(&self) -> bool {
        self.inner.deadline.is_some_and(|deadline| deadline.elapsed <= self.inner.runtime.clock().elapsed())
    }

    /// The token that stops the work.
    #[must_use]
    pub fn cancel(&self) -> &Cancel {
        &self.inner.cancel
    }

    /// A key that stays the same when this step is tried again, also after a crash.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&str> {
        self.inner.idempotency_key.as_ref().map(|key| key.text(self.inner.run, &self.inner.path))
    }

    /// Whether the caller shows no part of an answer before it is whole.
    #[must_use]
    pub fn takes_whole_answers(&self) -> bool {
        self.whole_answers
    }

    /// Data of the host that core does not look at.
    #[must_use]
    pub fn extension<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.inner.extension.as_deref().and_then(|any| any.downcast_ref())
    }

    /// Who calls a tool or a function, as a higher floor said it.
    pub(crate) fn place<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.inner.place.as_deref().and_then(|any| any.downcast_ref())
    }

    /// Clock, ids and tasks.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.inner.runtime
    }

    /// The time of day by the context's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.runtime.clock().now()
    }

    /// Another tenant.
    #[must_use]
    pub fn with_tenant(&self, tenant: TenantId) -> Self {
        self.changed(|inner| inner.tenant = tenant)
    }

    /// Who asked.
    #[must_use]
    pub fn with_principal(&self, principal: impl Into<Arc<str>>) -> Self {
        self.changed(|inner| inner.principal = Some(principal.into()))
    }

    /// The conversation that the run belongs to.
    #[must_use]
    pub fn with_thread(&self, thread: impl Into<Arc<str>>) -> Self {
        self.changed(|inner| inner.thread = Some(thread.into()))
    }

    /// Says that the caller shows no part of an answer before it is whole, so that one that breaks off may be asked for
    /// again.
    #[must_use]
    pub fn with_whole_answers(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), whole_answers: true }
    }

    /// A deadline, unless an earlier one is set already.
    #[must_use]
    pub fn with_deadline(&self, deadline: Timestamp) -> Self {
        self.until(deadline.since(self.now()), deadline)
    }

    /// A deadline this far from now, unless an earlier one is set already.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        self.until(timeout, self.now().plus(timeout))
    }

    fn until(&self, left: Duration, time: Timestamp) -> Self {
        let deadline = self.deadline_in(left, time);
        self.changed(|inner| inner.deadline = earlier(inner.deadline, Some(deadline)))
    }

    fn deadline_in(&self, left: Duration, time: Timestamp) -> Deadline {
        Deadline { time, elapsed: self.inner.runtime.clock().elapsed().saturating_add(left) }
    }

    /// Another token; for work that may be stopped apart from its caller.
    #[must_use]
    pub fn with_cancel(&self, cancel: Cancel) -> Self {
        self.changed(|inner| inner.cancel = cancel)
    }

    /// A key that stays the same when this step is tried again.
    #[must_use]
    pub fn with_idempotency_key(&self, key: impl Into<Arc<str>>) -> Self {
        self.changed(|inner| inner.idempotency_key = Some(Key::Given(key.into())))
    }

    /// With the key of what an agent does at a step: `what` behind the run, the path and the step.
    pub(crate) fn with_step(&self, step: u32, what: &'static str) -> Self {
        self.changed(|inner| inner.idempotency_key = Some(Key::of(step, Work::Named(what))))
    }

    /// [`Context::with_step`] and [`Context::with_agent`] in one.
    pub(crate) fn with_step_of(&self, agent: &AgentId, step: u32, what: &'static str) -> Self {
        self.changed(|inner| {
            inner.idempotency_key = Some(Key::of(step, Work::Named(what)));
            inner.lead(agent);
        })
    }

    /// [`Context::with_step`], for the calls of tools at a step; `place` is who makes them.
    pub(crate) fn with_step_at(&self, place: Arc<dyn Any + Send + Sync>, step: u32) -> Self {
        self.changed(|inner| {
            inner.idempotency_key = Some(Key::of(step, Work::Named("")));
            inner.place = Some(place);
        })
    }

    /// The key of a call of a tool that is made here, the `occurrence`th with this id.
    pub(crate) fn key_of_call(&self, id: &str, occurrence: u32) -> String {
        let mut key = match self.idempotency_key() {
            Some(outer) => outer.to_owned(),
            None if self.path().is_empty() => self.run_id().to_string(),
            None => format!("{}/{}", self.run_id(), self.path()),
        };
        add_call(&mut key, id, occurrence);
        key
    }

    /// For a call of a tool that may take so long, with the key of [`Context::key_of_call`].
    pub(crate) fn with_call(&self, id: &str, occurrence: u32, timeout: Duration) -> Self {
        let key = self.inner.idempotency_key.as_ref().and_then(|outer| outer.call(id, occurrence));
        let key = key.unwrap_or_else(|| Key::Given(self.key_of_call(id, occurrence).into()));
        let deadline = self.deadline_in(timeout, self.now().plus(timeout));
        self.changed(|inner| {
            inner.idempotency_key = Some(key);
            inner.deadline = earlier(inner.deadline, Some(deadline));
        })
    }

    /// Data of the host that core does not look at.
    #[must_use]
    pub fn with_extension(&self, extension: Arc<dyn Any + Send + Sync>) -> Self {
        self.changed(|inner| inner.extension = Some(extension))
    }

    /// One step further down: the path grows by `segment`, and the token is a child of this one.
    #[must_use]
    pub fn child(&self, segment: &str) -> Self {
        self.changed(|inner| {
            inner.path = join(&inner.path, segment);
            inner.cancel = inner.cancel.child();
            inner.idempotency_key = None;
        })
    }

    /// A step at a path of its own: with a key that stays the same over attempts and crashes, and a token that is a
    /// child of this one.
    pub(crate) fn at_step(&self, path: Arc<str>, timeout: Option<Duration>) -> Self {
        let deadline = timeout.map(|timeout| self.deadline_in(timeout, self.now().plus(timeout)));
        self.changed(|inner| {
            inner.idempotency_key = Some(Key::Given(format!("{}/{path}", inner.run).into()));
            inner.path = path;
            inner.cancel = inner.cancel.child();
            inner.deadline = earlier(inner.deadline, deadline);
        })
    }

    /// One agent further down; see [`Context::lineage`].
    #[must_use]
    pub fn with_agent(&self, agent: &AgentId) -> Self {
        self.changed(|inner| inner.lead(agent))
    }

    /// Runs `work` until it ends, the deadline passes or the token is cancelled; then `work` is dropped.
    ///
    /// # Errors
    /// `Cancelled` or `Timeout` with the given operation.
    pub async fn bound<T>(&self, operation: &'static str, work: impl Future<Output = T>) -> Result<T> {
        let Some(deadline) = self.inner.deadline else {
            return self.inner.cancel.run(operation, work).await;
        };
        let clock = self.inner.runtime.clock();
        let mut work = pin!(work);
        let mut sleep = None;
        let timed = poll_fn(|cx| {
            if let Poll::Ready(value) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            // Only now, because what does not wait needs no timer.
            let left = || deadline.elapsed.saturating_sub(clock.elapsed());
            let sleep = sleep.get_or_insert_with(|| clock.sleep(left()));
            sleep.as_mut().poll(cx).map(|()| {
                let late = Error::new(ErrorKind::Timeout, operation, "the deadline passed");
                Err(late.with("deadline", deadline.time))
            })
        });
        self.inner.cancel.run(operation, timed).await?
    }

    pub(super) fn own_grants(&self) -> Option<&Grants> {
        self.inner.grants.as_ref()
    }

    pub(super) fn with_own_grants(&self, grants: Grants) -> Self {
        self.changed(|inner| inner.grants = Some(grants))
    }

    fn changed(&self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = (*self.inner).clone();
        change(&mut inner);
        Self { inner: Arc::new(inner), ..*self }
    }
}

impl Inner {
    fn lead(&mut self, agent: &AgentId) {
        self.lineage = self.lineage.iter().chain([agent]).cloned().collect();
        self.place = None;
    }
}

fn earlier(left: Option<Deadline>, right: Option<Deadline>) -> Option<Deadline> {
    left.into_iter().chain(right).min_by_key(|deadline| deadline.elapsed)
}

fn join(path: &str, segment: &str) -> Arc<str> {
    if path.is_empty() { Arc::from(segment) } else { Arc::from(format!("{path}/{segment}")) }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("run", &self.inner.run)
            .field("tenant", &self.inner.tenant)
            .field("path", &self.inner.path)
            .field("deadline", &self.deadline())
            .finish_non_exhaustive()
    }
}
