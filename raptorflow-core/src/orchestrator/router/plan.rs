//! `PlanStep`: one step of a plan that a model wrote, and the checks that a plan has to pass.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    orchestrator::{Supervisor, Task, router::named::find_agent},
    types::Money,
};

/// How many steps a plan may have.
pub(super) const MAX_STEPS: usize = 24;

/// What somebody expects a piece of work to take; what is not known is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Estimate {
    /// Tokens, in and out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// What it costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Money>,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanStep {
    /// Its name, unique in the plan.
    pub name: String,
    /// What is to be done.
    pub task: String,
    /// The team that does it.
    pub team: String,
    /// The agent of the team; the team's own choice when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The steps that have to be done before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// Steps of one group run at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What it is expected to take.
    #[serde(default)]
    pub estimate: Estimate,
}

/// Says what is wrong with a plan; each agent has one step at most, since its place in a journal is its name.
pub(super) fn check_plan(plan: &[PlanStep], task: &Task, teams: &[Supervisor]) -> Result<(), String> {
    if plan.is_empty() || plan.len() > MAX_STEPS {
        return Err(format!("the plan has {} steps; expected 1 to {MAX_STEPS}", plan.len()));
    }
    let mut names = BTreeSet::new();
    let mut agents = BTreeSet::new();
    for step in plan {
        if step.name.trim().is_empty() || step.task.trim().is_empty() {
            return Err("a step has no name or no task".to_owned());
        }
        if !names.insert(step.name.as_str()) {
            return Err("two steps have one name".to_owned());
        }
        let Some(team) = teams.iter().find(|team| team.name() == step.team) else {
            return Err("a step names a team that there is not".to_owned());
        };
        if !task.teams.is_empty() && !task.teams.contains(&step.team) {
            return Err("a step is of a team that the task does not name".to_owned());
        }
        if let Some(agent) = &step.agent {
            if find_agent(teams, &format!("{}.{agent}", team.name())).is_err() {
                return Err("a step names an agent that its team has not".to_owned());
            }
            if !agents.insert((step.team.as_str(), agent.as_str())) {
                return Err("an agent has two steps".to_owned());
            }
        }
    }
    for team in teams {
        let steps = plan.iter().filter(|step| step.team == team.name()).count();
        if steps > team.agents().len() {
            return Err("a team has more steps than agents".to_owned());
        }
    }
    if plan.iter().flat_map(|step| &step.depends_on).any(|name| !names.contains(name.as_str())) {
        return Err("a step depends on one that there is not".to_owned());
    }
    check_order(plan)
}

/// Refuses circles, and groups whose steps wait for each other.
fn check_order(plan: &[PlanStep]) -> Result<(), String> {
    let mut above: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    while above.len() < plan.len() {
        let known = above.len();
        for step in plan {
            let befores: Option<Vec<&BTreeSet<&str>>> =
                step.depends_on.iter().map(|it| above.get(it.as_str())).collect();
            let Some(befores) = befores else { continue };
            let further = befores.into_iter().flatten().copied();
            let all = further.chain(step.depends_on.iter().map(String::as_str)).collect();
            above.insert(&step.name, all);
        }
        if above.len() == known {
            return Err("steps depend on each other in a circle".to_owned());
        }
    }
    let group =
        |name: &str| plan.iter().find(|step| step.name == name).and_then(|step| step.group.as_deref());
    let waits = |step: &&PlanStep| {
        step.group.is_some()
            && above
                .get(step.name.as_str())
                .is_some_and(|all| all.iter().any(|it| group(it) == step.group.as_deref()))
    };
    match plan.iter().find(waits) {
        Some(_) => Err("steps of one group wait for each other".to_owned()),
        None => Ok(()),
    }
}
