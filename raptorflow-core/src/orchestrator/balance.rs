//! Choice among agents that could do the work.

use std::sync::atomic::{AtomicUsize, Ordering};

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
    turn: AtomicUsize,
}

impl Balancer {
    /// Chooses `count` of `ranked`, which has the best first.
    ///
    /// Those that share no word with the request come in only when too few do.
    /// In turn means in the order of names, so that equals alternate whatever the request.
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
                let mut pool: Vec<&Match> = ranked.iter().take(fitting.max(count)).collect();
                pool.sort_by(|a, b| a.name.cmp(&b.name));
                let first = self.turn.fetch_add(count, Ordering::Relaxed) % pool.len().max(1);
                pool.into_iter().cycle().skip(first).take(count).cloned().collect()
            }
        }
    }
}
