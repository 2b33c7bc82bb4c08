//! Names in a task or a rule: whether they are known, and the decision that follows from them.

use crate::{
    agent::Agent,
    error::{Error, ErrorKind, Result},
    orchestrator::{AgentChoice, Balance, Decision, Supervisor, Task, TeamChoice},
};

/// Refuses a task that names a team that there is not.
pub(super) fn check_teams(task: &Task, teams: &[Supervisor]) -> Result<()> {
    task.teams.iter().try_for_each(|name| find_team(teams, name).map(drop))
}

/// The team of a name.
pub(super) fn find_team<'a>(teams: &'a [Supervisor], name: &str) -> Result<&'a Supervisor> {
    teams.iter().find(|team| team.name() == name).ok_or_else(|| {
        let known: Vec<&str> = teams.iter().map(Supervisor::name).collect();
        Error::new(ErrorKind::NotFound, "orchestrator.route", "no team of this name is known")
            .with("team", name)
            .with("known", known.join(", "))
    })
}

/// The agent of a name, `agent` or `team.agent`.
pub(super) fn find_agent<'a>(teams: &'a [Supervisor], name: &str) -> Result<(&'a Supervisor, &'a Agent)> {
    let (of_team, plain) = match name.split_once('.') {
        Some((team, agent)) => (Some(team), agent),
        None => (None, name),
    };
    let mut found = teams
        .iter()
        .filter(|team| of_team.is_none_or(|of_team| team.name() == of_team))
        .flat_map(|team| team.agents().iter().map(move |agent| (team, agent)))
        .filter(|(_, agent)| agent.name().as_str() == plain);
    let error =
        |kind, message: &'static str| Error::new(kind, "orchestrator.route", message).with("agent", name);
    let first =
        found.next().ok_or_else(|| error(ErrorKind::NotFound, "no agent of this name is in a team"))?;
    match found.next() {
        None => Ok(first),
        Some((other, _)) => {
            let message = "two teams have an agent of this name; expected team.agent";
            Err(error(ErrorKind::InvalidInput, message)
                .with("teams", format!("{}, {}", first.0.name(), other.name())))
        }
    }
}

/// An agent that is put to work by somebody else than its team.
pub(crate) fn agent_choice(
    team: &Supervisor,
    agent: &Agent,
    focus: &str,
    reason: impl Into<String>,
) -> AgentChoice {
    AgentChoice {
        team: team.name().to_owned(),
        agent: agent.name().clone(),
        focus: focus.to_owned(),
        capability: Supervisor::best_capability(agent, focus),
        score: 1.0,
        words: Vec::new(),
        balance: Balance::BestFit,
        reason: reason.into(),
        step: None,
        after: Vec::new(),
        estimate: None,
    }
}

/// The decision that a task has taken already by naming agents; `None` when it names none.
///
/// # Errors
/// `NotFound` for an unknown team or agent, `InvalidInput` for an agent that two teams have or a task that names teams
/// and agents of others.
pub(crate) fn by_name(task: &Task, teams: &[Supervisor]) -> Result<Option<Decision>> {
    if task.agents.is_empty() {
        return Ok(None);
    }
    check_teams(task, teams)?;
    let names: Vec<&str> = task.agents.iter().map(String::as_str).collect();
    let decision = of_names(task, teams, &[], &names, "named in the task")?;
    if let Some(other) =
        decision.agents.iter().find(|it| !task.teams.is_empty() && !task.teams.contains(&it.team))
    {
        let message = "the task names teams, and an agent of another one";
        return Err(Error::new(ErrorKind::InvalidInput, "orchestrator.route", message)
            .with("agent", &other.agent)
            .with("team", &other.team));
    }
    Ok(Some(Decision { router: "task".to_owned(), ..decision }))
}

/// A decision for teams and agents of these names; a team of a named agent works, and its other agents do not.
pub(super) fn of_names(
    task: &Task,
    teams: &[Supervisor],
    wanted: &[&str],
    agents: &[&str],
    reason: &str,
) -> Result<Decision> {
    wanted.iter().try_for_each(|name| find_team(teams, name).map(drop))?;
    let mut choices: Vec<AgentChoice> = Vec::new();
    for name in agents {
        let (team, agent) = find_agent(teams, name)?;
        if !choices.iter().any(|it| it.team == team.name() && it.agent == *agent.name()) {
            choices.push(agent_choice(team, agent, &task.goal, reason));
        }
    }
    let chosen: Vec<&str> = wanted.iter().copied().chain(choices.iter().map(|it| it.team.as_str())).collect();
    let teams = team_choices(task, teams, &chosen, reason);
    Ok(Decision::new("names", teams).with_confidence(1.0).with_agents(choices))
}

/// Every team, those that are chosen first and in that order.
pub(super) fn team_choices(
    task: &Task,
    teams: &[Supervisor],
    chosen: &[&str],
    reason: &str,
) -> Vec<TeamChoice> {
    let place = |team: &Supervisor| chosen.iter().position(|name| *name == team.name());
    let mut choices: Vec<(usize, TeamChoice)> = teams
        .iter()
        .map(|team| {
            let (place, reason) = match place(team) {
                Some(at) => (at, reason.to_owned()),
                None => (usize::MAX, "not chosen".to_owned()),
            };
            let is_chosen = place != usize::MAX;
            let choice = TeamChoice {
                team: team.name().to_owned(),
                score: if is_chosen { 1.0 } else { 0.0 },
                words: Vec::new(),
                chosen: is_chosen,
                reason,
                focus: task.goal.clone(),
            };
            (place, choice)
        })
        .collect();
    choices.sort_by_key(|(place, _)| *place);
    choices.into_iter().map(|(_, choice)| choice).collect()
}
