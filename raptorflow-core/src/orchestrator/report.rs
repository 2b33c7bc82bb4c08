//! `Report`: what the teams found, what it rests on, and how it came about.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    error::Error,
    orchestrator::{Decision, Disagreement, Escalated, Resolution},
    types::{AgentId, Money, Usage},
};

/// A place in a document that claims rest on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its number in the report, from 1.
    pub number: u32,
    /// The document.
    pub source: String,
    /// First and last line, from 1, both included.
    pub lines: (u32, u32),
    /// Headings above it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub heading: String,
}

/// One claim and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The claim.
    pub text: String,
    /// Numbers of [`Report::sources`].
    pub sources: Vec<u32>,
    /// Who made it.
    pub agents: Vec<AgentId>,
}

/// A claim that was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Who made it.
    pub agent: AgentId,
    /// The claim.
    pub text: String,
    /// Why it was left out.
    pub reason: String,
}

/// An agent that gave no answer, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Missing {
    /// The agent.
    pub agent: AgentId,
    /// What happened.
    pub error: Error,
}

/// What one team found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// The team.
    pub team: String,
    /// Its name for people.
    pub title: String,
    /// The heading.
    pub heading: String,
    /// Its claims, each once.
    pub claims: Vec<Claim>,
    /// What agents answered besides claims, by agent.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
    /// Agents that gave no answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
}

/// What the teams found; the output of an orchestrator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What was wanted.
    pub goal: String,
    /// A section a team, in the order of the decision.
    pub sections: Vec<Section>,
    /// Where claims do not agree.
    pub disagreements: Vec<Disagreement>,
    /// How those were settled that were judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolutions: Vec<Resolution>,
    /// What people were asked about all this, and what they answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub escalations: Vec<Escalated>,
    /// Claims that were left out.
    pub dropped: Vec<Dropped>,
    /// What the claims rest on.
    pub sources: Vec<Source>,
    /// Who was chosen and why.
    pub decision: Decision,
    /// Tokens that the agents took that answered, judges among them; the outcome of the run counts those of all.
    pub usage: Usage,
    /// What the agents cost that answered; `None` when a price is unknown or there are two currencies.
    pub cost: Option<Money>,
}
