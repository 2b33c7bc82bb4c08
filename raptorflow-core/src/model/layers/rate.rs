//! `Rate`: how many calls a time may hold, by three algorithms, and the few numbers that each key needs for it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// Into how many slots a sliding window is cut.
const SLOTS: u64 = 8;
/// The slots of a window, and the one that is only partly inside.
const RING: usize = 9;
/// The largest burst, as a multiple of the limit.
const MAX_BURST: f64 = 16.0;

/// How calls are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateAlgorithm {
    /// A bucket of `limit` times `burst` tokens that fills with `limit` tokens in each `per`: steady in the long run,
    /// and generous to callers who were quiet.
    ///
    /// A time as long as `per` never holds more calls than the bucket and the limit together.
    #[default]
    TokenBucket,
    /// No time as long as `per` ever holds more calls than `limit`, wherever it begins.
    ///
    /// Calls are remembered in eighths of `per`, so that a key takes the same few bytes at any limit; a call makes
    /// room again after `per`, or up to an eighth of it later.
    SlidingWindow,
    /// Each period of `per`, counted from the beginning of time, holds at most `limit` calls; around the end of a
    /// period, a time as long as `per` may hold twice as many.
    FixedWindow,
}

impl RateAlgorithm {
    /// The stable name, in snake case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TokenBucket => "token_bucket",
            Self::SlidingWindow => "sliding_window",
            Self::FixedWindow => "fixed_window",
        }
    }
}

/// How many calls a time may hold.
///
/// ```
/// use std::time::Duration;
/// use raptorflow_core::model::{Rate, RateAlgorithm};
/// let rate = Rate::new(60, Duration::from_secs(60))?.with_burst(2.0);
/// assert_eq!(rate.capacity(), 120, "as many at once, and then one a second");
/// let strict = rate.with_algorithm(RateAlgorithm::SlidingWindow);
/// assert_eq!(strict.capacity(), 60);
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub struct Rate {
    limit: u32,
    /// In microseconds.
    per: u64,
    burst: f64,
    algorithm: RateAlgorithm,
}

/// A rate as data.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    limit: u32,
    #[serde(rename = "per_seconds", with = "crate::types::seconds")]
    per: Duration,
    #[serde(default = "usual_burst")]
    burst: f64,
    #[serde(default)]
    algorithm: RateAlgorithm,
}

fn usual_burst() -> f64 {
    Rate::BURST
}

impl TryFrom<Form> for Rate {
    type Error = Error;

    fn try_from(form: Form) -> Result<Self> {
        Ok(Self::new(form.limit, form.per)?.with_burst(form.burst).with_algorithm(form.algorithm))
    }
}

impl From<Rate> for Form {
    fn from(rate: Rate) -> Self {
        Self { limit: rate.limit, per: rate.per(), burst: rate.burst, algorithm: rate.algorithm }
    }
}

impl Rate {
    /// The burst of a rate that names none.
    pub const BURST: f64 = 1.5;

    /// 100 calls a minute, with a burst of 1.5: for a caller.
    pub const USUAL: Self = Self::minute(100, Self::BURST);
    /// 20 calls a minute, with a burst of 2: for what is asked seldom and then often.
    pub const BURSTY: Self = Self::minute(20, 2.0);
    /// 5 calls in 300 seconds, wherever they begin: for what is guarded.
    pub const GUARDED: Self =
        Self { limit: 5, per: 300_000_000, burst: Self::BURST, algorithm: RateAlgorithm::SlidingWindow };
    /// 10,000 calls a minute, with a burst of 1.5: for everything together.
    pub const TOTAL: Self = Self::minute(10_000, Self::BURST);

    const fn minute(limit: u32, burst: f64) -> Self {
        Self { limit, per: 60_000_000, burst, algorithm: RateAlgorithm::TokenBucket }
    }

