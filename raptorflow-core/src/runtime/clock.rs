//! `Clock`: the only place that reads the time.

use std::{
    fmt::Debug,
    future::Future,
    pin::Pin,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::types::Timestamp;

/// A source of time that tests replace.
///
/// # Contract
/// - `elapsed` never goes back.
/// - `sleep` ends when `elapsed` has grown by the duration.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time of day; it may jump.
    fn now(&self) -> Timestamp;

    /// Time since some fixed point; for measuring.
    fn elapsed(&self) -> Duration;

    /// Waits; dropping the future ends the wait and leaves nothing behind.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>>;
}

/// The clock of the machine.
///
/// ```
/// use raptorflow_core::runtime::{Clock, SystemClock};
/// let clock = SystemClock::default();
/// let before = clock.elapsed();
/// assert!(clock.elapsed() >= before);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        Box::pin(tokio::time::sleep(duration))
    }
}
