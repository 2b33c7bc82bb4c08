//! `Outcome`: how a run ended.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    agent::AgentOutput,
    types::{AgentId, Finish, Money, Passage, RunId, Usage},
};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Outcome {
    /// The run; `resume`, `history` and `cancel` take it.
    pub run_id: RunId,
    /// The answer: a string, or JSON that fits the agent's schema.
    pub output: Value,
    /// Whether the answer is whole, or which bound ended it.
    pub finish: Finish,
    /// Tokens that the run took.
    pub usage: Usage,
    /// What the run cost; `None` when a price is unknown or nothing was priced.
    pub cost: Option<Money>,
    /// The passages that a single agent was given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passages: Vec<Passage>,
    /// Who answered, when the agent that was asked handed the conversation over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
}

impl Outcome {
    pub(super) fn new(run_id: RunId, output: AgentOutput) -> Self {
        let AgentOutput { output, finish, usage, cost, passages, agent } = output;
        Self { run_id, output, finish, usage, cost, passages, agent }
    }

    /// The answer as text: a string as it is, other values as JSON.
    #[must_use]
    pub fn text(&self) -> String {
        self.output.as_str().map_or_else(|| self.output.to_string(), str::to_owned)
    }
}
