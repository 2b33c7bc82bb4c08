//! `CircuitBreakerLayer`: stops calling a model that keeps failing, and probes it later.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{self, Poll},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{Stream, StreamExt as _};
use serde::Serialize;
use serde_json::json;

use super::{
    breaker::{Breaker, BreakerConfig, BreakerCounts, BreakerState, Permit, Verdict},
    rate_store,
};
use crate::{
    error::{Error, ErrorKind, Result, Retry},
    event::{Bus, Event, EventKind, Status},
    model::{ChatModel, ChatRequest, ChatStream, Layer, Model, ModelInfo, Place, StreamPart},
    runtime::Context,
};

/// The operation of the error that a call gets which is held back.
pub(super) const HELD_BACK: &str = "model.circuit_breaker";

/// From how many names on those are let go whose models nobody holds.
const MAX_UNHELD: usize = 1024;

/// One breaker as [`CircuitBreakerLayer::states`] lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BreakerStatus {
    /// The model, `provider:model`.
    pub model: Arc<str>,
    /// What it does with calls.
    pub state: BreakerState,
    /// Counts since a model of that name was first seen.
    pub counts: BreakerCounts,
}

/// Stops calling a model that keeps failing, and probes it later; see [`Breaker`] for when.
///
/// There is one breaker for each name of a model, shared by all copies of the layer, also when models of that name come
/// and go.
/// From 1,024 names on, those make room of which nobody holds a model.
///
/// A call that is held back fails at once with `Unavailable` and [`Retry::After`]; a
/// [`RetryLayer`](crate::model::RetryLayer) does not wait for it, so that a fallback can step in.
/// A failure is what [`counts_as_failure`] says: an error that tells something about the other side.
/// A call that is dropped, cancelled or refused for what it asked gives its place back and tells nothing.
/// An answer is a success when it has ended, and its time counts until its first part.
///
/// Every change of state is an event `status_updated` on the bus, where one was given, and a log line.
///
/// # Examples
/// ```
/// use raptorflow_core::{ErrorKind, Result, runtime::{Context, Runtime}, types::Message};
/// use raptorflow_core::error::{Error, Retry};
/// use raptorflow_core::model::{BreakerState, ChatRequest, CircuitBreakerLayer, FunctionModel, Layer as _, Model, OfflineModel};
/// use raptorflow_core::model::ChatModel as _;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let info = OfflineModel::default().info().clone();
/// let broken = Model::new(FunctionModel::new(info, |_, _| async {
///     Err(Error::new(ErrorKind::Unavailable, "model.stream", "down").retryable(Retry::Soon))
/// }));
/// let breakers = CircuitBreakerLayer::default();
/// let model = breakers.wrap(broken);
/// let ctx = Context::new(&Runtime::current()?);
/// let request = ChatRequest::new(vec![Message::user("Are you there?")]);
/// for _ in 0..5 {
///     assert_eq!(model.complete(&ctx, &request).await.unwrap_err().message(), "down");
/// }
/// assert_eq!(breakers.states()[0].state, BreakerState::Open);
/// assert!(matches!(model.complete(&ctx, &request).await.unwrap_err().retry(), Retry::After(_)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CircuitBreakerLayer {
    config: BreakerConfig,
    counts: fn(&Error) -> bool,
    bus: Option<Bus>,
    kept: Arc<Mutex<BTreeMap<Arc<str>, Arc<Kept>>>>,
}

/// Whether an error tells that a model is failing: it cannot be reached, or it took too long.
///
/// A pause that the model asks for (`RateLimited`), an answer of the wrong form, a request that is wrong and a deadline
/// of the caller tell nothing of the kind, and neither does the store of a rate limit.
#[must_use]
pub fn counts_as_failure(err: &Error) -> bool {
    match err.kind() {
        ErrorKind::Unavailable => err.operation() != rate_store::OPERATION,
        // The end of the caller's own time says that trying again cannot help.
        ErrorKind::Timeout => err.retry() != Retry::Never,
        _ => false,
    }
}

impl Default for CircuitBreakerLayer {
    fn default() -> Self {
        Self::new(BreakerConfig::default())
    }
}

impl CircuitBreakerLayer {
    /// Breakers with the given settings.
    #[must_use]
    pub fn new(config: BreakerConfig) -> Self {
        Self { config, counts: counts_as_failure, bus: None, kept: Arc::default() }
    }

    /// Tells changes of state on a bus.
    #[must_use]
    pub fn with_bus(mut self, bus: Bus) -> Self {
        self.bus = Some(bus);
        self
    }

    /// Another rule for which errors are failures; [`counts_as_failure`] by default.
    #[must_use]
    pub fn counting(mut self, counts: fn(&Error) -> bool) -> Self {
        self.counts = counts;
        self
    }

    /// Every breaker, by the model's name.
    #[must_use]
    pub fn states(&self) -> Vec<BreakerStatus> {
        let kept: Vec<_> = self.lock().values().cloned().collect();
        kept.iter().map(|kept| kept.status()).collect()
    }

    /// The breaker of a name; when there are many, those of names that nobody holds any more are let go.
    fn of(&self, model: &Arc<str>) -> Arc<Kept> {
        let mut all = self.lock();
        if let Some(kept) = all.get(model) {
            return Arc::clone(kept);
        }
        if all.len() >= MAX_UNHELD {
            all.retain(|_, kept| Arc::strong_count(kept) > 1);
        }
        let kept = Arc::new(Kept {
            model: Arc::clone(model),
            slow: self.config.slow_call,
            timeout: self.config.timeout,
            breaker: Mutex::new(Breaker::new(self.config)),
        });
        all.insert(Arc::clone(model), Arc::clone(&kept));
        kept
    }

