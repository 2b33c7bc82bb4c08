//! `TeamLoad`: which teams have too much to do, and which too little.

use serde::{Deserialize, Serialize};

use crate::orchestrator::{Orchestrator, Supervisor};

/// More than so many times the mean is too much.
const OVERLOADED: f64 = 2.0;
/// Less than so much of the mean is too little.
const IDLE: f64 = 0.5;

/// What a host that can add and remove agents would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// More than twice the mean load of an agent: more agents would help.
    Overloaded,
    /// In between.
    Steady,
    /// Less than half the mean load of an agent: fewer would do.
    Idle,
}

/// How much the agents of a team have to do now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TeamLoad {
    /// The team.
    pub team: String,
    /// How much all of its agents have to do.
    pub load: usize,
    /// How many agents it has.
    pub agents: usize,
    /// What that means, beside the other teams.
    pub scale: Scale,
}

impl Orchestrator {
    /// How much each team has to do in this process now, an agent of one team compared with one of all.
    ///
    /// ```
    /// use raptorflow_core::{Agent, orchestrator::{Orchestrator, Scale, Supervisor, TeamSpec}};
    /// let team = |name: &str| -> raptorflow_core::Result<Supervisor> {
    ///     let spec = format!("name = '{name}'\ntitle = ''\nconcern = ''\nheading = ''\ndescription = ''");
    ///     let lead = Agent::builder(format!("{name}-lead")).build()?;
    ///     Ok(Supervisor::new(toml::from_str::<TeamSpec>(&spec).unwrap(), lead, vec![]))
    /// };
    /// let office = Orchestrator::new("office", vec![team("a")?, team("b")?, team("c")?])?;
    /// let work: Vec<_> = (0..5).map(|_| office.teams()[0].balancer().begin("a-lead")).collect();
    /// let scales: Vec<Scale> = office.loads().iter().map(|it| it.scale).collect();
    /// assert_eq!(scales, [Scale::Overloaded, Scale::Idle, Scale::Idle]);
    /// drop(work);
    /// # Ok::<(), raptorflow_core::Error>(())
    /// ```
    #[must_use]
    pub fn loads(&self) -> Vec<TeamLoad> {
        let of = |team: &Supervisor| (team.name().to_owned(), team.balancer().total(), team.agents().len());
        loads(self.teams().iter().map(of).collect())
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of agents and of their work are small")]
fn loads(teams: Vec<(String, usize, usize)>) -> Vec<TeamLoad> {
    let each = |load: usize, agents: usize| load as f64 / agents.max(1) as f64;
    let (all, agents) =
        teams.iter().fold((0, 0), |(sum, count), (_, load, agents)| (sum + load, count + agents));
    let mean = each(all, agents);
    let scale = |load, agents| match each(load, agents) {
        _ if all == 0 => Scale::Steady,
        it if it > OVERLOADED * mean => Scale::Overloaded,
        it if it < IDLE * mean => Scale::Idle,
        _ => Scale::Steady,
    };
    let of = |(team, load, agents)| TeamLoad { team, load, agents, scale: scale(load, agents) };
    teams.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_team_is_measured_by_its_agents_against_the_mean_of_all() {
        let check = |teams: &[(usize, usize)], expected: &[Scale]| {
            let teams = teams.iter().map(|(load, agents)| (String::new(), *load, *agents)).collect();
            let found: Vec<Scale> = loads(teams).into_iter().map(|it| it.scale).collect();
            assert_eq!(found, expected);
        };
        check(&[(0, 1), (0, 3)], &[Scale::Steady; 2]);
        check(&[(4, 1), (4, 1)], &[Scale::Steady; 2]);
        // Twice the mean and half of it are not too much and not too little.
        check(&[(4, 1), (1, 1), (1, 1)], &[Scale::Steady; 3]);
        check(&[(5, 1), (1, 1), (0, 1)], &[Scale::Overloaded, Scale::Steady, Scale::Idle]);
        check(&[(5, 10), (5, 1)], &[Scale::Steady, Scale::Overloaded]);
        check(&[], &[]);
    }
}
