//! `EventBus`, the trait of a backend, and `Bus`, the handle that everybody holds.

use std::{fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::Serialize;

use crate::{
    error::Result,
    event::{Event, Filter, Lag, Subscription},
    runtime::Context,
};

/// Settings of a bus.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BusConfig {
    /// How many events the history keeps; the oldest goes first. 10,000 by default.
    pub history: usize,
    /// How long the history keeps an event; 7 days by default.
    pub retention: Duration,
}

/// A question to the history.
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

/// Publish and subscribe.
///
/// # Contract
/// - `publish` gives each event the next stream sequence, from 0, without gaps.
/// - a subscriber sees the events that match its filter, in stream order, each once.
/// - a full `DropOldest` subscription keeps the newest and says exactly how many it missed.
/// - a full `Fail` subscription ends with `LimitExceeded` after what it holds.
/// - a full `Block` subscription makes `publish` wait, at most its limit, then counts as `Fail`.
/// - a dropped or stalled subscription affects no other.
/// - `history` answers by filter, from an offset, the newest `limit` in stream order.
/// - the history keeps at most its bound and drops the oldest.
/// - `subscribe_from` gives the history from an offset and then live events without gap or double.
#[async_trait]
pub trait EventBus: Debug + Send + Sync + 'static {
    /// Publishes events together, in order.
    async fn publish(&self, ctx: &Context, events: Vec<Event>) -> Result<()>;

    /// Opens a subscription to events from now on.
    fn subscribe(&self, filter: Filter, capacity: usize, lag: Lag) -> Result<Subscription>;

    /// Opens a subscription that first replays the history from a stream sequence.
    fn subscribe_from(&self, from: u64, filter: Filter, capacity: usize, lag: Lag) -> Result<Subscription>;

    /// Events that the history still has.
    fn history(&self, query: &History) -> Vec<Arc<Event>>;

    /// Counts since the bus was made.
    fn stats(&self) -> BusStats;
}

/// The handle to a bus; cloning shares it.
#[derive(Clone, Debug)]
pub struct Bus(Arc<dyn EventBus>);
