//! The contract of `RateStore`, beside the definition of each algorithm.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use super::case::{Case, Subject, cases};
use crate::{
    error::{ErrorKind, Result},
    model::{Rate, RateAlgorithm, RateAnswer, RateCount, RateDecision, RateLimiter, RateStore},
    runtime::{Context, Runtime, Task},
};

const ALL: [RateAlgorithm; 3] =
    [RateAlgorithm::TokenBucket, RateAlgorithm::SlidingWindow, RateAlgorithm::FixedWindow];
/// Longer than any case takes.
const HOUR: Duration = Duration::from_secs(3600);
/// How often a case asks for room before it gives up: it takes milliseconds until there is some.
const TRIES: usize = 1_000_000;
/// How many ask at once, each so often.
const CALLERS: u64 = 8;
const CALLS: usize = 120;

type Opening = Pin<Box<dyn Future<Output = Result<Arc<dyn RateStore>>> + Send>>;

/// What the cases of rates run over.
#[derive(Clone)]
pub struct RateStoreSubject(Arc<dyn Fn() -> Opening + Send + Sync>);

impl RateStoreSubject {
    /// A subject whose `open` gives one more client of the same fresh place.
    pub fn new<O>(open: impl Fn() -> O + Send + Sync + 'static) -> Self
    where
        O: Future<Output = Result<Arc<dyn RateStore>>> + Send + 'static,
    {
        Self(Arc::new(move || -> Opening { Box::pin(open()) }))
    }

    async fn client(&self) -> Result<(Context, Arc<dyn RateStore>)> {
        Ok((Context::new(&Runtime::current()?), (self.0)().await?))
    }
}

impl Subject for RateStoreSubject {
    fn offers(&self, _need: &str) -> bool {
        false
    }
}

impl fmt::Debug for RateStoreSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateStoreSubject").finish_non_exhaustive()
    }
}

/// Every case of `RateStore`.
#[must_use]
pub fn rate_store_cases() -> Vec<Case<RateStoreSubject>> {
    cases![
        an_answer_is_what_the_rate_allows_at_its_time,
        however_many_ask_at_once_no_time_holds_more_than_its_rate_allows,
        a_check_of_several_counters_counts_on_all_or_on_none,
        keys_and_rules_are_counted_apart,
        clients_of_one_place_share_what_is_counted,
        what_was_counted_and_not_used_is_free_again,
        what_was_used_beyond_what_was_counted_makes_others_wait,
        more_calls_than_ever_fit_are_refused_for_ever_and_count_nothing,
        a_context_that_is_over_ends_a_check_before_it_counts,
        times_of_answers_do_not_go_back,
    ]
}

fn rate(limit: u32, per: Duration, algorithm: RateAlgorithm) -> Result<Rate> {
    Ok(Rate::new(limit, per)?.with_burst(1.0).with_algorithm(algorithm))
}

fn count(key: &str, rate: Rate, calls: u32) -> RateCount<'_> {
    RateCount { rule: rate.algorithm().name(), key, rate, calls }
}

fn allowed(answer: RateAnswer) -> bool {
    answer.refused.is_none()
}

async fn an_answer_is_what_the_rate_allows_at_its_time(subject: RateStoreSubject) -> Result<()> {
    let (ctx, store) = subject.client().await?;
    let mut random = fastrand::Rng::with_seed(7);
    for algorithm in ALL {
        let rate = Rate::new(20, Duration::from_millis(5))?.with_burst(1.5).with_algorithm(algorithm);
        let model = RateLimiter::new(rate);
        let mut refused = 0;
        for _ in 0..300 {
            let (key, calls) = (random.choice(["asha", "ravi"]).unwrap_or("asha"), random.u32(1..6));
            let answer = store.take(&ctx, &[count(key, rate, calls)]).await?;
            let expected = match model.check_many(key, calls, answer.at) {
                RateDecision::Allowed => None,
                RateDecision::After(wait) => Some((0, wait)),
            };
            assert_eq!(answer.refused, expected, "{algorithm:?} at {:?}", answer.at);
            refused += usize::from(expected.is_some());
        }
        // A place that is slow leaves time for every bucket to fill.
        let at_once = store.take(&ctx, &[count("meera", rate, 1000)]).await?;
        assert!(refused > 0 || !allowed(at_once), "{algorithm:?}: nothing was refused");
    }
    Ok(())
}

