//! The limiter beside a plain model of each algorithm, over ten million random calls from four threads.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    error::ErrorKind,
    model::{Rate, RateAlgorithm, RateDecision, RateLimiter},
};

const THREADS: u64 = 4;
const ROUNDS: u64 = 500;
/// How many calls a thread makes in a round; with three algorithms ten million in all.
const CALLS: u64 = 10_000_000_u64.div_ceil(3 * THREADS * ROUNDS);
const KEYS: [&str; 4] = ["asha", "ravi", "meera", "kabir"];

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn rate(algorithm: RateAlgorithm) -> Rate {
    Rate::new(700, millis(9000)).unwrap().with_burst(1.3).with_algorithm(algorithm)
}

/// What was admitted of one key: when, in milliseconds, and how many.
type Admitted = Vec<(u64, u64)>;

/// How many calls more the definition of an algorithm allows at a time.
fn room(rate: Rate, admitted: &Admitted, now: u64) -> u64 {
    let (limit, per) = (u64::from(rate.limit()), 9000);
    let since =
        |from: u64| admitted.iter().filter(|(at, _)| *at >= from).map(|(_, calls)| calls).sum::<u64>();
    let bucket = || {
        // However far one looks back, the full bucket and what flowed into it since then are all there is.
        let spans = admitted.iter().rev().scan(0, |taken, (from, calls)| {
            *taken += calls;
            Some((rate.capacity() * per + (now - from) * limit).saturating_sub(*taken * per) / per)
        });
        spans.min().unwrap_or(u64::MAX).min(rate.capacity())
    };
    match rate.algorithm() {
        RateAlgorithm::TokenBucket => bucket(),
        RateAlgorithm::SlidingWindow => limit.saturating_sub(since((now / 1125).saturating_sub(8) * 1125)),
        RateAlgorithm::FixedWindow => limit.saturating_sub(since(now / per * per)),
    }
}

/// The most calls in any time as long as the window.
fn most_in_a_window(admitted: &Admitted) -> u64 {
    let (mut first, mut held, mut most) = (0, 0, 0);
    for (at, calls) in admitted {
        held += calls;
        while admitted[first].0 + 9000 <= *at {
            held -= admitted[first].1;
            first += 1;
        }
        most = most.max(held);
    }
    most
}

/// Runs rounds of calls at one time each, and compares what was admitted with what the definition allows.
fn check(algorithm: RateAlgorithm) -> u64 {
    let rate = rate(algorithm);
    let limiter = RateLimiter::new(rate);
    let (begin, end) = (Barrier::new(5), Barrier::new(5));
    let (asked, allowed) = ([const { AtomicU32::new(0) }; 4], [const { AtomicU32::new(0) }; 4]);
    // Times are the same for all threads: from a seed.
    let times = || {
        let mut random = fastrand::Rng::with_seed(11);
        let steps = (0..ROUNDS).scan(0, move |now, _| {
            *now += random.u64(0..700);
            Some(*now)
        });
        steps.collect::<Vec<u64>>()
    };
    let (mut calls, mut wrong) = (0, Vec::new());
    let mut admitted = [const { Admitted::new() }; 4];
    thread::scope(|scope| {
        for seed in 0..THREADS {
            let (limiter, begin, end, asked, allowed) = (&limiter, &begin, &end, &asked, &allowed);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                for (round, now) in times().into_iter().enumerate() {
                    begin.wait();
                    // Some rounds are quiet, so that room is left over as well.
                    let calls = if round % 3 == 0 { CALLS * 5 / 2 } else { CALLS / 4 };
                    let (mut tried, mut passed) = ([0; 4], [0; 4]);
                    for _ in 0..calls {
                        let key = random.usize(0..4).min(random.usize(0..4));
                        tried[key] += 1;
                        let decision = limiter.check(KEYS[key], millis(now));
                        passed[key] += u32::from(decision == RateDecision::Allowed);
                    }
                    for key in 0..4 {
                        asked[key].fetch_add(tried[key], Ordering::Relaxed);
                        allowed[key].fetch_add(passed[key], Ordering::Relaxed);
                    }
                    end.wait();
                }
            });
        }
        for now in times() {
            begin.wait();
            end.wait();
            for key in 0..4 {
                let asked = u64::from(asked[key].swap(0, Ordering::Relaxed));
                let passed = u64::from(allowed[key].swap(0, Ordering::Relaxed));
                calls += asked;
                let expected = asked.min(room(rate, &admitted[key], now));
                // Not here: the threads would wait for this one for ever.
                wrong.extend((passed != expected).then_some((now, key, passed, expected)));
                admitted[key].extend((passed > 0).then_some((now, passed)));
            }
        }
    });
    assert!(wrong.is_empty(), "{algorithm:?}: {} rounds, first {:?}", wrong.len(), wrong.first());
    assert!(calls >= 10_000_000 / 3, "{calls} calls");
    admitted.iter().map(most_in_a_window).max().unwrap()
}

#[test]
fn a_token_bucket_allows_what_its_definition_allows() {
    let rate = rate(RateAlgorithm::TokenBucket);
    let most = check(RateAlgorithm::TokenBucket);
    assert!(most <= u64::from(rate.limit()) + rate.capacity(), "{most}");
    assert!(most > rate.capacity(), "{most}: the calls did not reach the bound");
}

