//! `LocalBus`: fan-out inside one process over a ring of the newest events.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use futures_util::future::join_all;

use crate::{
    error::Result,
    event::{
        Batch, BusConfig, BusStats, Draft, Event, EventBus, Feed, Filter, History, Lag, Offer, Publishing,
        Received, Room, Subscription,
    },
    runtime::Context,
    types::{RunId, Timestamp},
};

/// How often an append also looks for events that are too old; a query always does.
const EXPIRE_EVERY: u64 = 64;

/// The bus of one process.
///
/// Publishing takes one short lock and never waits, unless a full [`Lag::Block`] subscription asks for it.
/// Subscriptions to one run are found by the run, so that many watched runs do not slow each other.
#[derive(Debug)]
pub struct LocalBus {
    config: BusConfig,
    // A std mutex: no await and no code of a subscriber runs while it is held.
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    ring: VecDeque<Kept>,
    listeners: Vec<Listener>,
    by_run: HashMap<RunId, Vec<Listener>>,
    opened: u64,
    delivered: u64,
    dropped: u64,
}

/// An event of the history, which is built when it is read for the first time.
#[derive(Debug)]
enum Kept {
    Event(Arc<Event>),
    Draft(Draft),
}

impl Kept {
    fn time(&self) -> Timestamp {
        match self {
            Self::Event(event) => event.time,
            Self::Draft(draft) => draft.time,
        }
    }

    /// The event, where a filter lets it through; what it does not let through stays a draft.
    fn matching(&mut self, sequence: u64, filter: &Filter) -> Option<Arc<Event>> {
        match self {
            Self::Event(event) => filter.matches(event).then(|| Arc::clone(event)),
            Self::Draft(draft) => {
                let event = Event { sequence, ..draft.clone().into_event() };
                if !filter.matches(&event) {
                    return None;
                }
                let event = Arc::new(event);
                *self = Self::Event(Arc::clone(&event));
                Some(event)
            }
        }
    }
}

#[derive(Debug)]
struct Listener {
    number: u64,
    filter: Filter,
    feed: Feed,
}

/// What is left to do once the lock is released.
#[derive(Default)]
struct Rest {
    wakers: Vec<Waker>,
    rooms: Vec<Room>,
}

impl LocalBus {
    /// An empty bus.
    #[must_use]
    pub fn new(config: BusConfig) -> Self {
        Self { config, state: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The earliest time that the history keeps.
    fn horizon(&self, ctx: &Context) -> Timestamp {
        let micros = i64::try_from(self.config.retention.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(ctx.now().as_micros().saturating_sub(micros))
    }

    fn open(
        &self,
        state: &mut State,
        replay: VecDeque<Received>,
        filter: Filter,
        capacity: usize,
        lag: Lag,
    ) -> Result<Subscription> {
        let (number, run) = (state.opened, filter.run);
        let shared = Arc::downgrade(&self.state);
        let unsubscribe = move || {
            let closed = shared.upgrade().and_then(|state| lock(&state).close(number, run));
            drop(closed);
        };
        let (feed, subscription) = Subscription::pair(capacity, lag, replay, unsubscribe)?;
        state.opened += 1;
        let listener = Listener { number, filter, feed };
        match run {
            Some(run) => state.by_run.entry(run).or_default().push(listener),
            None => state.listeners.push(listener),
        }
        Ok(subscription)
    }

    async fn wait(&self, ctx: &Context, rooms: Vec<Room>) -> Result<()> {
        let lost: u64 = join_all(rooms.into_iter().map(|room| room.made(ctx))).await.into_iter().sum();
        if lost > 0 {
            let mut state = self.lock();
            state.dropped += lost;
            state.delivered = state.delivered.saturating_sub(lost);
        }
        Ok(())
    }
}

impl LocalBus {
    /// Publishes drafts together; see [`EventBus::publish`].
    pub(in crate::event) fn tell<'a, const N: usize>(
        &'a self,
        ctx: &'a Context,
        drafts: [Draft; N],
    ) -> Publishing<'a> {
        let mut rest = Rest::default();
        let mut state = self.lock();
        let expires = (state.next + N as u64) / EXPIRE_EVERY > state.next / EXPIRE_EVERY;
        let forgotten = drafts.map(|draft| state.note(draft, self.config.history, &mut rest));
        if expires {
            state.expire(self.horizon(ctx));
        }
        // What they hold is freed outside the lock.
        drop(state);
        drop(forgotten);
        self.told(ctx, rest)
    }

    /// Wakes who was told, and waits for room where subscriptions are full.
    fn told<'a>(&'a self, ctx: &'a Context, rest: Rest) -> Publishing<'a> {
        rest.wakers.into_iter().for_each(Waker::wake);
        if rest.rooms.is_empty() {
            Publishing::done(Ok(()))
        } else {
            Publishing::wait(self.wait(ctx, rest.rooms))
        }
    }
}

impl EventBus for LocalBus {
    fn publish<'a>(&'a self, ctx: &'a Context, events: Batch) -> Publishing<'a> {
        let mut rest = Rest::default();
        let mut state = self.lock();
        match events {
            Batch::One(event) => {
                let forgotten = state.append(event, self.config.history, &mut rest);
                if state.next.is_multiple_of(EXPIRE_EVERY) {
                    state.expire(self.horizon(ctx));
                }
                // What an event holds is freed outside the lock.
                drop(state);
                drop(forgotten);
            }
            Batch::Many(events) => {
                let append = |event| state.append(event, self.config.history, &mut rest);
                let forgotten: Vec<_> = events.into_iter().map(append).collect();
                state.expire(self.horizon(ctx));
                drop(state);
                drop(forgotten);
            }
        }
        self.told(ctx, rest)
    }