async fn however_many_ask_at_once_no_time_holds_more_than_its_rate_allows(
    subject: RateStoreSubject,
) -> Result<()> {
    for algorithm in ALL {
        let rate = Rate::new(40, Duration::from_millis(20))?.with_burst(1.25).with_algorithm(algorithm);
        let mut callers: Vec<Task<Result<Vec<RateAnswer>>>> = Vec::new();
        for _ in 0..CALLERS {
            let (ctx, store) = subject.client().await?;
            let tasks = ctx.runtime().tasks().clone();
            callers.push(tasks.spawn("conformance.rate", async move {
                let mut answers = Vec::new();
                for _ in 0..CALLS {
                    answers.push(store.take(&ctx, &[count("asha", rate, 1)]).await?);
                }
                Ok(answers)
            }));
        }
        let mut answers = Vec::new();
        for caller in callers {
            answers.extend(caller.await??);
        }
        let mut times: Vec<u64> = answers
            .iter()
            .filter(|answer| allowed(**answer))
            .map(|answer| u64::try_from(answer.at.as_micros()).unwrap_or(u64::MAX))
            .collect();
        times.sort_unstable();
        assert!(times.len() < answers.len(), "{algorithm:?}: the calls did not reach the limit");
        assert!(times.len() as u64 >= rate.capacity(), "{algorithm:?}: {} calls", times.len());
        let held = most(rate, &times);
        let bound = match algorithm {
            RateAlgorithm::TokenBucket => rate.capacity() + u64::from(rate.limit()),
            _ => u64::from(rate.limit()),
        };
        assert!(held <= bound, "{algorithm:?}: {held} calls where {bound} are allowed");
    }
    Ok(())
}

/// The most calls in any time that the algorithm speaks of.
fn most(rate: Rate, times: &[u64]) -> u64 {
    let per = u64::try_from(rate.per().as_micros()).unwrap_or(u64::MAX);
    let together = |first: u64, at: u64| match rate.algorithm() {
        RateAlgorithm::FixedWindow => first / per == at / per,
        _ => at - first < per,
    };
    let held = |from: usize| {
        let rest = times.get(from..).unwrap_or_default();
        let Some(first) = rest.first() else { return 0 };
        rest.iter().take_while(|at| together(*first, **at)).count() as u64
    };
    (0..times.len()).map(held).max().unwrap_or(0)
}

async fn a_check_of_several_counters_counts_on_all_or_on_none(subject: RateStoreSubject) -> Result<()> {
    let (ctx, store) = subject.client().await?;
    for algorithm in ALL {
        let (wide, narrow) = (rate(3, HOUR, algorithm)?, rate(1, HOUR, algorithm)?);
        let (all, user) = (format!("all {algorithm:?}"), format!("user {algorithm:?}"));
        let both = |key: &'static str| {
            [
                RateCount { rule: &all, key: "", rate: wide, calls: 1 },
                RateCount { rule: &user, key, rate: narrow, calls: 1 },
            ]
        };
        assert!(allowed(store.take(&ctx, &both("asha")).await?));
        for _ in 0..5 {
            let refused = store.take(&ctx, &both("asha")).await?.refused;
            assert_eq!(refused.map(|(position, _)| position), Some(1), "{algorithm:?}");
        }
        assert!(allowed(store.take(&ctx, &both("ravi")).await?), "{algorithm:?}");
        assert!(allowed(store.take(&ctx, &both("meera")).await?), "{algorithm:?}");
        let refused = store.take(&ctx, &both("kabir")).await?.refused;
        assert_eq!(refused.map(|(position, _)| position), Some(0), "{algorithm:?}");
    }
    Ok(())
}

async fn keys_and_rules_are_counted_apart(subject: RateStoreSubject) -> Result<()> {
    let (ctx, store) = subject.client().await?;
    let rate = rate(1, HOUR, RateAlgorithm::TokenBucket)?;
    let long = "x".repeat(1000);
    for (rule, key) in [("a", "b:c"), ("a:b", "c"), ("a", ""), ("a", &long), ("b", &long), ("a", "ä 丠\n")]
    {
        let one = [RateCount { rule, key, rate, calls: 1 }];
        assert!(allowed(store.take(&ctx, &one).await?), "{rule} {key}");
        assert!(!allowed(store.take(&ctx, &one).await?), "{rule} {key}");
    }
    Ok(())
}

