//! `RateStore`: where rates are counted, in this process or in a place that many processes share.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use super::{
    rate::Rate,
    rate_limiter::{RateDecision, RateLimiter},
};
use crate::{error::Result, runtime::Context};

/// The operation of errors of stores.
pub(super) const OPERATION: &str = "model.rate_store";

/// One counter, and how many calls it is to count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateCount<'a> {
    /// The rule; equal keys of two rules are two counters, and a rule always has the same rate.
    pub rule: &'a str,
    /// Who or what is counted.
    pub key: &'a str,
    /// How many are allowed.
    pub rate: Rate,
    /// How many calls or tokens.
    pub calls: u32,
}

/// What a store says to a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateAnswer {
    /// When it was decided, on the store's own clock.
    pub at: Duration,
    /// The position of the first counter that refuses, and how long it asks to wait; [`Duration::MAX`] for more calls
    /// at once than ever fit. Nothing was counted then.
    pub refused: Option<(usize, Duration)>,
}

/// Where rates are counted.
///
/// A store has a clock of its own, which is the same for all who count there; only differences of its times mean
/// something.
///
/// # Contract
/// - An answer is what the rate allows at the time of the answer.
/// - However many ask at once, through however many clients, no time holds more calls than its rate allows.
/// - A check of several counters counts on all or on none.
/// - Keys and rules are counted apart.
/// - Clients of one place share what is counted.
/// - What was counted and not used is free again.
/// - What was used beyond what was counted makes others wait, also when the counter was quiet before.
/// - More calls at once than ever fit are refused for ever and count nothing.
/// - A context that is over ends a check before it counts.
/// - Times of answers do not go back.
#[async_trait]
pub trait RateStore: fmt::Debug + Send + Sync + 'static {
    /// Counts on every counter, or on none when one of them refuses.
    ///
    /// # Errors
    /// `Cancelled` and `Timeout` by the context; `Unavailable` and others when the place cannot be asked. Whether it was
    /// counted is unknown then.
    async fn take(&self, ctx: &Context, counts: &[RateCount<'_>]) -> Result<RateAnswer>;

    /// Puts right what was counted by an earlier [`RateStore::take`] that was answered at `at`: on each counter so many
    /// were used instead.
    ///
    /// # Errors
    /// As [`RateStore::take`].
    async fn correct(&self, ctx: &Context, at: Duration, counts: &[RateCount<'_>], used: u32) -> Result<()>;
}

/// Counts in this process, by the clock of the context's runtime; cloning shares what is counted.
///
/// Each rule remembers at most as many keys as a [`RateLimiter`].
/// Engines of one process that are to share their rates are given clones of one store.
///
/// # Examples
/// ```
/// use std::{sync::Arc, time::Duration};
/// use raptorflow_core::{Result, runtime::{Context, Runtime}};
/// use raptorflow_core::model::{MemoryRates, Rate, RateCount, RateStore as _};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let (rates, ctx) = (MemoryRates::default(), Context::new(&Runtime::current()?));
/// let rate = Rate::new(1, Duration::from_secs(60))?.with_burst(1.0);
/// let count = RateCount { rule: "user", key: "asha", rate, calls: 1 };
/// assert!(rates.take(&ctx, &[count]).await?.refused.is_none());
/// assert!(rates.clone().take(&ctx, &[count]).await?.refused.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryRates(Arc<Mutex<HashMap<Box<str>, RateLimiter>>>);

impl MemoryRates {
    // A std mutex: no await happens while it is held.
    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, RateLimiter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl RateStore for MemoryRates {
    async fn take(&self, ctx: &Context, counts: &[RateCount<'_>]) -> Result<RateAnswer> {
        // One after another, so that times are in order and a check that is refused was never seen by others.
        ctx.bound(OPERATION, async {}).await?;
        let mut rules = self.lock();
        let at = ctx.runtime().clock().elapsed();
        for (position, count) in counts.iter().enumerate() {
            if let RateDecision::After(wait) = of(&mut rules, count).check_many(count.key, count.calls, at) {
                for count in counts.iter().take(position) {
                    of(&mut rules, count).correct(count.key, (count.calls, at), 0, at);
                }
                return Ok(RateAnswer { at, refused: Some((position, wait)) });
            }
        }
        Ok(RateAnswer { at, refused: None })
    }

    async fn correct(&self, ctx: &Context, at: Duration, counts: &[RateCount<'_>], used: u32) -> Result<()> {
        ctx.bound(OPERATION, async {}).await?;
        let mut rules = self.lock();
        let now = ctx.runtime().clock().elapsed();
        for count in counts {
            of(&mut rules, count).correct(count.key, (count.calls, at), used, now);
        }
        Ok(())
    }
}

fn of<'a>(rules: &'a mut HashMap<Box<str>, RateLimiter>, count: &RateCount<'_>) -> &'a RateLimiter {
    rules.entry(Box::from(count.rule)).or_insert_with(|| RateLimiter::new(count.rate))
}