    /// `limit` calls in each `per`, by a token bucket with a burst of 1.5.
    ///
    /// # Errors
    /// `InvalidInput` for a limit of 0, for less than a millisecond, and where both are too large for the arithmetic
    /// (a million calls a week are not).
    pub fn new(limit: u32, per: Duration) -> Result<Self> {
        let micros = u64::try_from(per.as_micros()).unwrap_or(u64::MAX);
        // The largest bucket, in the unit of its debt.
        let fits = f64::from(limit) * MAX_BURST * Duration::from_micros(micros).as_secs_f64() * 1e6 < 1.8e19;
        if limit == 0 || micros < 1000 || !fits {
            let message =
                "expected at least one call in at least a millisecond, and not too many in too long";
            return Err(Error::new(ErrorKind::InvalidInput, "model.rate", message)
                .with("limit", limit)
                .with("per_ms", per.as_millis()));
        }
        Ok(Self { limit, per: micros, burst: Self::BURST, algorithm: RateAlgorithm::TokenBucket })
    }

    /// How much more than the limit a token bucket holds, 1 to 16; windows have no burst.
    #[must_use]
    pub fn with_burst(mut self, burst: f64) -> Self {
        self.burst = if burst.is_nan() { 1.0 } else { burst.clamp(1.0, MAX_BURST) };
        self
    }

