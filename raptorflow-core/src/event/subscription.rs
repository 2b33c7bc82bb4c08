//! `Subscription`: a bounded stream of events that says what happens when it is full.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{self, Poll, Waker},
    time::Duration,
};

use futures_util::Stream;
use tokio::sync::Notify;

use crate::{
    error::{Error, ErrorKind, Result},
    event::Event,
    runtime::Context,
};

/// What happens when a subscription is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lag {
    /// Publishing waits for room, at most this long; then the subscription ends as with [`Lag::Fail`].
    Block {
        /// The longest wait.
        at_most: Duration,
    },
    /// The oldest event makes room, and the subscriber learns how many it missed.
    DropOldest,
    /// The subscription ends with `LimitExceeded` after what it holds.
    Fail,
}

/// What a subscription yields.
#[derive(Clone, Debug, PartialEq)]
pub enum Received {
    /// An event.
    Event(Arc<Event>),
    /// So many events were missed at this place.
    Missed(u64),
}

impl Received {
    /// The event, if it is one.
    #[must_use]
    pub fn into_event(self) -> Option<Arc<Event>> {
        match self {
            Self::Event(event) => Some(event),
            Self::Missed(_) => None,
        }
    }
}

/// Events as they come, in stream order; dropping it unsubscribes.
///
/// As a [`Stream`] it yields `Result<Received>` and ends when the bus is gone or after an error.
///
/// # Cancellation
/// Every wait may be dropped at any time; nothing is lost.
///
/// # Examples
/// ```
/// use raptorflow_core::event::{Bus, BusConfig, Event, EventKind, Filter, Lag, Received};
/// use raptorflow_core::runtime::{Context, Runtime};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let ctx = Context::new(&Runtime::current()?);
/// let bus = Bus::local(BusConfig::default());
/// let mut slow = bus.subscribe(Filter::default(), 1, Lag::DropOldest)?;
/// for _ in 0..3 {
///     bus.publish(&ctx, Event::new(&ctx, EventKind::MetricRecorded)).await?;
/// }
/// let received = slow.recv_many(10).await?;
/// assert_eq!(received[0], Received::Missed(2));
/// assert!(matches!(&received[1], Received::Event(event) if event.sequence == 2));
/// # Ok(())
/// # }
/// ```
pub struct Subscription {
    replay: VecDeque<Received>,
    queue: Arc<Queue>,
    on_drop: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Subscription {
    /// A subscription of a backend and the end that feeds it.
    ///
    /// `replay` comes first and does not count against `capacity`; `on_drop` runs when the subscription goes.
    ///
    /// # Errors
    /// `InvalidInput` when `capacity` is 0.
    pub fn pair(
        capacity: usize,
        lag: Lag,
        replay: VecDeque<Received>,
        on_drop: impl FnOnce() + Send + Sync + 'static,
    ) -> Result<(Feed, Self)> {
        if capacity == 0 {
            return Err(Error::new(ErrorKind::InvalidInput, "event.subscribe", "expected room for an event")
                .with("field", "capacity")
                .with("value", capacity));
        }
        let queue =
            Arc::new(Queue { capacity, lag, state: Mutex::new(State::default()), space: Notify::new() });
        let feed = Feed(Arc::clone(&queue));
        Ok((feed, Self { replay, queue, on_drop: Some(Box::new(on_drop)) }))
    }

    /// Waits for the next event; `None` when the bus is gone.
    ///
    /// # Errors
    /// `LimitExceeded`, once, when the subscription was full and ended because of it.
    pub async fn recv(&mut self) -> Result<Option<Received>> {
        poll_fn(|cx| self.poll(Some(cx.waker()))).await.transpose()
    }

    /// The next event if there is one now.
    ///
    /// # Errors
    /// As [`Subscription::recv`].
    pub fn try_recv(&mut self) -> Result<Option<Received>> {
        match self.poll(None) {
            Poll::Ready(next) => next.transpose(),
            Poll::Pending => Ok(None),
        }
    }

    /// Waits for at least one event and takes at most `max` that are there; empty when the bus is gone.
    ///
    /// # Errors
    /// As [`Subscription::recv`]; what came before the error is given first.
    pub async fn recv_many(&mut self, max: usize) -> Result<Vec<Received>> {
        let mut batch: Vec<Received> = self.recv().await?.into_iter().collect();
        while !batch.is_empty() && batch.len() < max && self.replay.len() + self.queue.lock().ready() > 0 {
            batch.extend(self.try_recv()?);
        }
        Ok(batch)
    }

    fn poll(&mut self, waker: Option<&Waker>) -> Poll<Option<Result<Received>>> {
        match self.replay.pop_front() {
            Some(received) => Poll::Ready(Some(Ok(received))),
            None => self.queue.poll(waker),
        }
    }
}

impl Stream for Subscription {
    type Item = Result<Received>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(Some(cx.waker()))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let held = {
            let mut state = self.queue.lock();
            state.end = Some(End::Closed);
            std::mem::take(&mut state.items)
        };
        drop(held);
        self.queue.space.notify_waiters();
        if let Some(on_drop) = self.on_drop.take() {
            on_drop();
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("capacity", &self.queue.capacity)
            .field("lag", &self.queue.lag)
            .field("held", &(self.replay.len() + self.queue.lock().items.len()))
            .finish_non_exhaustive()
    }
}

/// The end of a subscription that a backend puts events into; dropping it ends the subscription.
#[derive(Debug)]
pub struct Feed(Arc<Queue>);

/// What became of an event that was put into a subscription.
#[derive(Debug)]
pub enum Offer {
    /// It is in.
    Taken,
    /// It is in, and the oldest one is out.
    Replaced,
    /// It is in beyond the capacity; await [`Room::made`].
    Full(Room),
    /// The subscription was full and has ended; so many events were lost, this one included.
    Failed(u64),
    /// The subscription has ended before.
    Closed,
}

impl Feed {
    /// Puts an event in without waiting and wakes the subscriber.
    pub fn push(&self, event: &Arc<Event>) -> Offer {
        let mut wakers = Vec::new();
        let offer = self.offer(event, &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        offer
    }

    /// Puts an event in and leaves waking to the caller, who may hold a lock.
    pub(super) fn offer(&self, event: &Arc<Event>, wakers: &mut Vec<Waker>) -> Offer {
        let Queue { capacity, lag, .. } = *self.0;
        let mut state = self.0.lock();
        if state.end.is_some() {
            return Offer::Closed;
        }
        wakers.extend(state.waker.take());
        if state.items.len() < capacity {
            state.items.push_back(Arc::clone(event));
            return Offer::Taken;
        }
        match lag {
            Lag::DropOldest => {
                state.items.pop_front();
                state.missed += 1;
                state.items.push_back(Arc::clone(event));
                Offer::Replaced
            }
            // Publishers that were dropped while they waited leave their events behind; this bounds them.
            Lag::Block { at_most } if state.items.len() < capacity.saturating_mul(2) + state.waiting => {
                state.items.push_back(Arc::clone(event));
                state.waiting += 1;
                let place = state.taken + state.items.len() as u64;
                Offer::Full(Room { queue: Arc::clone(&self.0), place, at_most })
            }
            Lag::Block { .. } | Lag::Fail => Offer::Failed(1 + state.overflow(capacity)),
        }
    }

    /// Whether the subscription still takes events.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.lock().end.is_none()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let waker = {
            let mut state = self.0.lock();
            state.end.get_or_insert(End::Closed);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The wait of a publisher for room in a full [`Lag::Block`] subscription.
#[derive(Debug)]
pub struct Room {
    queue: Arc<Queue>,
    place: u64,
    at_most: Duration,
}

impl Room {
    /// Waits for room, at most the subscription's limit; returns how many events it lost when it ran out.
    ///
    /// # Cancellation
    /// The event stays delivered; a cancelled context ends only the wait.
    pub async fn made(self, ctx: &Context) -> u64 {
        let sleep = ctx.runtime().clock().sleep(self.at_most);
        tokio::select! {
            biased;
            () = self.wait() => 0,
            () = ctx.cancel().cancelled() => 0,
            () = sleep => self.queue.overflow(),
        }
    }

    async fn wait(&self) {
        loop {
            let mut room = std::pin::pin!(self.queue.space.notified());
            room.as_mut().enable();
            {
                let state = self.queue.lock();
                if state.end.is_some() || self.place <= state.taken + self.queue.capacity as u64 {
                    return;
                }
            }
            room.await;
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.queue.lock().waiting -= 1;
    }
}

#[derive(Debug)]
struct Queue {
    capacity: usize,
    lag: Lag,
    // A std mutex: no await and no waker's code runs while it is held.
    state: Mutex<State>,
    space: Notify,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Arc<Event>>,
    /// Events that went out of `items` to the subscriber.
    taken: u64,
    missed: u64,
    /// Publishers that wait for room.
    waiting: usize,
    end: Option<End>,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Overflow,
    Closed,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(&self, waker: Option<&Waker>) -> Poll<Option<Result<Received>>> {
        let mut state = self.lock();
        if state.missed > 0 {
            return Poll::Ready(Some(Ok(Received::Missed(std::mem::take(&mut state.missed)))));
        }
        if let Some(event) = state.items.pop_front() {
            state.taken += 1;
            let waiting = state.waiting > 0;
            drop(state);
            if waiting {
                self.space.notify_waiters();
            }
            return Poll::Ready(Some(Ok(Received::Event(event))));
        }
        match state.end {
            Some(End::Closed) => Poll::Ready(None),
            Some(End::Overflow) => {
                state.end = Some(End::Closed);
                Poll::Ready(Some(Err(self.overflowed())))
            }
            None => {
                if let Some(waker) = waker {
                    state.waker = Some(waker.clone());
                }
                Poll::Pending
            }
        }
    }

    fn overflow(&self) -> u64 {
        let (lost, waker) = {
            let mut state = self.lock();
            if state.end.is_some() {
                return 0;
            }
            (state.overflow(self.capacity), state.waker.take())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        self.space.notify_waiters();
        lost
    }

    fn overflowed(&self) -> Error {
        Error::new(ErrorKind::LimitExceeded, "event.recv", "the subscription was full and has ended")
            .with("capacity", self.capacity)
    }
}

impl State {
    /// How many things a receiver can take without waiting, an error not counted.
    fn ready(&self) -> usize {
        self.items.len() + usize::from(self.missed > 0)
    }

    /// Ends the subscription after the events that fit; returns how many did not.
    fn overflow(&mut self, capacity: usize) -> u64 {
        let lost = self.items.len().saturating_sub(capacity) as u64;
        self.items.truncate(capacity);
        self.end = Some(End::Overflow);
        lost
    }
}