    // A std mutex: no await happens while it is held.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Kept>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Layer for CircuitBreakerLayer {
    fn place(&self) -> Place {
        Place::CircuitBreaker
    }

    fn wrap(&self, inner: Model) -> Model {
        let kept = self.of(&inner.info().name);
        let call = Broken { counts: self.counts, bus: self.bus.clone(), kept, inner };
        Model::new(call)
    }
}

/// The breaker of one model.
#[derive(Debug)]
struct Kept {
    model: Arc<str>,
    slow: Duration,
    timeout: Duration,
    breaker: Mutex<Breaker>,
}

impl Kept {
    // A std mutex: no await happens while it is held.
    fn lock(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> BreakerStatus {
        let breaker = self.lock();
        BreakerStatus { model: Arc::clone(&self.model), state: breaker.state(), counts: breaker.counts() }
    }

    /// Does something with the breaker and gives the states before and after.
    fn change<T>(&self, change: impl FnOnce(&mut Breaker) -> T) -> (T, BreakerState, BreakerState) {
        let mut breaker = self.lock();
        let before = breaker.state();
        let value = change(&mut breaker);
        (value, before, breaker.state())
    }
}

/// A model behind its breaker.
#[derive(Debug)]
struct Broken {
    counts: fn(&Error) -> bool,
    bus: Option<Bus>,
    kept: Arc<Kept>,
    inner: Model,
}

#[async_trait]
impl ChatModel for Broken {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    async fn stream(&self, ctx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        let start = ctx.runtime().clock().elapsed();
        let (permit, before, after) = self.kept.change(|breaker| breaker.admit(start));
        let permit = permit.map_err(|pause| self.held_back(after, pause))?;
        let mut call = Call {
            kept: Arc::clone(&self.kept),
            counts: self.counts,
            bus: self.bus.clone(),
            ctx: ctx.clone(),
            start,
            took: None,
            permit: Some(permit),
        };
        call.tell(before, after);
        match self.inner.stream(ctx, request).await {
            Ok(parts) => Ok(Box::pin(Watched { parts, call })),
            Err(err) => {
                call.fail(&err);
                Err(err)
            }
        }
    }
}

impl Broken {
    fn held_back(&self, state: BreakerState, pause: Duration) -> Error {
        let message = "the model kept failing, and its calls are held back for a while";
        Error::new(ErrorKind::Unavailable, HELD_BACK, message)
            .with("model", &self.kept.model)
            .with("circuit", state)
            .retryable(Retry::After(pause))
    }
}

/// A call under way; dropping it gives its permit back.
struct Call {
    kept: Arc<Kept>,
    counts: fn(&Error) -> bool,
    bus: Option<Bus>,
    ctx: Context,
    start: Duration,
    /// The time until the first part.
    took: Option<Duration>,
    permit: Option<Permit>,
}

impl Call {
    fn begin(&mut self) {
        if self.took.is_none() {
            let took = self.ctx.runtime().clock().elapsed().saturating_sub(self.start);
            if took > self.kept.slow {
                let took_ms = took.as_millis();
                tracing::debug!(model = %self.kept.model, took_ms, "a model was slow to answer");
            }
            self.took = Some(took);
        }
    }

    fn fail(&mut self, err: &Error) {
        self.end(if (self.counts)(err) { Verdict::Failure } else { Verdict::Unknown });
    }

    fn end(&mut self, verdict: Verdict) {
        let Some(permit) = self.permit.take() else { return };
        let now = match verdict {
            // A success changes nothing that rests on its time, and that of its first part is known.
            Verdict::Success { took } if took <= self.kept.timeout => self.start.saturating_add(took),
            _ => self.ctx.runtime().clock().elapsed(),
        };
        let ((), before, after) = self.kept.change(|breaker| breaker.record(permit, verdict, now));
        self.tell(before, after);
    }

    fn tell(&self, before: BreakerState, after: BreakerState) {
        if before == after {
            return;
        }
        tracing::info!(model = %self.kept.model, from = before.name(), to = after.name(), "a circuit changed");
        if let Some(bus) = &self.bus {
            let status = if after == BreakerState::Open { Status::Warning } else { Status::Success };
            let data = json!({ "model": &*self.kept.model, "circuit": after, "before": before });
            let event = Event { status, data, ..Event::new(&self.ctx, EventKind::StatusUpdated) };
            // It is out when this returns; a call does not wait for subscribers who are full.
            drop(bus.publish(&self.ctx, event));
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Verdict::Unknown);
    }
}

/// The parts of an answer, and what they say about the model.
struct Watched {
    parts: ChatStream,
    call: Call,
}

impl Stream for Watched {
    type Item = Result<StreamPart>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.parts.poll_next_unpin(cx);
        if let Poll::Ready(Some(part)) = &next {
            self.call.begin();
            match part {
                Ok(StreamPart::Finish { .. }) => {
                    let took = self.call.took.unwrap_or_default();
                    self.call.end(Verdict::Success { took });
                }
                Ok(_) => {}
                Err(err) => self.call.fail(err),
            }
        }
        next
    }
}
