//! `ManualClock`: time that moves only when a test says so.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{self, Poll, Waker},
    time::Duration,
};

use crate::{runtime::Clock, types::Timestamp};

/// A clock that stands still until [`ManualClock::advance`]; cloning shares it.
///
/// ```
/// use raptorflow_core::{runtime::Clock, testing::ManualClock};
/// use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let clock = ManualClock::new();
/// let sleep = clock.sleep(Duration::from_secs(3600));
/// clock.advance(Duration::from_secs(3600));
/// sleep.await;
/// # }
/// ```
#[derive(Clone)]
pub struct ManualClock(Arc<Mutex<State>>);

struct State {
    start: Timestamp,
    elapsed: Duration,
    /// Who sleeps, by number, until what `elapsed`.
    sleepers: BTreeMap<u64, (Duration, Waker)>,
    next: u64,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl ManualClock {
    /// Starts at 2026-01-01T00:00:00Z.
    #[must_use]
    pub fn new() -> Self {
        Self::starting_at(Timestamp::from_micros(1_767_225_600_000_000))
    }

    /// Starts at a given time.
    #[must_use]
    pub fn starting_at(start: Timestamp) -> Self {
        let state = State { start, elapsed: Duration::ZERO, sleepers: BTreeMap::new(), next: 0 };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Moves the time on and wakes whoever slept until then.
    pub fn advance(&self, by: Duration) {
        let due: Vec<Waker> = {
            let mut state = self.lock();
            state.elapsed = state.elapsed.saturating_add(by);
            let elapsed = state.elapsed;
            let due = state.sleepers.extract_if(.., |_, (until, _)| *until <= elapsed);
            due.map(|(_, (_, waker))| waker).collect()
        };
        due.into_iter().for_each(Waker::wake);
    }

    /// Sets the time of day, as an administrator does; who sleeps, sleeps as long as before.
    pub fn jump_to(&self, now: Timestamp) {
        let mut state = self.lock();
        let elapsed = i64::try_from(state.elapsed.as_micros()).unwrap_or(i64::MAX);
        state.start = Timestamp::from_micros(now.as_micros().saturating_sub(elapsed));
    }

    /// How many sleep now; a test waits for it before it moves the time.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.lock().sleepers.len()
    }

    // A std mutex: no await happens while it is held.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let state = self.lock();
        state.start.plus(state.elapsed)
    }

    fn elapsed(&self) -> Duration {
        self.lock().elapsed
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        let mut state = self.lock();
        let until = state.elapsed.saturating_add(duration);
        state.next += 1;
        Box::pin(Sleep { clock: self.clone(), number: state.next, until })
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock").field("now", &self.now()).field("sleepers", &self.sleepers()).finish()
    }
}

struct Sleep {
    clock: ManualClock,
    number: u64,
    until: Duration,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let mut state = self.clock.lock();
        if state.elapsed >= self.until {
            return Poll::Ready(());
        }
        state.sleepers.insert(self.number, (self.until, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.lock().sleepers.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn time_moves_only_when_told_and_wakes_who_is_due() {
        let clock = ManualClock::new();
        let mut short = clock.sleep(Duration::from_secs(1));
        let mut long = clock.sleep(Duration::from_secs(5));
        assert!(poll!(&mut short).is_pending() && poll!(&mut long).is_pending());
        assert_eq!(clock.sleepers(), 2);

        clock.advance(Duration::from_secs(1));
        assert!(poll!(&mut short).is_ready() && poll!(&mut long).is_pending());
        assert_eq!(clock.now().to_string(), "2026-01-01T00:00:01Z");

        drop(long);
        assert_eq!(clock.sleepers(), 0);
    }
}
