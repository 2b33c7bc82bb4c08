//! Choice among agents that could do the work.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::agent::Match;

/// How agents of a team are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Balance {
    /// Those that fit the request best.
    #[default]
    BestFit,
    /// Those that fit at all, in turn.
    RoundRobin,
    /// Those that fit at all and have the least work at this moment, the better fit among equals.
    LeastLoaded,
    /// Those that fit at all and answered most of their last runs, the better fit among equals.
    HighestAvailability,
}

/// Remembers whose turn it is and who is at work; one for each team, and cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Balancer {
    // A std mutex: no await happens while it is held.
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    count: u64,
    /// The last turn of each agent, from 1.
    last: HashMap<String, u64>,
    /// How much each has to do; who has nothing is not in here.
    loads: HashMap<String, usize>,
}

/// A piece of work that counts as load until it is dropped, however it ends.
///
/// ```
/// use raptorflow_core::orchestrator::Balancer;
/// let balancer = Balancer::default();
/// let work = balancer.begin("writer");
/// assert_eq!(balancer.load("writer"), 1);
/// drop(work);
/// assert_eq!(balancer.load("writer"), 0);
/// ```
#[derive(Debug)]
#[must_use = "work that is dropped has ended"]
pub struct Working {
    balancer: Balancer,
    agent: String,
}

impl Drop for Working {
    fn drop(&mut self) {
        let mut state = self.balancer.state();
        if let Some(load) = state.loads.get_mut(&self.agent) {
            *load = load.saturating_sub(1);
            if *load == 0 {
                state.loads.remove(&self.agent);
            }
        }
    }
}

impl Balancer {
    /// Chooses `count` of `ranked`, which has the best first, where everybody is equally available.
    ///
    /// Those that share no word with the request come in only when too few do.
    /// In turn means that who waited longest comes first, by name among equals: also when different agents fit
    /// different requests, everybody who fits gets a turn.
    ///
    /// ```
    /// use raptorflow_core::{agent::Match, orchestrator::{Balance, Balancer}};
    /// let ranked: Vec<Match> = ["a", "b", "c"].iter()
    ///     .map(|name| Match { name: name.to_string(), score: 1.0, words: vec![] }).collect();
    /// let balancer = Balancer::default();
    /// let chosen: Vec<String> = (0..4).map(|_| balancer.choose(Balance::RoundRobin, &ranked, 1)[0].name.clone()).collect();
    /// assert_eq!(chosen, ["a", "b", "c", "a"]);
    /// ```
    pub fn choose(&self, balance: Balance, ranked: &[Match], count: usize) -> Vec<Match> {
        self.begin_chosen(balance, ranked, count, |_| 1.0).into_iter().map(|(it, _)| it).collect()
    }

    /// Chooses like [`choose`](Self::choose), knowing the share of answers among each one's last runs, and counts the
    /// work of those chosen in the same moment, so that two choices at a time do not load one agent twice.
    pub fn begin_chosen(
        &self,
        balance: Balance,
        ranked: &[Match],
        count: usize,
        availability: impl Fn(&str) -> f64,
    ) -> Vec<(Match, Working)> {
        let count = count.min(ranked.len());
        let fitting = ranked.iter().filter(|it| it.score > 0.0).count();
        // Outside of the lock: it asks others.
        let available: HashMap<&str, f64> = match balance {
            Balance::HighestAvailability => {
                ranked.iter().map(|it| (it.name.as_str(), availability(&it.name))).collect()
            }
            Balance::BestFit | Balance::RoundRobin | Balance::LeastLoaded => HashMap::new(),
        };
        let mut state = self.state();
        let pool: Vec<&Match> = ranked.iter().take(fitting.max(count)).collect();
        let chosen = state.take(balance, pool, count, &available);
        chosen
            .into_iter()
            .map(|it| {
                *state.loads.entry(it.name.clone()).or_default() += 1;
                let working = Working { balancer: self.clone(), agent: it.name.clone() };
                (it.clone(), working)
            })
            .collect()
    }

    /// Counts work for an agent, until the guard is dropped.
    pub fn begin(&self, agent: &str) -> Working {
        *self.state().loads.entry(agent.to_owned()).or_default() += 1;
        Working { balancer: self.clone(), agent: agent.to_owned() }
    }

    /// How much an agent has to do at this moment.
    #[must_use]
    pub fn load(&self, agent: &str) -> usize {
        self.state().loads.get(agent).copied().unwrap_or_default()
    }

