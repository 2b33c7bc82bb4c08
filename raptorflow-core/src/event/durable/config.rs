//! Settings of durable channels and of groups of consumers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::Backoff,
};

/// Settings of durable channels.
///
/// All processes of a store need the same `segment`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DurableConfig {
    /// How long an event is kept; 7 days by default, and forever when `None`.
    ///
    /// Events go together with the others of their segment, once all of them are older.
    pub retention: Option<Duration>,
    /// How many events a stream of the store holds before the next begins; 4,096 by default.
    pub segment: u64,
    /// How long a wait for events goes on before the store is asked again, where it does not tell by itself; 1 second by
    /// default.
    pub poll: Duration,
}

impl Default for DurableConfig {
    fn default() -> Self {
        let retention = Some(Duration::from_secs(7 * 24 * 60 * 60));
        Self { retention, segment: 4096, poll: Duration::from_secs(1) }
    }
}

impl DurableConfig {
    /// Another retention; forever with `None`.
    #[must_use]
    pub fn with_retention(mut self, retention: Option<Duration>) -> Self {
        self.retention = retention;
        self
    }

    /// Another length of segments.
    #[must_use]
    pub fn with_segment(mut self, segment: u64) -> Self {
        self.segment = segment;
        self
    }

    /// Another time between looks at the store.
    #[must_use]
    pub fn with_poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        at_least_one("segment", self.segment == 0)?;
        at_least_one("poll", self.poll.is_zero())?;
        at_least_one("retention", self.retention.is_some_and(|it| it.is_zero()))
    }
}

/// Where a new group begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// With the oldest event that is kept.
    #[default]
    Oldest,
    /// With the next that is published.
    Newest,
}

/// Settings of a group of consumers; those of the consumer that does something apply to it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct GroupConfig {
    /// How often an event is delivered before it is a dead letter; 5 by default.
    pub attempts: u32,
    /// How long a consumer has an event before it is delivered again; 30 seconds by default.
    pub hold: Duration,
    /// How long an event rests that a consumer gave back.
    pub backoff: Backoff,
    /// How many events are under way in the group at the same time; 1,024 by default.
    pub in_flight: usize,
    /// Where a new group begins.
    pub start: Start,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            attempts: 5,
            hold: Duration::from_secs(30),
            backoff: Backoff::default(),
            in_flight: 1024,
            start: Start::default(),
        }
    }
}

impl GroupConfig {
    /// Another number of deliveries.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Another time that a consumer has.
    #[must_use]
    pub fn with_hold(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    /// Other pauses between deliveries.
    #[must_use]
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Another bound on events under way.
    #[must_use]
    pub fn with_in_flight(mut self, in_flight: usize) -> Self {
        self.in_flight = in_flight;
        self
    }

    /// Another beginning of a new group.
    #[must_use]
    pub fn with_start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        at_least_one("attempts", self.attempts == 0)?;
        at_least_one("hold", self.hold.is_zero())?;
        at_least_one("in_flight", self.in_flight == 0)
    }
}

fn at_least_one(field: &'static str, is_zero: bool) -> Result<()> {
    if !is_zero {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidInput, "event.durable", "nothing could ever be delivered")
        .with("field", field)
        .with("value", 0)
        .with("expected", "more than 0"))
}
