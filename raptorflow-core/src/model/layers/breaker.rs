//! `Breaker`: the state machine of a circuit breaker, without input, output or a clock of its own.

use std::{collections::VecDeque, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::timeout::TimeoutConfig;

/// When a breaker opens and closes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BreakerConfig {
    /// How many failures within the window open it; 5 by default, and 0 counts as 1.
    pub failures: u32,
    /// How far back failures count; 300 seconds by default.
    #[serde(rename = "window_seconds", with = "crate::types::seconds")]
    pub window: Duration,
    /// Which share of the calls since the first of those failures they must be; 0.5 by default.
    ///
    /// Without it a busy model opens by the few failures that are usual among thousands of calls.
    pub failure_share: f64,
    /// How long it stays open; 60 seconds by default.
    #[serde(rename = "recovery_seconds", with = "crate::types::seconds")]
    pub recovery: Duration,
    /// How many successes close it again; 3 by default, and 0 counts as 1.
    pub successes: u32,
    /// How many calls may be under way at once while it is half open; 3 by default, and 0 counts as 1.
    pub probes: u32,
    /// A call that takes longer to begin its answer is a failure, also when it succeeds; 30 seconds by default.
    ///
    /// A breaker ends no call; that is for a [`TimeoutLayer`](crate::model::TimeoutLayer).
    /// As data it is 180 seconds where it is left out, as in the standard layers.
    #[serde(rename = "timeout_seconds", default = "patient", with = "crate::types::seconds")]
    pub timeout: Duration,
    /// A success that takes longer to begin is counted as slow; 10 seconds by default.
    #[serde(rename = "slow_call_seconds", with = "crate::types::seconds")]
    pub slow_call: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            failures: 5,
            window: Duration::from_secs(300),
            failure_share: 0.5,
            recovery: Duration::from_secs(60),
            successes: 3,
            probes: 3,
            timeout: Duration::from_secs(30),
            slow_call: Duration::from_secs(10),
        }
    }
}

/// How long the standard layers wait for a first part; models that think first are slow and not broken.
pub(super) fn patient() -> Duration {
    TimeoutConfig::default().first
}

/// What a breaker does with calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// It lets every call through.
    #[default]
    Closed,
    /// It holds every call back.
    Open,
    /// It lets a few calls through, to see whether they succeed.
    HalfOpen,
}

impl BreakerState {
    /// The stable name, in snake case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl fmt::Display for BreakerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Well; `took` is the time until the answer began.
    Success {
        /// The time until the answer began.
        took: Duration,
    },
    /// Badly, and that says something about the other side.
    Failure,
    /// It says nothing about the other side: it was given up, or what was asked was wrong.
    Unknown,
}

/// What [`Breaker::admit`] gives for one call, and [`Breaker::record`] takes back.
///
/// One that is lost is a call that never ends: while the breaker is half open it takes the place of a probe.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit that is not given back takes the place of a probe"]
pub struct Permit {
    epoch: u64,
}

/// Counts since a breaker was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BreakerCounts {
    /// Calls that ended well.
    pub succeeded: u64,
    /// Calls that ended badly.
    pub failed: u64,
    /// Calls that ended well and were slow to begin.
    pub slow: u64,
    /// Calls that were held back.
    pub held_back: u64,
    /// How often it opened.
    pub opened: u64,
}

/// The state machine: it is told the time, asked for permits, and told how calls went.
///
/// Closed, it opens when the last `failures` failures lie within the window and are at least `failure_share` of the
/// calls since the first of them.
/// Open, it holds calls back for `recovery`; the first call after that finds it half open.
/// Half open, it closes after `successes` successes and opens again at the first failure.
/// What a call says that began before the last change of state is counted and changes nothing.
///
/// Times are since any fixed point, like [`Clock::elapsed`](crate::runtime::Clock::elapsed); one that is earlier than a
/// time it knows counts as that one.
/// It takes a few bytes for each of the `failures` it remembers, and nothing for a call under way.
///
/// ```
/// use std::time::Duration;
/// use raptorflow_core::model::{Breaker, BreakerConfig, BreakerState, Verdict};
/// let mut breaker = Breaker::new(BreakerConfig::default());
/// let at = Duration::from_secs;
/// for second in 0..5 {
///     let permit = breaker.admit(at(second)).unwrap();
///     breaker.record(permit, Verdict::Failure, at(second));
/// }
/// assert_eq!(breaker.state(), BreakerState::Open);
/// assert_eq!(breaker.admit(at(10)).unwrap_err(), at(54), "60 seconds after the last failure");
/// let probe = breaker.admit(at(64)).unwrap();
/// assert_eq!(breaker.state(), BreakerState::HalfOpen);
/// breaker.record(probe, Verdict::Success { took: at(1) }, at(65));
/// assert_eq!(breaker.state(), BreakerState::HalfOpen, "one success of three");
/// ```
#[derive(Debug)]
pub struct Breaker {
    config: BreakerConfig,
    phase: Phase,
    /// Which phase this is; a permit knows in which it was given.
    epoch: u64,
    now: Duration,
    counts: BreakerCounts,
}

