//! `Router`: which teams a task is meant for, and why.

use std::{collections::BTreeMap, fmt::Debug};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    agent::{Candidate, Match, Matcher},
    error::{Error, ErrorKind, Result},
    orchestrator::{AgentChoice, Supervisor, Task},
    runtime::Context,
};

/// The share of the best team's score that a team needs to be consulted.
const NEEDED_SHARE: f64 = 0.25;
/// The share of a clause's best score that a team needs to work on the clause.
const CLAUSE_SHARE: f64 = 0.7;
/// What ends a clause.
const CLAUSE_ENDS: [char; 6] = [',', ';', ':', '.', '?', '!'];

/// One team, and why it was or was not chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TeamChoice {
    /// The team.
    pub team: String,
    /// How well it fits; comparable within one decision only.
    pub score: f64,
    /// The words in common, as stems.
    pub words: Vec<String>,
    /// Whether it works on the task.
    pub chosen: bool,
    /// Why, in a few words.
    pub reason: String,
    /// The part of the goal that the team works on.
    pub focus: String,
}

/// Who works on a task, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Who decided.
    pub router: String,
    /// Every team, the best first.
    pub teams: Vec<TeamChoice>,
    /// Every agent at work, in the order of the teams.
    #[serde(default)]
    pub agents: Vec<AgentChoice>,
}

/// Chooses teams.
///
/// # Contract
/// - every team is in the answer once.
/// - at least one team is chosen.
///
/// # Examples
/// ```
/// use async_trait::async_trait;
/// use raptorflow_core::{Result, runtime::Context};
/// use raptorflow_core::orchestrator::{Decision, Router, Supervisor, Task, TeamChoice};
///
/// /// Asks everybody.
/// #[derive(Debug)]
/// struct Everybody;
///
/// #[async_trait]
/// impl Router for Everybody {
///     async fn route(&self, _ctx: &Context, task: &Task, teams: &[Supervisor]) -> Result<Decision> {
///         let choose = |team: &Supervisor| TeamChoice {
///             team: team.name().to_owned(),
///             score: 1.0,
///             words: Vec::new(),
///             chosen: true,
///             reason: "everybody is asked".to_owned(),
///             focus: task.goal.clone(),
///         };
///         let teams = teams.iter().map(choose).collect();
///         Ok(Decision { router: "everybody".to_owned(), teams, agents: Vec::new() })
///     }
/// }
/// ```
#[async_trait]
pub trait Router: Debug + Send + Sync + 'static {
    /// Says for every team whether it works on the task, the best first.
    async fn route(&self, ctx: &Context, task: &Task, teams: &[Supervisor]) -> Result<Decision>;
}

/// Routes by the words that a task shares with a team's routing words, description and agents.
///
/// Teams with at least a quarter of the best score work on the task; where no team shares a word, all do.
/// A goal of several clauses is shared out: a team works on the clauses that fit it best, or nearly so, and on the
/// whole goal when there are none.
#[derive(Clone, Copy, Debug, Default)]
pub struct CapabilityRouter;

#[async_trait]
impl Router for CapabilityRouter {
    async fn route(&self, _ctx: &Context, task: &Task, teams: &[Supervisor]) -> Result<Decision> {
        check_named(task, teams)?;
        let matcher = Matcher::new(teams.iter().map(candidate));
        let ranked = matcher.rank(&task.goal);
        let mut shared_out = share_out(&task.goal, &matcher);
        let best = ranked.first().map_or(0.0, |it| it.score);
        let teams = ranked
            .into_iter()
            .map(|it| {
                let (chosen, reason) = verdict(task, &it, best);
                let focus = shared_out.remove(&it.name).unwrap_or_else(|| task.goal.clone());
                TeamChoice { team: it.name, score: it.score, words: it.words, chosen, reason, focus }
            })
            .collect();
        Ok(Decision { router: "capability".to_owned(), teams, agents: Vec::new() })
    }
}

/// Whether a team works on the task, and why.
fn verdict(task: &Task, it: &Match, best: f64) -> (bool, String) {
    if !task.teams.is_empty() {
        let named = task.teams.contains(&it.name);
        (named, if named { "named in the task" } else { "not named in the task" }.to_owned())
    } else if best <= 0.0 {
        (true, "no team shares a word with the goal, so all are asked".to_owned())
    } else if it.score >= best * NEEDED_SHARE {
        (true, format!("shares {} with the goal", list(&it.words)))
    } else {
        (false, format!("under a quarter of the best score ({best:.1})"))
    }
}

/// Refuses a task that names a team that there is not.
fn check_named(task: &Task, teams: &[Supervisor]) -> Result<()> {
    let known: Vec<&str> = teams.iter().map(Supervisor::name).collect();
    match task.teams.iter().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(unknown) => {
            Err(Error::new(ErrorKind::NotFound, "orchestrator.route", "no team of this name is known")
                .with("team", unknown)
                .with("known", known.join(", ")))
        }
    }
}

/// The clauses of a goal for each team that some of them fit.
fn share_out(goal: &str, matcher: &Matcher) -> BTreeMap<String, String> {
    let clauses: Vec<&str> =
        clauses(goal).into_iter().map(bare).filter(|clause| !clause.is_empty()).collect();
    let mut shares: BTreeMap<String, String> = BTreeMap::new();
    if clauses.len() < 2 {
        return shares;
    }
    for clause in clauses {
        let ranked = matcher.rank(clause);
        let best = ranked.first().map_or(0.0, |it| it.score);
        for it in ranked.into_iter().filter(|it| it.score > 0.0 && it.score >= best * CLAUSE_SHARE) {
            let share = shares.entry(it.name).or_default();
            if !share.is_empty() {
                share.push_str("; ");
            }
            share.push_str(clause);
        }
    }
    shares
}

/// The parts of a goal between marks that end a clause; a mark inside a number, name or address ends none.
fn clauses(goal: &str) -> Vec<&str> {
    let (mut found, mut start) = (Vec::new(), 0);
    let mut chars = goal.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let word_ends = chars.peek().is_none_or(|(_, next)| next.is_whitespace());
        if c == '\n' || (CLAUSE_ENDS.contains(&c) && word_ends) {
            found.extend(goal.get(start..at));
            start = at + c.len_utf8();
        }
    }
    found.extend(goal.get(start..));
    found
}

/// A clause without the conjunction that joins it to the one before.
fn bare(clause: &str) -> &str {
    let clause = clause.trim().trim_end_matches(CLAUSE_ENDS);
    ["and ", "or ", "but "].iter().find_map(|word| clause.strip_prefix(word)).unwrap_or(clause)
}

/// The first words of a list, quoted.
fn list(words: &[String]) -> String {
    let shown: Vec<String> = words.iter().take(5).map(|word| format!("`{word}`")).collect();
    shown.join(", ")
}

/// A team's own words count most; its agents' words count a little.
fn candidate(team: &Supervisor) -> Candidate {
    let spec = team.spec();
    let mut candidate = Candidate::new(team.name())
        .with(3.0, spec.routing.words.join(" "))
        .with(2.0, &spec.title)
        .with(2.0, &spec.concern)
        .with(1.0, &spec.description);
    for agent in team.agents() {
        candidate =
            candidate.with(1.0, agent.spec().routing.words.join(" ")).with(0.5, &*agent.spec().description);
    }
    candidate
}
