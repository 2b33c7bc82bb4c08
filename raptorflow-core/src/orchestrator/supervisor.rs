//! `Supervisor`: a team, and how work is delegated within it.

use serde::{Deserialize, Serialize};

use crate::{
    agent::{Agent, AgentSpec, Candidate, Match, Matcher, Routing},
    event::Channel,
    orchestrator::{Balance, Balancer, Estimate, RestartPolicy, Working},
    types::AgentId,
};

/// A team as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeamSpec {
    /// Its name, unique in an orchestrator.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// What it is concerned with, in a few words.
    pub concern: String,
    /// The heading of its section in a report.
    pub heading: String,
    /// What it does and when to ask it.
    pub description: String,
    /// The channels that it listens to.
    #[serde(default)]
    pub channels: Vec<Channel>,
    /// Words by which a request finds it.
    #[serde(default)]
    pub routing: Routing,
}

/// An agent that a team puts to work, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentChoice {
    /// The team.
    pub team: String,
    /// The agent.
    pub agent: AgentId,
    /// The part of the goal that it works on.
    pub focus: String,
    /// What it is asked to do; the agent as a whole when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// How well the agent fits; comparable within one team only.
    pub score: f64,
    /// The words in common, as stems.
    pub words: Vec<String>,
    /// How it was chosen.
    pub balance: Balance,
    /// Why, in a few words, when it was not its team that chose.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The step of a plan that this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The steps of the plan that have to be done before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// What it is expected to take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
}

/// A team with its lead, which is one of its agents.
///
/// ```
/// use raptorflow_core::{Agent, orchestrator::{Balance, Supervisor, TeamSpec}};
/// let spec: TeamSpec = toml::from_str(r#"
///     name = "plans"
///     title = "Plans"
///     concern = "plans and execution"
///     heading = "The plan"
///     description = "Says who does what until when."
/// "#).unwrap();
/// let lead = Agent::builder("planner").description("Makes plans.").build()?;
/// let member = Agent::builder("dates").description("Knows every deadline and date.").build()?;
/// let team = Supervisor::new(spec, lead, vec![member]);
/// let chosen = team.delegate("By which deadline?", 1, Balance::BestFit);
/// assert_eq!((chosen[0].agent.as_str(), chosen[0].words.as_slice()), ("dates", &["deadlin".to_owned()][..]));
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Supervisor {
    spec: TeamSpec,
    agents: Vec<Agent>,
    balancer: Balancer,
    restart: RestartPolicy,
    matcher: Matcher,
}

impl Supervisor {
    /// A team of a lead and members.
    #[must_use]
    pub fn new(spec: TeamSpec, lead: Agent, members: Vec<Agent>) -> Self {
        let agents: Vec<Agent> = std::iter::once(lead).chain(members).collect();
        let matcher = Matcher::new(agents.iter().map(|agent| Candidate::agent(agent.spec())));
        Self { spec, agents, balancer: Balancer::default(), restart: RestartPolicy::default(), matcher }
    }

    /// Asks agents of the team again that failed; never by default.
    #[must_use]
    pub fn with_restart(mut self, policy: RestartPolicy) -> Self {
        self.restart = policy;
        self
    }

    /// When its agents are asked again.
    #[must_use]
    pub fn restart(&self) -> &RestartPolicy {
        &self.restart
    }

    /// The team as data.
    #[must_use]
    pub fn spec(&self) -> &TeamSpec {
        &self.spec
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Its agents, the lead first.
    #[must_use]
    pub fn agents(&self) -> &[Agent] {
        &self.agents
    }

    /// Who is at work, and whose turn it is.
    #[must_use]
    pub fn balancer(&self) -> &Balancer {
        &self.balancer
    }

    /// Chooses `count` agents for a goal, and for each the capability that fits the goal best; all are taken to be
    /// equally available, and nobody's load changes.
    #[must_use]
    pub fn delegate(&self, goal: &str, count: usize, balance: Balance) -> Vec<AgentChoice> {
        self.delegate_begun(goal, count, balance, |_| 1.0).into_iter().map(|(choice, _)| choice).collect()
    }

    /// Chooses like [`delegate`](Self::delegate), knowing the share of answers among each one's last runs; those chosen
    /// are at work until their guards are dropped.
    pub fn delegate_begun(
        &self,
        goal: &str,
        count: usize,
        balance: Balance,
        availability: impl Fn(&str) -> f64,
    ) -> Vec<(AgentChoice, Working)> {
        let ranked = self.matcher.rank(goal);
        let chosen = self.balancer.begin_chosen(balance, &ranked, count, availability);
        let with_agent = chosen.into_iter().filter_map(|(it, working)| {
            let agent = self.agents.iter().find(|agent| agent.name().as_str() == it.name)?;
            Some((agent, it, working))
        });
        with_agent
            .map(|(agent, Match { score, words, .. }, working)| {
                let choice = AgentChoice {
                    team: self.spec.name.clone(),
                    agent: agent.name().clone(),
                    focus: goal.to_owned(),
                    capability: best_capability(agent.spec(), goal),
                    score,
                    words,
                    balance,
                    reason: String::new(),
                    step: None,
                    after: Vec::new(),
                    estimate: None,
                };
                (choice, working)
            })
            .collect()
    }

    /// The capability of an agent that fits a goal best.
    pub(super) fn best_capability(agent: &Agent, goal: &str) -> Option<String> {
        best_capability(agent.spec(), goal)
    }
}

/// The capability that shares the weightiest words with the goal; the first one when none shares any.
fn best_capability(spec: &AgentSpec, goal: &str) -> Option<String> {
    let candidates = spec.capabilities.iter().map(|capability| {
        Candidate::new(&capability.name)
            .with(2.0, capability.name.replace('_', " "))
            .with(1.0, &capability.description)
    });
    Matcher::new(candidates).rank(goal).into_iter().next().map(|it| it.name)
}
