//! `Router`, the trait of whoever chooses, and `Decision`, what was chosen and why.

use std::fmt::Debug;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    error::Result,
    orchestrator::{AgentChoice, PlanStep, Supervisor, Task},
    runtime::Context,
    types::{AgentId, Usage},
};

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

/// One agent, and how well it fits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AgentRank {
    /// Its team.
    pub team: String,
    /// The agent.
    pub agent: AgentId,
    /// How well it fits; comparable within one decision only.
    pub score: f64,
    /// The words and word pairs in common, the weightiest first; words as stems.
    pub words: Vec<String>,
}

/// What a router said before another one decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RouterStep {
    /// The router.
    pub router: String,
    /// How sure it was, from 0 to 1; `None` when it did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// Whether its word counted.
    pub accepted: bool,
    /// Why, in a few words.
    pub reason: String,
}

/// A call of a model that a decision took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RouterCall {
    /// The model.
    pub model: String,
    /// The tokens.
    pub usage: Usage,
    /// What it said; in the journal, and not twice.
    #[serde(skip)]
    pub said: String,
}

/// Who works on a task, and why.
///
/// ```
/// use raptorflow_core::orchestrator::Decision;
/// let decision = Decision::new("everybody", Vec::new());
/// assert_eq!((decision.router.as_str(), decision.confidence), ("everybody", None));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Decision {
    /// Who decided.
    pub router: String,
    /// Every team, the best first.
    pub teams: Vec<TeamChoice>,
    /// Every agent at work, in the order of the teams.
    ///
    /// A router may leave agents to the chosen teams, which delegate by themselves; where it names some, they are those.
    #[serde(default)]
    pub agents: Vec<AgentChoice>,
    /// How sure the router is, from 0 to 1; `None` when it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// The agents that fit best, the best first, at most 10; empty when the router looked at teams only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranking: Vec<AgentRank>,
    /// What was tried on the way, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<RouterStep>,
    /// The plan, when there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<PlanStep>,
    /// The calls of models that it took; they are paid for like those of agents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<RouterCall>,
}

impl Decision {
    /// A router's choice of teams, and nothing else.
    pub fn new(router: impl Into<String>, teams: Vec<TeamChoice>) -> Self {
        Self { router: router.into(), teams, ..Self::default() }
    }

    /// Says how sure the router is; what is no share of 1 is brought into its bounds.
    #[must_use]
    pub fn with_confidence(mut self, confidence: f64) -> Self {
        self.confidence = Some(if confidence.is_nan() { 0.0 } else { confidence.clamp(0.0, 1.0) });
        self
    }

    /// Names agents, which must be of the chosen teams.
    #[must_use]
    pub fn with_agents(mut self, agents: Vec<AgentChoice>) -> Self {
        self.agents = agents;
        self
    }
}

/// The lead of the best over the next: 1 when it is alone, 0 for a tie or when nothing fits.
pub(super) fn lead(mut scores: impl Iterator<Item = f64>) -> f64 {
    match (scores.next(), scores.next()) {
        (Some(best), _) if best <= 0.0 => 0.0,
        (Some(best), Some(next)) => ((best - next.max(0.0)) / best).clamp(0.0, 1.0),
        (Some(_), None) => 1.0,
        (None, _) => 0.0,
    }
}

/// Chooses teams, or agents of teams.
///
/// # Contract
/// - every team is in the answer once.
/// - at least one team is chosen.
/// - when the task names teams, those and no others are chosen.
/// - an agent that it names is of a chosen team, and named once.
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
///             chosen: task.teams.is_empty() || task.teams.iter().any(|name| name == team.name()),
///             reason: "everybody is asked".to_owned(),
///             focus: task.goal.clone(),
///         };
///         Ok(Decision::new("everybody", teams.iter().map(choose).collect()))
///     }
/// }
/// ```
#[async_trait]
pub trait Router: Debug + Send + Sync + 'static {
    /// Says for every team whether it works on the task, the best first.
    async fn route(&self, ctx: &Context, task: &Task, teams: &[Supervisor]) -> Result<Decision>;
}
