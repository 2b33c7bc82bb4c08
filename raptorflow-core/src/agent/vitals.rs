//! How agents do: runs, failures, latency in fixed buckets, and when each was last seen.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    error::ErrorKind,
    model::{Model, ModelRegistry},
    types::Timestamp,
};

/// The upper bounds of the buckets of [`Latency`], in milliseconds; a last bucket has what took longer.
pub const LATENCY_BUCKETS: [u64; 15] =
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000];
/// How many of the last runs say how available an agent is.
const RECENT: u32 = 64;

/// How long runs took that ended with an answer or a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// How many runs fell into each bucket of [`LATENCY_BUCKETS`], the last for those that took longer.
    pub counts: [u64; LATENCY_BUCKETS.len() + 1],
    /// All of them together.
    pub sum: Duration,
    /// The longest.
    pub max: Duration,
}

impl Latency {
    /// How many runs there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The mean; `None` before the first run.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        u32::try_from(self.count()).ok().filter(|count| *count > 0).map(|count| self.sum / count)
    }

    /// A time that this share of the runs did not exceed: the upper bound of its bucket, or the longest run where that is
    /// less; `None` before the first run.
    ///
    /// ```
    /// use raptorflow_core::agent::Latency;
    /// assert_eq!(Latency::default().quantile(0.95), None);
    /// ```
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let wanted = share.clamp(0.0, 1.0) * count as f64;
        let bounds = LATENCY_BUCKETS.iter().map(|bound| Duration::from_millis(*bound)).chain([self.max]);
        let mut seen = 0;
        for (bound, inside) in bounds.zip(self.counts) {
            seen += inside;
            if inside > 0 && seen as f64 >= wanted {
                return Some(bound.min(self.max));
            }
        }
        Some(self.max)
    }

    fn add(&mut self, took: Duration) {
        let place = LATENCY_BUCKETS.iter().position(|bound| took <= Duration::from_millis(*bound));
        if let Some(count) = self.counts.get_mut(place.unwrap_or(LATENCY_BUCKETS.len())) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(took);
        self.max = self.max.max(took);
    }
}

/// How well an agent does, by its last 64 runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Health {
    /// It has not run yet.
    #[default]
    Unknown,
    /// At least 95 of 100 runs gave an answer.
    Healthy,
    /// At least half of them did.
    Degraded,
    /// Fewer did.
    Failing,
}

/// How an agent did in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AgentMetrics {
    /// Runs that began; calls by other agents, teams and workflows count.
    pub runs: u64,
    /// Those that gave an answer, also one that a limit cut short.
    pub ok: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that were cancelled or dropped; they say nothing about the agent.
    pub cancelled: u64,
    /// Those that work now.
    pub working: u64,
    /// How long they took.
    pub latency: Latency,
    /// The share of failures among answers and failures, from 0 to 1; 0 before the first.
    pub error_rate: f64,
    /// The share of answers among the last 64 answers and failures, from 0 to 1; 1 before the first.
    pub availability: f64,
    /// How well it does.
    pub health: Health,
    /// When the last run began.
    pub last_run: Option<Timestamp>,
    /// Its heartbeat: when it last began, recorded a step or ended.
    pub last_seen: Option<Timestamp>,
}

/// What is counted of one agent; cloning shares it.
#[derive(Clone, Debug, Default)]
pub(super) struct Vitals(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    // A std mutex: no await happens while it is held.
    counted: Mutex<Counted>,
    /// The agent's own model and the same one behind the engine's layers, from its last run.
    model: Mutex<Option<(Model, Model)>>,
}

#[derive(Debug, Default)]
struct Counted {
    runs: u64,
    ok: u64,
    failed: u64,
    cancelled: u64,
    latency: Latency,
    /// The last answers and failures, the newest in the lowest bit; a bit is set for a failure.
    recent: u64,
    known: u32,
    last_run: Option<Timestamp>,
    last_seen: Option<Timestamp>,
}

impl Vitals {
    pub(super) fn begin(&self, now: Timestamp) {
        let mut counted = self.counted();
        counted.runs += 1;
        (counted.last_run, counted.last_seen) = (Some(now), Some(now));
    }

    pub(super) fn beat(&self, now: Timestamp) {
        self.counted().last_seen = Some(now);
    }

