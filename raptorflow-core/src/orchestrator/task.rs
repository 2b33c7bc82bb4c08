//! `Task`: what a team of teams is asked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    agent::AgentInput,
    error::{Error, ErrorKind, Result},
    orchestrator::Balance,
};

/// How many agents of a team work on a task when the task does not say.
const AGENTS_PER_TEAM: usize = 2;

/// What matters most about a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// An answer soon: fewer are asked.
    Speed,
    /// A good answer: more are asked.
    Quality,
    /// Both.
    #[default]
    Balanced,
}

/// What is asked, and how it is to be shared out.
///
/// ```
/// use raptorflow_core::{agent::AgentInput, orchestrator::Task};
/// let task = Task::from_input(&AgentInput::new("Plan the launch."))?;
/// assert_eq!((task.goal.as_str(), task.agents_per_team), ("Plan the launch.", 2));
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Task {
    /// What is wanted.
    pub goal: String,
    /// These teams and no others; the router chooses when empty.
    #[serde(default)]
    pub teams: Vec<String>,
    /// These agents and no others, as `agent` or `team.agent`; no router is asked when there are some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<String>,
    /// How many agents of each team work on it; 2 by default.
    #[serde(default = "agents_per_team")]
    pub agents_per_team: usize,
    /// How agents of a team are chosen.
    #[serde(default)]
    pub balance: Balance,
    /// What matters most; both by default.
    #[serde(default)]
    pub priority: Priority,
    /// Words that rules look at, beside those of the goal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Values that rules look at; agents do not see them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Value>,
}

impl Task {
    /// A goal, with the router's choice of teams.
    pub fn new(goal: impl Into<String>) -> Self {
        Self {
            goal: goal.into(),
            teams: Vec::new(),
            agents: Vec::new(),
            agents_per_team: AGENTS_PER_TEAM,
            balance: Balance::default(),
            priority: Priority::default(),
            tags: Vec::new(),
            fields: BTreeMap::new(),
        }
    }

    /// Reads a task from what an agent is asked: a string is the goal, an object has the fields of a task.
    ///
    /// # Errors
    /// `InvalidInput` for another form, an unknown field, an empty goal or no agents.
    pub fn from_input(input: &AgentInput) -> Result<Self> {
        let task = match &input.input {
            Value::String(goal) => Self::new(goal.clone()),
            other => serde_json::from_value(other.clone()).map_err(|err| {
                let message = "expected a goal as a string, or an object with `goal`, `teams`, `agents`, \
                               `agents_per_team`, `balance`, `priority`, `tags`, `fields`";
                Error::new(ErrorKind::InvalidInput, "orchestrator.task", message).with("reason", err)
            })?,
        };
        let problem = if task.goal.trim().is_empty() {
            ("goal", "expected a goal of at least one word")
        } else if task.agents_per_team == 0 {
            ("agents_per_team", "expected at least 1")
        } else {
            return Ok(task);
        };
        Err(Error::new(ErrorKind::InvalidInput, "orchestrator.task", problem.1).with("field", problem.0))
    }
}

fn agents_per_team() -> usize {
    AGENTS_PER_TEAM
}
