//! The breaker beside a small model of it that remembers everything, over a million random traces.

use std::time::Duration;

use crate::model::{Breaker, BreakerConfig, BreakerState, Permit, Verdict};

/// What a breaker is in words: every call since the last change, every permit that is out.
#[derive(Default)]
struct Plain {
    config: BreakerConfig,
    state: BreakerState,
    /// When it opened.
    opened: u64,
    /// How many states there were before this one.
    age: usize,
    /// When each call of this state ended, and whether it failed.
    ended: Vec<(u64, bool)>,
    /// In which state each permit was given that is out.
    out: Vec<usize>,
}

impl Plain {
    fn begin(&mut self, config: BreakerConfig) {
        (self.config, self.age) = (config, 0);
        self.become_(BreakerState::Closed, 0);
        self.out.clear();
    }

    fn become_(&mut self, state: BreakerState, now: u64) {
        (self.state, self.opened, self.age) = (state, now, self.age + 1);
        self.ended.clear();
    }

    fn admit(&mut self, now: u64) -> bool {
        if self.state == BreakerState::Open && now - self.opened >= self.config.recovery.as_secs() {
            self.become_(BreakerState::HalfOpen, now);
        }
        let probing = self.out.iter().filter(|age| **age == self.age).count();
        let admitted = match self.state {
            BreakerState::Closed => true,
            BreakerState::Open => false,
            BreakerState::HalfOpen => probing < self.config.probes as usize,
        };
        if admitted {
            self.out.push(self.age);
        }
        admitted
    }

    fn end(&mut self, permit: usize, failed: Option<bool>, now: u64) {
        let current = self.out.swap_remove(permit) == self.age;
        let Some(failed) = failed.filter(|_| current) else { return };
        self.ended.push((now, failed));
        match self.state {
            BreakerState::Closed if failed && self.is_failing(now) => self.become_(BreakerState::Open, now),
            BreakerState::HalfOpen if failed => self.become_(BreakerState::Open, now),
            BreakerState::HalfOpen if self.ended.len() == self.config.successes as usize => {
                self.become_(BreakerState::Closed, now);
            }
            _ => {}
        }
    }

    /// Whether the last failures lie close together in time and among the calls.
    fn is_failing(&self, now: u64) -> bool {
        let enough = self.config.failures as usize;
        let mut failures = 0;
        for (calls, (at, failed)) in (1..).zip(self.ended.iter().rev()) {
            failures += usize::from(*failed);
            if failures == enough {
                let many = enough as f64 >= self.config.failure_share * f64::from(calls);
                return many && now - at < self.config.window.as_secs();
            }
        }
        false
    }
}

/// Ten steps; `permits` and `plain` come with room from earlier traces.
fn trace(random: &mut fastrand::Rng, permits: &mut Vec<Permit>, plain: &mut Plain) -> [bool; 3] {
    let seconds = |seconds| Duration::from_secs(seconds);
    let config = BreakerConfig {
        failures: random.u32(1..4),
        window: seconds(random.u64(1..8)),
        failure_share: [0.0, 0.5, 0.8][random.usize(0..3)],
        recovery: seconds(random.u64(1..4)),
        successes: random.u32(1..4),
        probes: random.u32(1..3),
        timeout: seconds(5),
        slow_call: seconds(2),
    };
    let mut breaker = Breaker::new(config);
    plain.begin(config);
    let (mut now, mut seen) = (0, [false; 3]);
    permits.clear();
    for _ in 0..10 {
        now += random.u64(0..6) / 3;
        if permits.is_empty() || random.u8(0..5) < 2 {
            let given = breaker.admit(seconds(now));
            assert_eq!(given.is_ok(), plain.admit(now), "{config:?}");
            permits.extend(given.ok());
        } else {
            let permit = random.usize(0..permits.len());
            let (verdict, failed) = match random.u8(0..8) {
                0..4 => (Verdict::Failure, Some(true)),
                4..6 => (Verdict::Success { took: seconds(5) }, Some(false)),
                6 => (Verdict::Success { took: seconds(6) }, Some(true)),
                _ => (Verdict::Unknown, None),
            };
            breaker.record(permits.swap_remove(permit), verdict, seconds(now));
            plain.end(permit, failed, now);
        }
        assert_eq!(breaker.state(), plain.state, "{config:?}");
        seen[breaker.state() as usize] = true;
    }
    seen
}

#[test]
fn a_million_random_traces_end_in_the_states_of_the_plain_model() {
    let mut random = fastrand::Rng::with_seed(7);
    let (mut permits, mut plain) = (Vec::new(), Plain::default());
    let mut seen = [0_u32; 3];
    for _ in 0..1_000_000 {
        let states = trace(&mut random, &mut permits, &mut plain);
        seen.iter_mut().zip(states).for_each(|(count, seen)| *count += u32::from(seen));
    }
    assert!(seen.iter().all(|count| *count > 100_000), "the traces meet every state: {seen:?}");
}
