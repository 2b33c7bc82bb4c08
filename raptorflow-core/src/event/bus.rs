//! `EventBus`, the trait of a backend, and `Bus`, the handle that everybody holds.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use serde::Serialize;

use crate::{
    error::{Error, ErrorKind, Result},
    event::{AgentStats, Channel, Draft, Event, Filter, Lag, LocalBus, Received, Subscription},
    runtime::Context,
    types::AgentId,
};

/// How long a request waits when its context has no deadline.
const REPLY_WITHIN: Duration = Duration::from_secs(30);

/// Settings of a bus.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BusConfig {
    /// How many events the history keeps; the oldest goes first. 10,000 by default.
    pub history: usize,
    /// How long the history keeps an event; 7 days by default.
    pub retention: Duration,
}

impl Default for BusConfig {
    fn default() -> Self {
        Self { history: 10_000, retention: Duration::from_secs(7 * 24 * 60 * 60) }
    }
}

/// A question to the history.
///
/// ```
/// use raptorflow_core::event::{Bus, BusConfig, Event, EventKind, History};
/// use raptorflow_core::runtime::{Context, Runtime};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let ctx = Context::new(&Runtime::current()?);
/// let bus = Bus::local(BusConfig::default());
/// for kind in [EventKind::AgentStarted, EventKind::AgentCompleted] {
///     bus.publish(&ctx, Event::new(&ctx, kind)).await?;
/// }
/// let newest = bus.history(&ctx, &History { limit: 1, ..History::default() });
/// assert_eq!(newest[0].kind, EventKind::AgentCompleted);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Which events.
    pub filter: Filter,
    /// Only events with a stream sequence of at least this.
    pub from: u64,
    /// At most this many, the newest ones; 0 means all that are kept.
    pub limit: usize,
}

/// Counts since the bus was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BusStats {
    /// Events published.
    pub published: u64,
    /// Deliveries to subscriptions.
    pub delivered: u64,
    /// Deliveries that a full subscription missed.
    pub dropped: u64,
    /// Subscriptions open now.
    pub subscriptions: usize,
    /// Events in the history now.
    pub retained: usize,
}

/// Events that are published together.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "one event is the usual case and shall cost no allocation")]
pub enum Batch {
    /// One event.
    One(Event),
    /// Several, in order and without others between them.
    Many(Vec<Event>),
}

impl From<Event> for Batch {
    fn from(event: Event) -> Self {
        Self::One(event)
    }
}

impl From<Vec<Event>> for Batch {
    fn from(events: Vec<Event>) -> Self {
        Self::Many(events)
    }
}

/// A publication under way; most are done when they are made, and then cost no allocation.
#[must_use = "publishing waits for full `Block` subscriptions, and reports errors, only when awaited"]
pub struct Publishing<'a>(Step<'a>);

enum Step<'a> {
    Done(Option<Result<()>>),
    Wait(Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>),
}

impl<'a> Publishing<'a> {
    /// Nothing is left to wait for.
    pub fn done(result: Result<()>) -> Self {
        Self(Step::Done(Some(result)))
    }

    /// Something is left to wait for.
    pub fn wait(work: impl Future<Output = Result<()>> + Send + 'a) -> Self {
        Self(Step::Wait(Box::pin(work)))
    }
}

impl Future for Publishing<'_> {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Result<()>> {
        match &mut self.0 {
            Step::Done(result) => Poll::Ready(result.take().unwrap_or(Ok(()))),
            Step::Wait(work) => work.as_mut().poll(cx),
        }
    }
}

impl Debug for Publishing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Publishing")
    }
}