    /// How much all agents have to do at this moment.
    #[must_use]
    pub fn total(&self) -> usize {
        self.state().loads.values().sum()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take<'a>(
        &mut self,
        balance: Balance,
        mut pool: Vec<&'a Match>,
        count: usize,
        available: &HashMap<&str, f64>,
    ) -> Vec<&'a Match> {
        // All sorts are stable, so equals stay in the order of their fit.
        match balance {
            Balance::BestFit => {}
            Balance::RoundRobin => {
                pool.sort_by_key(|it| (self.last.get(&it.name).copied().unwrap_or_default(), &it.name));
            }
            Balance::LeastLoaded => {
                pool.sort_by_key(|it| self.loads.get(&it.name).copied().unwrap_or_default());
            }
            Balance::HighestAvailability => {
                let of = |it: &Match| available.get(it.name.as_str()).copied().unwrap_or_default();
                pool.sort_by(|a, b| of(b).total_cmp(&of(a)));
            }
        }
        pool.truncate(count);
        if balance == Balance::RoundRobin {
            for chosen in &pool {
                self.count += 1;
                self.last.insert(chosen.name.clone(), self.count);
            }
        }
        pool
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        pin::pin,
        task::{Context as Waking, Poll, Waker},
    };

    use super::*;

    const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

    fn ranked() -> Vec<Match> {
        NAMES.iter().map(|name| Match { name: (*name).to_owned(), score: 1.0, words: Vec::new() }).collect()
    }

    /// How much each has to do.
    fn loads(balancer: &Balancer) -> Vec<usize> {
        NAMES.iter().map(|name| balancer.load(name)).collect()
    }

    #[test]
    fn the_least_loaded_are_chosen_over_a_hundred_thousand_random_loads() {
        let (balancer, ranked, mut random) = (Balancer::default(), ranked(), fastrand::Rng::with_seed(7));
        let mut at_work = Vec::new();
        for _ in 0..100_000 {
            if random.u8(..) < 120 && !at_work.is_empty() {
                drop(at_work.swap_remove(random.usize(..at_work.len())));
                continue;
            }
            let (before, count) = (loads(&balancer), random.usize(1..=3));
            let chosen = balancer.begin_chosen(Balance::LeastLoaded, &ranked, count, |_| 1.0);
            let names: Vec<String> = chosen.iter().map(|(it, _)| it.name.clone()).collect();
            // The oracle: by load, and by fit among equals.
            let mut expected: Vec<usize> = (0..NAMES.len()).collect();
            expected.sort_by_key(|at| (before[*at], *at));
            let expected: Vec<&str> = expected.iter().take(count).map(|at| NAMES[*at]).collect();
            assert_eq!(names, expected);
            at_work.extend(chosen.into_iter().map(|(_, work)| work));
            if random.u8(..) < 20 {
                at_work.push(balancer.begin(NAMES[random.usize(..NAMES.len())]));
            }
        }
        assert_eq!(loads(&balancer).iter().sum::<usize>(), at_work.len());
        drop(at_work);
        assert_eq!(loads(&balancer), [0; 7]);
    }

    #[test]
    fn no_load_is_left_by_ten_thousand_cancels_at_random_points() {
        let (balancer, ranked, mut random) = (Balancer::default(), ranked(), fastrand::Rng::with_seed(11));
        for _ in 0..10_000 {
            let mut steps = random.u8(0..6);
            let work = async {
                let chosen = balancer.begin_chosen(Balance::LeastLoaded, &ranked, 2, |_| 1.0);
                for (_, working) in chosen {
                    std::future::poll_fn(|_| {
                        if steps == 0 {
                            Poll::Ready(())
                        } else {
                            steps -= 1;
                            Poll::Pending
                        }
                    })
                    .await;
                    drop(working);
                }
            };
            let (mut work, polls) = (pin!(work), random.u8(0..6));
            for _ in 0..polls {
                if work.as_mut().poll(&mut Waking::from_waker(Waker::noop())).is_ready() {
                    break;
                }
            }
        }
        assert_eq!(loads(&balancer), [0; 7]);
    }

    #[test]
    fn no_load_is_left_by_a_panic() {
        let balancer = Balancer::default();
        let panics = || {
            let _working = balancer.begin("a");
            panic!("a fault of the agent");
        };
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        assert_eq!(balancer.load("a"), 0);
    }

    #[test]
    fn the_most_available_come_first_and_the_better_fit_among_equals() {
        let availability = |name: &str| if name < "c" { 0.4 } else { 0.9 };
        let chosen =
            Balancer::default().begin_chosen(Balance::HighestAvailability, &ranked(), 2, availability);
        assert_eq!(chosen.iter().map(|(it, _)| it.name.as_str()).collect::<Vec<_>>(), ["c", "d"]);
    }
}
