//! `CapabilityRouter`: teams by the words that they share with a task.

use async_trait::async_trait;

use crate::{
    agent::{Candidate, Match, Matcher},
    error::Result,
    orchestrator::{
        Decision, Priority, Router, Supervisor, Task, TeamChoice,
        router::{clause::share_out, decision::lead, named::check_teams},
    },
    runtime::Context,
};

/// Routes by the words that a task shares with a team's routing words, description and agents.
///
/// Teams with at least a quarter of the best score work on the task, with a tenth where the task wants
/// [`Priority::Quality`], and only those with three quarters where it wants [`Priority::Speed`].
/// Where no team shares a word, all work on it.
/// A goal of several clauses is shared out: a team works on the clauses that fit it best, or nearly so, and on the
/// whole goal when there are none.
/// Its confidence is the lead of the best score over the next: 1 when only one team shares a word, 0 for a tie.
#[derive(Clone, Copy, Debug, Default)]
pub struct CapabilityRouter;

#[async_trait]
impl Router for CapabilityRouter {
    async fn route(&self, _ctx: &Context, task: &Task, teams: &[Supervisor]) -> Result<Decision> {
        check_teams(task, teams)?;
        let matcher = Matcher::new(teams.iter().map(candidate));
        let ranked = matcher.rank(&task.goal);
        let mut shared_out = share_out(&task.goal, &matcher);
        let best = ranked.first().map_or(0.0, |it| it.score);
        let sure = if task.teams.is_empty() { lead(ranked.iter().map(|it| it.score)) } else { 1.0 };
        let teams = ranked
            .into_iter()
            .map(|it| {
                let (chosen, reason) = verdict(task, &it, best);
                let focus = shared_out.remove(&it.name).unwrap_or_else(|| task.goal.clone());
                TeamChoice { team: it.name, score: it.score, words: it.words, chosen, reason, focus }
            })
            .collect();
        Ok(Decision::new("capability", teams).with_confidence(sure))
    }
}

/// Whether a team works on the task, and why.
fn verdict(task: &Task, it: &Match, best: f64) -> (bool, String) {
    let needed = needed_share(task.priority);
    if !task.teams.is_empty() {
        let named = task.teams.contains(&it.name);
        (named, if named { "named in the task" } else { "not named in the task" }.to_owned())
    } else if best <= 0.0 {
        (true, "no team shares a word with the goal, so all are asked".to_owned())
    } else if it.score >= best * needed {
        (true, format!("shares {} with the goal", list(&it.words)))
    } else {
        let part = match task.priority {
            Priority::Balanced => "a quarter",
            Priority::Speed => "three quarters",
            Priority::Quality => "a tenth",
        };
        (false, format!("under {part} of the best score ({best:.1})"))
    }
}

/// The share of the best score that a team needs to be consulted.
fn needed_share(priority: Priority) -> f64 {
    match priority {
        Priority::Balanced => 0.25,
        Priority::Speed => 0.75,
        Priority::Quality => 0.1,
    }
}

/// The first words of a list, quoted.
pub(super) fn list(words: &[String]) -> String {
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
