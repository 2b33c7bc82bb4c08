//! Choice among agents that could do the work.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
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
}

/// Remembers whose turn it is; one for each team.
#[derive(Debug, Default)]
pub struct Balancer {
    // A std mutex: no await happens while it is held.
    turns: Mutex<Turns>,
}

#[derive(Debug, Default)]
struct Turns {
    count: u64,
    /// The last turn of each agent, from 1.
    last: HashMap<String, u64>,
}

impl Balancer {
    /// Chooses `count` of `ranked`, which has the best first.
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
        let count = count.min(ranked.len());
        let fitting = ranked.iter().filter(|it| it.score > 0.0).count();
        match balance {
            Balance::BestFit => ranked.iter().take(count).cloned().collect(),
            Balance::RoundRobin => {
                let pool = ranked.iter().take(fitting.max(count)).collect();
                self.turns.lock().unwrap_or_else(PoisonError::into_inner).take(pool, count)
            }
        }
    }
}

impl Turns {
    fn take(&mut self, mut pool: Vec<&Match>, count: usize) -> Vec<Match> {
        pool.sort_by_key(|it| (self.last.get(&it.name).copied().unwrap_or_default(), &it.name));
        pool.truncate(count);
        for chosen in &pool {
            self.count += 1;
            self.last.insert(chosen.name.clone(), self.count);
        }
        pool.into_iter().cloned().collect()
    }
}