    fn subscribe(&self, filter: Filter, capacity: usize, lag: Lag) -> Result<Subscription> {
        self.open(&mut self.lock(), VecDeque::new(), filter, capacity, lag)
    }

    fn subscribe_from(
        &self,
        ctx: &Context,
        from: u64,
        filter: Filter,
        capacity: usize,
        lag: Lag,
    ) -> Result<Subscription> {
        let mut state = self.lock();
        state.expire(self.horizon(ctx));
        let gone = state.first().saturating_sub(from);
        let missed = (gone > 0).then_some(Received::Missed(gone));
        let events =
            state.since(from).filter_map(|(at, kept)| kept.matching(at, &filter)).map(Received::Event);
        let replay = missed.into_iter().chain(events).collect();
        // One lock over both, so that nothing falls between the history and what comes live.
        self.open(&mut state, replay, filter, capacity, lag)
    }

    fn history(&self, ctx: &Context, query: &History) -> Vec<Arc<Event>> {
        let horizon = self.horizon(ctx);
        let limit = if query.limit == 0 { usize::MAX } else { query.limit };
        let mut state = self.lock();
        state.expire(horizon);
        let recent = state.since(query.from).rev().filter(|(_, kept)| kept.time() >= horizon);
        let wanted = recent.filter_map(|(at, kept)| kept.matching(at, &query.filter));
        let mut events: Vec<_> = wanted.take(limit).collect();
        events.reverse();
        events
    }

    fn stats(&self) -> BusStats {
        let state = self.lock();
        BusStats {
            published: state.next,
            delivered: state.delivered,
            dropped: state.dropped,
            subscriptions: state.listeners.len() + state.by_run.values().map(Vec::len).sum::<usize>(),
            retained: state.ring.len(),
        }
    }
}

impl State {
    /// Stores and delivers one event; returns the one that made room for it.
    fn append(&mut self, mut event: Event, history: usize, rest: &mut Rest) -> Option<Kept> {
        event.sequence = self.next;
        let event = Arc::new(event);
        if !self.listeners.is_empty() {
            deliver(&mut self.listeners, &event, &mut self.delivered, &mut self.dropped, rest);
        }
        if !self.by_run.is_empty()
            && let Some(listeners) = event.run.and_then(|run| self.by_run.get_mut(&run))
        {
            deliver(listeners, &event, &mut self.delivered, &mut self.dropped, rest);
        }
        self.keep(Kept::Event(event), history)
    }

    /// [`State::append`] of a draft, which is built now only if somebody listens.
    fn note(&mut self, draft: Draft, history: usize, rest: &mut Rest) -> Option<Kept> {
        if self.listeners.is_empty() && (self.by_run.is_empty() || !self.by_run.contains_key(&draft.run)) {
            return self.keep(Kept::Draft(draft), history);
        }
        self.append(draft.into_event(), history, rest)
    }

    fn keep(&mut self, kept: Kept, history: usize) -> Option<Kept> {
        self.next += 1;
        let forgotten = if self.ring.len() >= history { self.ring.pop_front() } else { None };
        if history > 0 {
            self.ring.push_back(kept);
        }
        forgotten
    }

    /// The sequence of the oldest event kept, or the next one when none is.
    fn first(&self) -> u64 {
        self.next - self.ring.len() as u64
    }

