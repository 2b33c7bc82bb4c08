//! `Ids`: makes version 7 UUIDs that strictly increase within one generator.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use uuid::Uuid;

use crate::{
    runtime::Clock,
    types::{EventId, RunId, Timestamp},
};

/// Makes the ids of runs and events; cloning shares the generator.
///
/// Within one millisecond (and when the clock goes back) the 74 bits behind the time count up from a random
/// start (RFC 9562, section 6.2, method 2), so that ids of one generator never repeat and sort by birth.
///
/// ```
/// use std::sync::Arc;
/// use raptorflow_core::runtime::{Ids, SystemClock};
/// let ids = Ids::new(Arc::new(SystemClock::default()));
/// assert!(ids.event() < ids.event());
/// ```
#[derive(Clone)]
pub struct Ids(Arc<Mutex<State>>);

struct State {
    clock: Arc<dyn Clock>,
    random: fastrand::Rng,
    millis: u64,
    tail: u128,
}

/// The random bits of a version 7 UUID, with the version and variant bits left out.
const TAIL_BITS: u32 = 74;
/// How far the counter may step: enough that ids of two processes stay unguessable neighbors.
const STEP_BITS: u32 = 32;

impl Ids {
    /// A generator over a clock, seeded from the system's entropy.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_random(clock, fastrand::Rng::new())
    }

    /// A generator with a given seed; for tests that want the same ids each time.
    #[must_use]
    pub fn seeded(clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self::with_random(clock, fastrand::Rng::with_seed(seed))
    }

    fn with_random(clock: Arc<dyn Clock>, random: fastrand::Rng) -> Self {
        Self(Arc::new(Mutex::new(State { clock, random, millis: 0, tail: 0 })))
    }

    /// A new run id.
    #[must_use]
    pub fn run(&self) -> RunId {
        RunId::from_uuid(self.next(None))
    }

    /// A new event id.
    #[must_use]
    pub fn event(&self) -> EventId {
        EventId::from_uuid(self.next(None))
    }

    /// A new event id for a time of day that the caller has just read; spares a look at the clock.
    #[must_use]
    pub fn event_at(&self, now: Timestamp) -> EventId {
        EventId::from_uuid(self.next(Some(now)))
    }

    /// A number from 0 to 1, for jitter.
    #[must_use]
    pub fn unit(&self) -> f64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).random.f64()
    }

    fn next(&self, now: Option<Timestamp>) -> Uuid {
        // A std mutex: no await happens while it is held.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now.unwrap_or_else(|| state.clock.now()).as_millis();
        if now > state.millis {
            // The top bit stays free, so that counting within a millisecond cannot overflow.
            state.millis = now;
            state.tail = state.random.u128(..) >> (128 - TAIL_BITS + 1);
        } else {
            let step = 1 + u128::from(state.random.u64(..) >> (64 - STEP_BITS));
            state.tail += step;
            if state.tail >> TAIL_BITS != 0 {
                state.millis += 1;
                state.tail = state.random.u128(..) >> (128 - TAIL_BITS + 1);
            }
        }
        let high = (u128::from(state.millis) << 80) | (0x7 << 76) | ((state.tail >> 62) << 64);
        Uuid::from_u128(high | (0b10 << 62) | (state.tail & ((1 << 62) - 1)))
    }
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ids")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::SystemClock;

    #[test]
    fn ids_strictly_increase_and_are_version_seven() {
        let ids = Ids::new(Arc::new(SystemClock::default()));
        let mut last = ids.event();
        for _ in 0..100_000 {
            let next = ids.event();
            assert!(next > last);
            assert_eq!(next.as_uuid().get_version_num(), 7);
            assert_eq!(next.as_uuid().get_variant(), uuid::Variant::RFC4122);
            last = next;
        }
    }
}
