//! `Backoff`: pure delay arithmetic shared by every retry.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Exponential delays with full-range jitter, bounded by a maximum.
///
/// The delay before attempt n + 1 is `base * factor^(n - 1)`, at most `max`, times a random share of
/// `1 - jitter ..= 1`.
///
/// ```
/// use raptorflow_core::runtime::Backoff;
/// use std::time::Duration;
/// let backoff = Backoff { base: Duration::from_secs(1), factor: 2, max: Duration::from_secs(5), jitter: 0.5 };
/// assert_eq!(backoff.delay(1, 1.0), Duration::from_secs(1));
/// assert_eq!(backoff.delay(3, 1.0), Duration::from_secs(4));
/// assert_eq!(backoff.delay(9, 0.0), Duration::from_millis(2500));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backoff {
    /// The delay before the second attempt.
    pub base: Duration,
    /// By what the delay grows each time.
    pub factor: u32,
    /// The longest delay.
    pub max: Duration,
    /// The random share of the delay, 0 to 1.
    pub jitter: f64,
}

impl Default for Backoff {
    /// 500 ms, doubled each time up to 30 s, half of it random.
    fn default() -> Self {
        Self { base: Duration::from_millis(500), factor: 2, max: Duration::from_secs(30), jitter: 0.5 }
    }
}

impl Backoff {
    /// The delay after `failures` failed attempts (from 1); `random` is a number from 0 to 1.
    #[must_use]
    pub fn delay(&self, failures: u32, random: f64) -> Duration {
        let growth = self.factor.saturating_pow(failures.saturating_sub(1));
        let full = self.base.saturating_mul(growth).min(self.max);
        let share = 1.0 - self.jitter.clamp(0.0, 1.0) * (1.0 - random.clamp(0.0, 1.0));
        full.mul_f64(share)
    }
}