#[test]
fn a_sliding_window_never_holds_more_than_its_limit() {
    assert_eq!(check(RateAlgorithm::SlidingWindow), 700);
}

#[test]
fn a_fixed_window_holds_at_most_twice_its_limit_around_an_end() {
    let most = check(RateAlgorithm::FixedWindow);
    assert!((701..=1400).contains(&most), "{most}");
}

const ALL: [RateAlgorithm; 3] =
    [RateAlgorithm::TokenBucket, RateAlgorithm::SlidingWindow, RateAlgorithm::FixedWindow];

/// As many calls in eight seconds.
fn of(limit: u32, algorithm: RateAlgorithm) -> RateLimiter {
    let rate = Rate::new(limit, millis(8000)).unwrap().with_burst(1.0);
    RateLimiter::new(rate.with_algorithm(algorithm))
}

#[test]
fn the_pause_that_is_named_is_the_shortest_that_helps() {
    for (algorithm, pause) in ALL.into_iter().zip([2000, 8500, 7500]) {
        let limiter = of(4, algorithm);
        let now = millis(500);
        for _ in 0..4 {
            assert_eq!(limiter.check("asha", now), RateDecision::Allowed);
        }
        assert_eq!(limiter.check("asha", now), RateDecision::After(millis(pause)), "{algorithm:?}");
        let almost = now + millis(pause) - Duration::from_micros(1);
        assert_eq!(
            limiter.check("asha", almost),
            RateDecision::After(Duration::from_micros(1)),
            "{algorithm:?}"
        );
        assert_eq!(limiter.check("asha", now + millis(pause)), RateDecision::Allowed, "{algorithm:?}");
    }
}

#[test]
fn several_calls_at_once_are_counted_all_or_none() {
    for algorithm in ALL {
        let limiter = of(4, algorithm);
        let now = millis(100);
        assert_eq!(limiter.check_many("asha", 3, now), RateDecision::Allowed);
        assert!(matches!(limiter.check_many("asha", 2, now), RateDecision::After(_)));
        assert_eq!(limiter.check("asha", now), RateDecision::Allowed);
        assert_eq!(limiter.check_many("asha", 5, now), RateDecision::After(Duration::MAX));
    }
}

#[test]
fn time_that_goes_back_or_ends_is_no_harm() {
    for algorithm in ALL {
        let limiter = of(2, algorithm);
        for now in [millis(60_000), millis(1000), Duration::ZERO] {
            let allowed = limiter.check("asha", now) == RateDecision::Allowed;
            assert_eq!(allowed, !now.is_zero(), "{algorithm:?}");
        }
        for _ in 0..2 {
            assert_eq!(limiter.check("asha", Duration::MAX), RateDecision::Allowed, "{algorithm:?}");
        }
        assert!(matches!(limiter.check("asha", Duration::MAX), RateDecision::After(_)), "{algorithm:?}");
    }
}

#[test]
fn a_flood_of_keys_stays_within_the_bound_and_frees_nobody_who_used_much() {
    let limiter = RateLimiter::with_max_keys(Rate::new(100, millis(60_000)).unwrap().with_burst(1.0), 640);
    let now = millis(1000);
    assert_eq!(limiter.check_many("asha", 100, now), RateDecision::Allowed);
    for number in 0..20_000 {
        assert_eq!(limiter.check(&format!("flood {number}"), now), RateDecision::Allowed);
    }
    assert!(limiter.keys() <= 640, "{}", limiter.keys());
    assert!(matches!(limiter.check("asha", now), RateDecision::After(_)));
    // A minute later all of them are quiet, and any may give way.
    let later = millis(61_001);
    for number in 0..20_000 {
        assert_eq!(limiter.check(&format!("second {number}"), later), RateDecision::Allowed);
    }
    assert!(limiter.keys() <= 640, "{}", limiter.keys());
}

#[test]
fn long_keys_are_kept_apart() {
    let limiter = of(1, RateAlgorithm::TokenBucket);
    let long = "x".repeat(1000);
    for key in [format!("{long}1"), format!("{long}2")] {
        assert_eq!(limiter.check(&key, millis(0)), RateDecision::Allowed);
        assert_ne!(limiter.check(&key, millis(0)), RateDecision::Allowed);
    }
}

#[test]
fn a_rate_that_makes_no_sense_is_refused() {
    for (limit, per) in [(0, millis(1000)), (1, Duration::ZERO), (u32::MAX, Duration::MAX)] {
        assert_eq!(Rate::new(limit, per).unwrap_err().kind(), ErrorKind::InvalidInput, "{limit} {per:?}");
    }
    assert!(Rate::new(1_000_000, Duration::from_secs(7 * 24 * 3600)).is_ok());
    let stored = serde_json::to_string(&Rate::BURSTY).unwrap();
    assert_eq!(serde_json::from_str::<Rate>(&stored).unwrap(), Rate::BURSTY);
    assert!(serde_json::from_str::<Rate>(&stored.replace("20", "0")).is_err());
}
