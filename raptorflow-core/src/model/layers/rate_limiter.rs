//! `RateLimiter`: one rate for many keys, in memory, with a bound on how many it remembers.

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use indexmap::IndexMap;

use super::rate::{Cell, Rate};
use crate::types::Digest;

/// How many parts the keys are kept in, each with a lock of its own.
const SHARDS: usize = 64;
/// How many keys are remembered by default.
const MAX_KEYS: usize = 1 << 20;
/// Among how many keys the one is sought that gives way.
const CANDIDATES: usize = 8;
/// A longer key is kept as its digest, so that a key has a bound in bytes as well.
const MAX_KEY_BYTES: usize = 64;

/// What a limiter says to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateDecision {
    /// It was counted and may go on.
    Allowed,
    /// It was not counted, and the same call is allowed after this time if nobody else comes;
    /// [`Duration::MAX`] for more calls at once than ever fit.
    After(Duration),
}

/// One [`Rate`] for many keys; cloning shares what is counted.
///
/// It needs no task and no clock of its own: the caller says what time it is, as the time since any fixed point, like
/// [`Clock::elapsed`](crate::runtime::Clock::elapsed).
/// Calls that come with an earlier time than one before them are counted at the later time.
///
/// It remembers at most a million keys by default, in about 200 bytes each.
/// Beyond that the key gives way which, among eight, is nearest to having used up nothing; a key that used much stays,
/// so that a flood of new keys frees nobody.
/// A key that gave way before its time starts anew.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use raptorflow_core::model::{Rate, RateDecision, RateLimiter};
/// let limiter = RateLimiter::new(Rate::new(2, Duration::from_secs(60))?.with_burst(1.0));
/// let now = Duration::from_secs(1);
/// assert_eq!(limiter.check("asha", now), RateDecision::Allowed);
/// assert_eq!(limiter.check("asha", now), RateDecision::Allowed);
/// assert_eq!(limiter.check("asha", now), RateDecision::After(Duration::from_secs(30)));
/// assert_eq!(limiter.check("ravi", now), RateDecision::Allowed);
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone)]
pub struct RateLimiter(Arc<Inner>);

struct Inner {
    rate: Rate,
    hasher: RandomState,
    /// How many keys a shard remembers.
    most: usize,
    shards: Box<[Mutex<Shard>]>,
}

#[derive(Default)]
struct Shard {
    cells: IndexMap<Box<str>, Cell, RandomState>,
    /// Where the next search for a key that gives way begins.
    hand: usize,
}

impl RateLimiter {
    /// Nothing is counted yet.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self::with_max_keys(rate, MAX_KEYS)
    }

    /// Remembers about this many keys, rounded up to a multiple of 64.
    #[must_use]
    pub fn with_max_keys(rate: Rate, keys: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let most = keys.div_ceil(SHARDS).max(1);
        Self(Arc::new(Inner { rate, hasher: RandomState::new(), most, shards }))
    }

    /// The rate.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.0.rate
    }

    /// How many keys it remembers now.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.0.shards.iter().map(|shard| lock(shard).cells.len()).sum()
    }

    /// Counts a call of a key, if the rate allows it.
    #[must_use]
    pub fn check(&self, key: &str, now: Duration) -> RateDecision {
        self.check_many(key, 1, now)
    }

    /// Counts several calls of a key at once, or tokens, if the rate allows all of them.
    #[must_use]
    pub fn check_many(&self, key: &str, calls: u32, now: Duration) -> RateDecision {
        let micros = micros(now);
        let decided = self.with_cell(key, micros, |rate, cell| rate.take(cell, calls, micros));
        match decided {
            Ok(()) => RateDecision::Allowed,
            Err(u64::MAX) => RateDecision::After(Duration::MAX),
            Err(wait) => RateDecision::After(Duration::from_micros(wait)),
        }
    }

    /// Puts right what was counted at an earlier time: so many were used instead.
    pub(super) fn correct(&self, key: &str, (counted, at): (u32, Duration), used: u32, now: Duration) {
        let (at, now) = (micros(at), micros(now));
        self.with_cell(key, now, |rate, cell| {
            if used < counted {
                rate.give_back(cell, counted - used, at);
            } else {
                rate.owe(cell, used - counted, now);
            }
        });
    }

    fn with_cell<T>(&self, key: &str, now: u64, work: impl FnOnce(&Rate, &mut Cell) -> T) -> T {
        if key.len() > MAX_KEY_BYTES {
            return self.with_cell(&Digest::of(key).to_string(), now, work);
        }
        let Inner { rate, hasher, most, shards } = &*self.0;
        #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash do")]
        let number = hasher.hash_one(key) as usize % SHARDS;
        let Some(shard) = shards.get(number) else { return work(rate, &mut Cell::default()) };
        let mut shard = lock(shard);
        if let Some(cell) = shard.cells.get_mut(key) {
            return work(rate, cell);
        }
        if shard.cells.len() >= *most {
            shard.give_way(rate, now);
        }
        work(rate, shard.cells.entry(Box::from(key)).or_default())
    }
}

impl Shard {
    /// Lets a key go: the first that is quiet, or the one that is nearest to it.
    fn give_way(&mut self, rate: &Rate, now: u64) {
        let mut best: Option<(u64, usize)> = None;
        for _ in 0..CANDIDATES.min(self.cells.len()) {
            self.hand = if self.hand + 1 < self.cells.len() { self.hand + 1 } else { 0 };
            let Some((_, cell)) = self.cells.get_index(self.hand) else { continue };
            let quiet = rate.quiet_from(cell);
            if best.is_none_or(|(earliest, _)| quiet < earliest) {
                best = Some((quiet, self.hand));
            }
            if quiet <= now {
                break;
            }
        }
        if let Some((_, position)) = best {
            self.cells.swap_remove_index(position);
        }
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter").field("rate", &self.0.rate).field("keys", &self.keys()).finish()
    }
}

// A std mutex: no await happens while it is held.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn micros(now: Duration) -> u64 {
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}