    /// Another way to count.
    #[must_use]
    pub fn with_algorithm(mut self, algorithm: RateAlgorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// How calls are counted.
    #[must_use]
    pub fn algorithm(&self) -> RateAlgorithm {
        self.algorithm
    }

    /// How many calls a time may hold.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// The time.
    #[must_use]
    pub fn per(&self) -> Duration {
        Duration::from_micros(self.per)
    }

    /// How much more than the limit a token bucket holds.
    #[must_use]
    pub fn burst(&self) -> f64 {
        self.burst
    }

    /// How many calls are allowed at once after a quiet time.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        match self.algorithm {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "at most 16 times a u32"
            )]
            RateAlgorithm::TokenBucket => (f64::from(self.limit) * self.burst) as u64,
            RateAlgorithm::SlidingWindow | RateAlgorithm::FixedWindow => u64::from(self.limit),
        }
    }

    /// The length of a slot, so that all slots together are no shorter than the window.
    fn slot(&self) -> u64 {
        self.per.div_ceil(SLOTS)
    }

    /// When the window has left a slot behind.
    fn left_behind(&self, slot: u64) -> u64 {
        slot.saturating_add(SLOTS + 1).saturating_mul(self.slot())
    }

    /// Counts `calls` at once at a time in microseconds.
    ///
    /// # Errors
    /// How many microseconds to wait; `u64::MAX` when it never fits. Nothing was counted then.
    pub(super) fn take(&self, cell: &mut Cell, calls: u32, now: u64) -> Result<(), u64> {
        if u64::from(calls) > self.capacity() {
            return Err(u64::MAX);
        }
        match self.algorithm {
            RateAlgorithm::TokenBucket => self.take_tokens(cell, calls, now),
            RateAlgorithm::SlidingWindow => self.take_slot(cell, calls, now),
            RateAlgorithm::FixedWindow => self.take_period(cell, calls, now),
        }
    }

    /// What was taken at a time and not used; nothing where that time is over for the cell.
    pub(super) fn give_back(&self, cell: &mut Cell, calls: u32, at: u64) {
        match self.algorithm {
            RateAlgorithm::TokenBucket => cell.debt = cell.debt.saturating_sub(u64::from(calls) * self.per),
            RateAlgorithm::SlidingWindow => {
                let slot = (at / self.slot()).min(cell.at);
                if cell.at - slot < RING as u64 {
                    let count = cell.count(slot);
                    *count = count.saturating_sub(calls);
                }
            }
            RateAlgorithm::FixedWindow if at / self.per >= cell.at => {
                cell.debt = cell.debt.saturating_sub(u64::from(calls));
            }
            RateAlgorithm::FixedWindow => {}
        }
    }

    /// What was used beyond what was taken; it may be more than the rate allows, and then others wait for longer.
    pub(super) fn owe(&self, cell: &mut Cell, calls: u32, now: u64) {
        match self.algorithm {
            RateAlgorithm::TokenBucket => {
                // Else the quiet time before would pay for what is only known now.
                self.pay(cell, now);
                cell.debt = cell.debt.saturating_add(u64::from(calls).saturating_mul(self.per));
            }
            RateAlgorithm::SlidingWindow => {
                let slot = self.turn_to(cell, now);
                let count = cell.count(slot);
                *count = count.saturating_add(calls);
            }
            RateAlgorithm::FixedWindow => {
                if now / self.per > cell.at {
                    (cell.at, cell.debt) = (now / self.per, 0);
                }
                cell.debt = cell.debt.saturating_add(u64::from(calls));
            }
        }
    }

    /// Turns the slots of a window to a time and gives the slot of it.
    fn turn_to(&self, cell: &mut Cell, now: u64) -> u64 {
        let slot = (now / self.slot()).max(cell.at);
        for passed in (cell.at + 1..=slot).rev().take(RING) {
            *cell.count(passed) = 0;
        }
        cell.at = slot;
        slot
    }

    /// From when on the cell is as good as a new one, in microseconds.
    pub(super) fn quiet_from(&self, cell: &Cell) -> u64 {
        match self.algorithm {
            RateAlgorithm::TokenBucket => cell.at.saturating_add(cell.debt.div_ceil(u64::from(self.limit))),
            RateAlgorithm::SlidingWindow => self.left_behind(cell.at),
            RateAlgorithm::FixedWindow => cell.at.saturating_add(1).saturating_mul(self.per),
        }
    }

    // A token costs `per`, and each microsecond pays `limit`: whole numbers, so that nothing drifts.
    fn pay(&self, cell: &mut Cell, now: u64) {
        let passed = now.saturating_sub(cell.at);
        cell.debt = cell.debt.saturating_sub(passed.saturating_mul(u64::from(self.limit)));
        cell.at = cell.at.max(now);
    }

    fn take_tokens(&self, cell: &mut Cell, calls: u32, now: u64) -> Result<(), u64> {
        self.pay(cell, now);
        let limit = u64::from(self.limit);
        let debt = cell.debt.saturating_add(u64::from(calls) * self.per);
        let most = self.capacity() * self.per;
        if debt > most {
            return Err((debt - most).div_ceil(limit));
        }
        cell.debt = debt;
        Ok(())
    }

    fn take_slot(&self, cell: &mut Cell, calls: u32, now: u64) -> Result<(), u64> {
        let slot = self.turn_to(cell, now);
        let held: u64 = cell.slots.iter().map(|count| u64::from(*count)).sum();
        let most = u64::from(self.limit);
        if held + u64::from(calls) <= most {
            *cell.count(slot) += calls;
            return Ok(());
        }
        // The oldest slots make room one by one, each when the window has left it behind.
        let mut missing = held + u64::from(calls) - most;
        for age in (0..=SLOTS).rev() {
            let Some(old) = slot.checked_sub(age) else { continue };
            missing = missing.saturating_sub(u64::from(*cell.count(old)));
            if missing == 0 {
                return Err(self.left_behind(old).saturating_sub(now));
            }
        }
        Err(u64::MAX)
    }

    fn take_period(&self, cell: &mut Cell, calls: u32, now: u64) -> Result<(), u64> {
        let period = now / self.per;
        if period > cell.at {
            (cell.at, cell.debt) = (period, 0);
        }
        if cell.debt.saturating_add(u64::from(calls)) > u64::from(self.limit) {
            return Err(self.quiet_from(cell).saturating_sub(now));
        }
        cell.debt += u64::from(calls);
        Ok(())
    }
}

/// What a key has used up: 56 bytes for any rate.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    /// The newest time, slot or period that it knows.
    at: u64,
    /// What a bucket lacks, or what a period holds.
    debt: u64,
    slots: [u32; RING],
}

impl Cell {
    fn count(&mut self, slot: u64) -> &mut u32 {
        let [first, rest @ ..] = &mut self.slots;
        // The remainder is below 9, so that the position exists.
        match (slot % RING as u64) as usize {
            0 => first,
            position => rest.get_mut(position - 1).unwrap_or(first),
        }
    }
}