    /// Counts the end of a run: with an error of a kind, or with an answer.
    pub(super) fn end(&self, now: Timestamp, took: Duration, error: Option<ErrorKind>) {
        let mut counted = self.counted();
        counted.last_seen = Some(now);
        let failed = match error {
            Some(ErrorKind::Cancelled) => {
                counted.cancelled += 1;
                return;
            }
            Some(_) => {
                counted.failed += 1;
                true
            }
            None => {
                counted.ok += 1;
                false
            }
        };
        counted.latency.add(took);
        counted.recent = (counted.recent << 1) | u64::from(failed);
        counted.known = (counted.known + 1).min(RECENT);
    }

    /// The agent's own model behind the layers of an engine, made once for all runs with that model.
    pub(super) fn wrapped(&self, own: &Model, models: &ModelRegistry) -> Model {
        let mut kept = self.0.model.lock().unwrap_or_else(PoisonError::into_inner);
        // Another agent of this name may have run in between: one that nobody registered.
        match &*kept {
            Some((inner, outer)) if inner.place() == own.place() => outer.clone(),
            _ => kept.insert((own.clone(), models.wrap(own.clone()))).1.clone(),
        }
    }

    pub(super) fn metrics(&self) -> AgentMetrics {
        let counted = self.counted();
        let share = |part: u64, all: u64| if all == 0 { 0.0 } else { part as f64 / all as f64 };
        let mask = u64::MAX.checked_shr(RECENT - counted.known).unwrap_or(0);
        let failures = u64::from((counted.recent & mask).count_ones());
        let availability = 1.0 - share(failures, u64::from(counted.known));
        let ended = counted.ok + counted.failed;
        AgentMetrics {
            runs: counted.runs,
            ok: counted.ok,
            failed: counted.failed,
            cancelled: counted.cancelled,
            working: counted.runs.saturating_sub(ended + counted.cancelled),
            latency: counted.latency,
            error_rate: share(counted.failed, ended),
            availability,
            health: match availability {
                _ if counted.known == 0 => Health::Unknown,
                share if share >= 0.95 => Health::Healthy,
                share if share >= 0.5 => Health::Degraded,
                _ => Health::Failing,
            },
            last_run: counted.last_run,
            last_seen: counted.last_seen,
        }
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_micros(7);

    #[test]
    fn latency_has_its_bucket_and_a_quantile_is_a_bound_of_it() {
        let vitals = Vitals::default();
        for millis in [1, 3, 3, 70_000] {
            vitals.begin(AT);
            vitals.end(AT, Duration::from_millis(millis), None);
        }
        let latency = vitals.metrics().latency;
        assert_eq!((latency.counts[0], latency.counts[2], latency.counts[15]), (1, 2, 1));
        let quantile = |share| latency.quantile(share).unwrap().as_millis();
        assert_eq!([0.0, 0.25, 0.5, 0.75, 1.0].map(quantile), [1, 1, 5, 5, 70_000]);
        assert_eq!(latency.mean(), Some(Duration::from_micros(17_501_750)));
    }

    #[test]
    fn health_follows_the_last_64_runs_and_forgets_older_ones() {
        let vitals = Vitals::default();
        let health = |vitals: &Vitals| vitals.metrics().health;
        let end = |error, times| (0..times).for_each(|_| vitals.end(AT, Duration::ZERO, error));
        assert_eq!((health(&vitals), vitals.metrics().availability), (Health::Unknown, 1.0));
        end(Some(ErrorKind::Unavailable), 3);
        assert_eq!((health(&vitals), vitals.metrics().error_rate), (Health::Failing, 1.0));
        end(None, 3);
        assert_eq!(health(&vitals), Health::Degraded);
        end(None, 61);
        assert_eq!((health(&vitals), vitals.metrics().availability), (Health::Healthy, 1.0));
        assert_eq!(vitals.metrics().failed, 3);
    }

    #[test]
    fn a_cancelled_run_is_neither_an_answer_nor_a_failure() {
        let vitals = Vitals::default();
        vitals.begin(AT);
        assert_eq!(vitals.metrics().working, 1);
        vitals.end(AT, Duration::ZERO, Some(ErrorKind::Cancelled));
        let metrics = vitals.metrics();
        assert_eq!((metrics.working, metrics.cancelled, metrics.health), (0, 1, Health::Unknown));
        assert_eq!((metrics.latency.count(), metrics.last_seen), (0, Some(AT)));
    }
}