/// Publish and subscribe.
///
/// # Contract
/// - `publish` gives each event the next stream sequence, from 0, without gaps.
/// - a subscriber sees the events that match its filter, in stream order, each once.
/// - an event told on several channels is stored once and delivered to the subscribers of each.
/// - a full `DropOldest` subscription keeps the newest and says exactly how many it missed.
/// - a full `Fail` subscription ends with `LimitExceeded` after what it holds.
/// - a full `Block` subscription makes `publish` wait, at most its limit, then counts as `Fail`.
/// - a dropped or stalled subscription affects no other.
/// - `history` answers by filter, from an offset, the newest `limit` in stream order.
/// - the history keeps at most its bound and drops the oldest.
/// - the history forgets what is older than its retention.
/// - `subscribe_from` gives the history from an offset and then live events without gap or double.
/// - `subscribe_from` before the oldest event kept says first how many events are gone.
pub trait EventBus: Debug + Send + Sync + 'static {
    /// Publishes events together, in order; they are out when this returns, and what is left is waiting.
    fn publish<'a>(&'a self, ctx: &'a Context, events: Batch) -> Publishing<'a>;

    /// Opens a subscription to events from now on.
    fn subscribe(&self, filter: Filter, capacity: usize, lag: Lag) -> Result<Subscription>;

    /// Opens a subscription that first replays the history from a stream sequence.
    fn subscribe_from(
        &self,
        ctx: &Context,
        from: u64,
        filter: Filter,
        capacity: usize,
        lag: Lag,
    ) -> Result<Subscription>;

    /// Events that the history still has.
    fn history(&self, ctx: &Context, query: &History) -> Vec<Arc<Event>>;

    /// Counts since the bus was made.
    fn stats(&self) -> BusStats;
}

/// The handle to a bus; cloning shares it.
///
/// ```
/// use raptorflow_core::event::{Bus, BusConfig, Event, EventKind, Filter, Lag, Received};
/// use raptorflow_core::runtime::{Context, Runtime};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let ctx = Context::new(&Runtime::current()?);
/// let bus = Bus::local(BusConfig::default());
/// let mut events = bus.subscribe(Filter::default(), 16, Lag::DropOldest)?;
/// bus.publish(&ctx, Event::new(&ctx, EventKind::AgentStarted)).await?;
/// let Some(Received::Event(event)) = events.recv().await? else { unreachable!() };
/// assert_eq!((event.sequence, &event.kind), (0, &EventKind::AgentStarted));
/// # Ok::<(), raptorflow_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Bus {
    bus: Arc<dyn EventBus>,
    /// The same bus, where it is the one of this process, which keeps drafts as they are.
    local: Option<Arc<LocalBus>>,
}

impl Bus {
    /// A bus inside this process.
    #[must_use]
    pub fn local(config: BusConfig) -> Self {
        let local = Arc::new(LocalBus::new(config));
        Self { bus: Arc::clone(&local) as _, local: Some(local) }
    }

    /// A bus of the host's own.
    #[must_use]
    pub fn from_arc(bus: Arc<dyn EventBus>) -> Self {
        Self { bus, local: None }
    }

    /// Publishes one event or several together; see [`EventBus::publish`].
    ///
    /// # Errors
    /// `Unavailable` when a backend on another machine cannot be reached.
    ///
    /// # Cancellation
    /// The events are out once this was called; dropping it ends only the wait for full subscriptions.
    pub fn publish<'a>(&'a self, ctx: &'a Context, events: impl Into<Batch>) -> Publishing<'a> {
        self.bus.publish(ctx, events.into())
    }

    /// Publishes drafts together, which stay drafts until somebody reads them; see [`Bus::publish`].
    pub(crate) fn tell<'a, const N: usize>(&'a self, ctx: &'a Context, drafts: [Draft; N]) -> Publishing<'a> {
        match &self.local {
            Some(local) => local.tell(ctx, drafts),
            None => self.bus.publish(ctx, Batch::Many(drafts.map(Draft::into_event).into())),
        }
    }