#[derive(Debug)]
enum Phase {
    Closed {
        /// The newest failures, at most as many as open it: when, and the number of the call.
        failures: VecDeque<(Duration, u64)>,
        calls: u64,
    },
    Open {
        until: Duration,
    },
    HalfOpen {
        under_way: u32,
        successes: u32,
    },
}

impl Phase {
    fn closed() -> Self {
        Self::Closed { failures: VecDeque::new(), calls: 0 }
    }
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            phase: Phase::closed(),
            epoch: 0,
            now: Duration::ZERO,
            counts: BreakerCounts::default(),
        }
    }

    /// What it does with calls; an open one stays open until a call comes after its recovery.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match self.phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Counts since it was made.
    #[must_use]
    pub fn counts(&self) -> BreakerCounts {
        self.counts
    }

    /// Lets a call through.
    ///
    /// # Errors
    /// Holds it back, and says for how long: until the recovery is over, or, where all probes are under way, for as
    /// long as `slow_call`.
    pub fn admit(&mut self, now: Duration) -> Result<Permit, Duration> {
        self.now = self.now.max(now);
        match &mut self.phase {
            Phase::Closed { .. } => {}
            Phase::Open { until } if self.now < *until => {
                self.counts.held_back += 1;
                return Err(until.saturating_sub(self.now));
            }
            Phase::Open { .. } => self.enter(Phase::HalfOpen { under_way: 1, successes: 0 }),
            Phase::HalfOpen { under_way, .. } if *under_way < self.config.probes.max(1) => *under_way += 1,
            Phase::HalfOpen { .. } => {
                self.counts.held_back += 1;
                return Err(self.config.slow_call);
            }
        }
        Ok(Permit { epoch: self.epoch })
    }

    /// Takes a permit back and learns how the call went.
    #[expect(clippy::needless_pass_by_value, reason = "a permit is used up")]
    pub fn record(&mut self, permit: Permit, verdict: Verdict, now: Duration) {
        self.now = self.now.max(now);
        let verdict = self.count(verdict);
        if permit.epoch != self.epoch {
            return;
        }
        match &mut self.phase {
            Phase::Closed { calls, .. } => match verdict {
                Verdict::Success { .. } => *calls += 1,
                Verdict::Failure => self.fail(),
                Verdict::Unknown => {}
            },
            // No permit is given in this phase.
            Phase::Open { .. } => {}
            Phase::HalfOpen { under_way, successes } => {
                *under_way = under_way.saturating_sub(1);
                match verdict {
                    Verdict::Success { .. } => {
                        *successes += 1;
                        if *successes >= self.config.successes {
                            self.enter(Phase::closed());
                        }
                    }
                    Verdict::Failure => self.open(),
                    Verdict::Unknown => {}
                }
            }
        }
    }

    /// Counts a verdict; a success that took too long becomes a failure.
    fn count(&mut self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Success { took } if took <= self.config.timeout => {
                self.counts.succeeded += 1;
                self.counts.slow += u64::from(took > self.config.slow_call);
                verdict
            }
            Verdict::Success { .. } | Verdict::Failure => {
                self.counts.failed += 1;
                Verdict::Failure
            }
            Verdict::Unknown => verdict,
        }
    }

    /// One failure more while it is closed.
    fn fail(&mut self) {
        let Phase::Closed { failures, calls } = &mut self.phase else { return };
        let enough = self.config.failures.max(1) as usize;
        *calls += 1;
        if failures.len() >= enough {
            failures.pop_front();
        }
        failures.push_back((self.now, *calls));
        let Some((first, number)) = failures.front().copied().filter(|_| failures.len() >= enough) else {
            return;
        };
        let within = self.now.saturating_sub(first) < self.config.window;
        #[expect(clippy::cast_precision_loss, reason = "a share of more calls than 2^52 may be a little off")]
        let share = enough as f64 / (*calls - number + 1) as f64;
        if within && share >= self.config.failure_share {
            self.open();
        }
    }

    fn open(&mut self) {
        self.counts.opened += 1;
        self.enter(Phase::Open { until: self.now.saturating_add(self.config.recovery) });
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.epoch += 1;
    }
}