    /// Kept events from a sequence on; the ring has no gaps, so its place is known.
    fn since(&mut self, from: u64) -> impl DoubleEndedIterator<Item = (u64, &mut Kept)> {
        let first = self.first();
        let skip = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX).min(self.ring.len());
        let kept = self.ring.range_mut(skip..).enumerate();
        kept.map(move |(place, kept)| (first + (skip + place) as u64, kept))
    }

    fn expire(&mut self, horizon: Timestamp) {
        while self.ring.front().is_some_and(|kept| kept.time() < horizon) {
            self.ring.pop_front();
        }
    }

    fn close(&mut self, number: u64, run: Option<RunId>) -> Option<Listener> {
        let listeners = match run {
            Some(run) => self.by_run.get_mut(&run)?,
            None => &mut self.listeners,
        };
        // It may be gone already: a full one leaves when it fails.
        let at = listeners.iter().position(|listener| listener.number == number);
        let closed = at.map(|at| listeners.remove(at));
        if let (true, Some(run)) = (listeners.is_empty(), run) {
            self.by_run.remove(&run);
        }
        closed
    }
}

fn deliver(
    listeners: &mut Vec<Listener>,
    event: &Arc<Event>,
    delivered: &mut u64,
    dropped: &mut u64,
    rest: &mut Rest,
) {
    listeners.retain(|listener| {
        if !listener.filter.matches(event) {
            return true;
        }
        match listener.feed.offer(event, &mut rest.wakers) {
            Offer::Taken => *delivered += 1,
            Offer::Replaced => (*delivered, *dropped) = (*delivered + 1, *dropped + 1),
            Offer::Full(room) => {
                *delivered += 1;
                rest.rooms.push(room);
            }
            Offer::Failed(lost) => {
                (*delivered, *dropped) = ((*delivered + 1).saturating_sub(lost), *dropped + lost);
                return false;
            }
            Offer::Closed => return false,
        }
        true
    });
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::{
        error::ErrorKind,
        event::{EventKind, Told},
        runtime::Runtime,
        types::AgentId,
    };

    fn setup() -> (Context, LocalBus) {
        (
            Context::new(&Runtime::current().unwrap()),
            LocalBus::new(BusConfig { history: 8, ..BusConfig::default() }),
        )
    }

    fn publish(bus: &LocalBus, ctx: &Context, count: usize) {
        for _ in 0..count {
            bus.publish(ctx, Event::new(ctx, EventKind::StatusUpdated).into())
                .now_or_never()
                .unwrap()
                .unwrap();
        }
    }

    fn sequences(subscription: &mut Subscription) -> Vec<u64> {
        let mut sequences = Vec::new();
        while let Some(received) = subscription.try_recv().unwrap() {
            match received {
                Received::Event(event) => sequences.push(event.sequence),
                Received::Missed(count) => sequences.push(1_000 + count),
            }
        }
        sequences
    }

    #[tokio::test]
    async fn a_blocked_publisher_goes_on_when_there_is_room_and_its_event_is_out_before() {
        let (ctx, bus) = setup();
        let lag = Lag::Block { at_most: Duration::from_secs(3600) };
        let mut slow = bus.subscribe(Filter::default(), 1, lag).unwrap();
        let mut quick = bus.subscribe(Filter::default(), 8, Lag::Fail).unwrap();
        publish(&bus, &ctx, 1);
        let mut second = bus.publish(&ctx, Event::new(&ctx, EventKind::StatusUpdated).into());
        assert!((&mut second).now_or_never().is_none());
        assert_eq!(sequences(&mut quick), [0, 1]);
        assert!(slow.try_recv().unwrap().is_some());
        second.await.unwrap();
        assert_eq!(sequences(&mut slow), [1]);
        assert_eq!(bus.stats().dropped, 0);
    }

    #[tokio::test]
    async fn publishers_that_give_up_waiting_cannot_grow_a_blocked_subscription_without_bound() {
        let (ctx, bus) = setup();
        let lag = Lag::Block { at_most: Duration::from_secs(3600) };
        let mut slow = bus.subscribe(Filter::default(), 2, lag).unwrap();
        for _ in 0..9 {
            let _ = bus.publish(&ctx, Event::new(&ctx, EventKind::StatusUpdated).into()).now_or_never();
        }
        assert_eq!(slow.recv_many(100).await.unwrap().len(), 2);
        assert_eq!(slow.recv().await.unwrap_err().kind(), ErrorKind::LimitExceeded);
        assert_eq!((bus.stats().delivered, bus.stats().dropped, bus.stats().subscriptions), (2, 3, 0));
    }

    #[tokio::test]
    async fn a_late_subscriber_learns_what_is_gone_and_goes_live_without_gap_or_double() {
        let (ctx, bus) = setup();
        publish(&bus, &ctx, 10);
        let mut late = bus.subscribe_from(&ctx, 0, Filter::default(), 2, Lag::DropOldest).unwrap();
        publish(&bus, &ctx, 3);
        assert_eq!(sequences(&mut late), [1_002, 2, 3, 4, 5, 6, 7, 8, 9, 1_001, 11, 12]);
    }

    #[tokio::test]
    async fn subscriptions_to_a_run_leave_nothing_behind() {
        let (ctx, bus) = setup();
        let filter = Filter { run: Some(ctx.run_id()), ..Filter::default() };
        let mut mine = bus.subscribe(filter.clone(), 1, Lag::Fail).unwrap();
        let other = bus.subscribe(filter, 8, Lag::Fail).unwrap();
        publish(&bus, &ctx, 2);
        publish(&bus, &Context::new(ctx.runtime()), 1);
        assert!(mine.try_recv().is_ok_and(|received| received.is_some()) && mine.try_recv().is_err());
        assert_eq!(bus.stats().subscriptions, 1);
        drop((mine, other));
        assert!(bus.lock().by_run.is_empty());
    }

    #[tokio::test]
    async fn a_bus_that_goes_ends_its_subscriptions() {
        let (_, bus) = setup();
        let mut subscription = bus.subscribe(Filter::default(), 1, Lag::Fail).unwrap();
        drop(bus);
        assert_eq!(subscription.recv().await.unwrap(), None);
    }

    fn draft(ctx: &Context, told: Told) -> Draft {
        let agent = AgentId::new("writer").unwrap();
        let mut draft = Draft::new(ctx, EventKind::CapabilityExecuted, &agent, Some(&"press".into()));
        draft.told = told;
        draft
    }

    #[tokio::test]
    async fn a_draft_is_the_same_event_for_who_listens_and_for_who_looks_back() {
        let (ctx, bus) = setup();
        publish(&bus, &ctx, 1);
        let mut live = bus.subscribe(Filter::default(), 8, Lag::Fail).unwrap();
        let model = Told::Model { name: "scripted:x".into(), tokens: 7 };
        bus.tell(&ctx, [draft(&ctx, model.clone())]).await.unwrap();
        let Some(Received::Event(event)) = live.try_recv().unwrap() else { panic!("no event") };
        assert_eq!((event.sequence, event.run, event.tenant.as_str()), (1, Some(ctx.run_id()), "default"));
        assert_eq!(event.data, serde_json::json!({ "model": "scripted:x", "tokens": 7 }));
        assert_eq!(
            (event.agent.as_ref().unwrap().as_str(), event.domain.as_deref()),
            ("writer", Some("press"))
        );
        drop(live);
        bus.tell(&ctx, [draft(&ctx, model), draft(&ctx, Told::Tool { name: "add".into() })]).await.unwrap();
        let all = bus.history(&ctx, &History::default());
        let sequences: Vec<_> = all.iter().map(|event| event.sequence).collect();
        assert_eq!(sequences, [0, 1, 2, 3]);
        assert_eq!((&all[2].data, &all[2].channel), (&event.data, &event.channel));
        assert_eq!(all[3].data, serde_json::json!({ "tool": "add" }));
        assert_ne!(all[2].id, all[3].id);
        let again = bus.history(&ctx, &History::default());
        assert!(all.iter().zip(&again).all(|(first, second)| Arc::ptr_eq(first, second)));
    }

    #[tokio::test]
    async fn a_late_subscriber_gets_the_drafts_that_its_filter_lets_through() {
        let (ctx, bus) = setup();
        let other = Context::new(ctx.runtime());
        bus.tell(&ctx, [draft(&ctx, Told::Nothing), draft(&other, Told::Nothing)]).await.unwrap();
        let filter = Filter { run: Some(other.run_id()), ..Filter::default() };
        let mut late = bus.subscribe_from(&ctx, 0, filter, 8, Lag::Fail).unwrap();
        assert_eq!(sequences(&mut late), [1]);
        bus.tell(&ctx, [draft(&other, Told::Nothing), draft(&ctx, Told::Nothing)]).await.unwrap();
        assert_eq!(sequences(&mut late), [2]);
        assert_eq!((bus.stats().published, bus.stats().delivered, bus.stats().retained), (4, 1, 4));
    }
}