async fn clients_of_one_place_share_what_is_counted(subject: RateStoreSubject) -> Result<()> {
    let ((ctx, first), (_, second)) = (subject.client().await?, subject.client().await?);
    for algorithm in ALL {
        let two = rate(2, HOUR, algorithm)?;
        assert!(allowed(first.take(&ctx, &[count("asha", two, 1)]).await?));
        assert!(allowed(second.take(&ctx, &[count("asha", two, 1)]).await?));
        for store in [&first, &second] {
            assert!(!allowed(store.take(&ctx, &[count("asha", two, 1)]).await?), "{algorithm:?}");
        }
    }
    Ok(())
}

async fn what_was_counted_and_not_used_is_free_again(subject: RateStoreSubject) -> Result<()> {
    let (ctx, store) = subject.client().await?;
    for algorithm in ALL {
        let rate = rate(100, HOUR, algorithm)?;
        let most = [count("asha", rate, 90)];
        let at = store.take(&ctx, &most).await?.at;
        assert!(!allowed(store.take(&ctx, &[count("asha", rate, 50)]).await?), "{algorithm:?}");
        store.correct(&ctx, at, &most, 50).await?;
        assert!(allowed(store.take(&ctx, &[count("asha", rate, 50)]).await?), "{algorithm:?}");
        assert!(!allowed(store.take(&ctx, &[count("asha", rate, 10)]).await?), "{algorithm:?}");
    }
    Ok(())
}

async fn what_was_used_beyond_what_was_counted_makes_others_wait(subject: RateStoreSubject) -> Result<()> {
    let (ctx, store) = subject.client().await?;
    for algorithm in ALL {
        let long = rate(100, HOUR, algorithm)?;
        let few = [count("asha", long, 10)];
        let at = store.take(&ctx, &few).await?.at;
        store.correct(&ctx, at, &few, 95).await?;
        assert!(!allowed(store.take(&ctx, &few).await?), "{algorithm:?}");
    }
    // A bucket that has had the time to fill.
    let quick = rate(1, Duration::from_millis(2), RateAlgorithm::TokenBucket)?;
    let one = [count("ravi", quick, 1)];
    let at = store.take(&ctx, &one).await?.at;
    let mut filled = false;
    for _ in 0..TRIES {
        if store.take(&ctx, &[count("clock", quick, 1)]).await?.at > at + Duration::from_millis(50) {
            filled = true;
            break;
        }
    }
    assert!(filled, "the time of the place stands still");
    store.correct(&ctx, at, &one, 1_000_000).await?;
    assert!(!allowed(store.take(&ctx, &one).await?), "the quiet time before paid for it");
    Ok(())
}

async fn more_calls_than_ever_fit_are_refused_for_ever_and_count_nothing(
    subject: RateStoreSubject,
) -> Result<()> {
    let (ctx, store) = subject.client().await?;
    for algorithm in ALL {
        let rate = rate(4, HOUR, algorithm)?;
        let refused = store.take(&ctx, &[count("asha", rate, 5)]).await?.refused;
        assert_eq!(refused, Some((0, Duration::MAX)), "{algorithm:?}");
        assert!(allowed(store.take(&ctx, &[count("asha", rate, 4)]).await?), "{algorithm:?}");
    }
    Ok(())
}

async fn a_context_that_is_over_ends_a_check_before_it_counts(subject: RateStoreSubject) -> Result<()> {
    let (ctx, store) = subject.client().await?;
    let one = [count("asha", rate(1, HOUR, RateAlgorithm::TokenBucket)?, 1)];
    let over = ctx.child("over");
    over.cancel().cancel();
    let err = store.take(&over, &one).await.err();
    assert_eq!(err.map(|err| err.kind()), Some(ErrorKind::Cancelled));
    let (ctx, store) = subject.client().await?;
    assert!(allowed(store.take(&ctx, &one).await?));
    Ok(())
}

async fn times_of_answers_do_not_go_back(subject: RateStoreSubject) -> Result<()> {
    let ((ctx, first), (_, second)) = (subject.client().await?, subject.client().await?);
    let rate = rate(1, HOUR, RateAlgorithm::FixedWindow)?;
    let mut last = Duration::ZERO;
    for _ in 0..20 {
        for store in [&first, &second] {
            let at = store.take(&ctx, &[count("asha", rate, 1)]).await?.at;
            assert!(at >= last, "{at:?} came after {last:?}");
            last = at;
        }
    }
    Ok(())
}