    /// Publishes one event on several channels; it is stored once and delivered to each.
    ///
    /// # Errors
    /// `InvalidInput` when there is no channel; otherwise as [`Bus::publish`].
    pub fn broadcast<'a>(
        &'a self,
        ctx: &'a Context,
        mut event: Event,
        channels: impl IntoIterator<Item = Channel>,
    ) -> Publishing<'a> {
        let mut channels = channels.into_iter();
        let Some(first) = channels.next() else {
            let err = Error::new(ErrorKind::InvalidInput, "event.broadcast", "expected at least one channel");
            return Publishing::done(Err(err.with("field", "channels")));
        };
        event.channel = first;
        event.also = channels.collect();
        self.publish(ctx, event)
    }

    /// Publishes a request and waits for the first event that answers it, within the context's deadline.
    ///
    /// Without a deadline it waits 30 seconds.
    ///
    /// # Errors
    /// `Timeout` when nobody answered in time, `Cancelled` with the context.
    ///
    /// # Examples
    /// ```
    /// use raptorflow_core::event::{Bus, BusConfig, Event, EventKind, Filter, Lag};
    /// use raptorflow_core::{runtime::{Context, Runtime}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let ctx = Context::new(&Runtime::current()?);
    /// let bus = Bus::local(BusConfig::default());
    /// let filter = Filter { kinds: vec![EventKind::MessageSent], ..Filter::default() };
    /// let mut inbox = bus.subscribe(filter, 8, Lag::Fail)?;
    /// let answering = async {
    ///     let request = inbox.recv().await?.and_then(|it| it.into_event());
    ///     if let Some(request) = request {
    ///         bus.reply(&ctx, &request, Event::new(&ctx, EventKind::ResponseDelivered)).await?;
    ///     }
    ///     Ok::<(), raptorflow_core::Error>(())
    /// };
    /// let request = Event::new(&ctx, EventKind::MessageSent);
    /// let (reply, _) = futures_util::try_join!(bus.request(&ctx, request), answering)?;
    /// assert_eq!(reply.kind, EventKind::ResponseDelivered);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn request(&self, ctx: &Context, request: Event) -> Result<Arc<Event>> {
        let filter = Filter {
            tenant: Some(request.tenant.clone()),
            correlation: Some(request.id),
            ..Filter::default()
        };
        let mut replies = self.subscribe(filter, 1, Lag::DropOldest)?;
        let bounded;
        let ctx = if ctx.deadline().is_some() {
            ctx
        } else {
            bounded = ctx.with_timeout(REPLY_WITHIN);
            &bounded
        };
        let answer = async {
            self.publish(ctx, request).await?;
            while let Some(received) = replies.recv().await? {
                if let Received::Event(reply) = received {
                    return Ok(reply);
                }
            }
            Err(Error::new(ErrorKind::Unavailable, "event.request", "the bus is gone"))
        };
        ctx.bound("event.request", answer).await?
    }

    /// Publishes an event as the answer to a request.
    ///
    /// # Errors
    /// As [`Bus::publish`].
    pub fn reply<'a>(&'a self, ctx: &'a Context, request: &Event, mut reply: Event) -> Publishing<'a> {
        reply.correlation = Some(request.id);
        reply.causation = Some(request.id);
        reply.tenant = request.tenant.clone();
        if reply.targets.is_empty() {
            reply.targets = request.source.iter().cloned().collect();
        }
        self.publish(ctx, reply)
    }

    /// Opens a subscription to events from now on that holds at most `capacity` of them.
    ///
    /// # Errors
    /// `InvalidInput` when `capacity` is 0.
    pub fn subscribe(&self, filter: Filter, capacity: usize, lag: Lag) -> Result<Subscription> {
        self.bus.subscribe(filter, capacity, lag)
    }

    /// Opens a subscription that first replays the history from a stream sequence; see [`EventBus`].
    ///
    /// # Errors
    /// `InvalidInput` when `capacity` is 0.
    pub fn subscribe_from(
        &self,
        ctx: &Context,
        from: u64,
        filter: Filter,
        capacity: usize,
        lag: Lag,
    ) -> Result<Subscription> {
        self.bus.subscribe_from(ctx, from, filter, capacity, lag)
    }

    /// Events that the history still has.
    #[must_use]
    pub fn history(&self, ctx: &Context, query: &History) -> Vec<Arc<Event>> {
        self.bus.history(ctx, query)
    }

    /// Counts since the bus was made.
    #[must_use]
    pub fn stats(&self) -> BusStats {
        self.bus.stats()
    }

    /// Counts per agent over the events that the history still has.
    #[must_use]
    pub fn agent_stats(&self, ctx: &Context, filter: Filter) -> BTreeMap<AgentId, AgentStats> {
        AgentStats::of_all(&self.history(ctx, &History { filter, ..History::default() }))
    }
}
