//! `Member`: one who takes part in a pattern, and the part that it plays.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;

use crate::{
    agent::Agent,
    types::AgentId,
    workflow::{Pattern, PatternSpec, Workflow},
};

/// The part that a member plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// In a debate: argues for what is asked.
    Advocate,
    /// In a debate: argues against it, and looks for what is wrong with it.
    Critic,
    /// In a debate: leads it and takes no side; at most one, and the judge unless there is another.
    Moderator,
    /// In a debate: weighs both sides; the default there.
    Neutral,
    /// On a panel: the first to answer, and who coordinates it unless somebody else does; at most one.
    Primary,
    /// On a panel: answers from its own field; the default there.
    Specialist,
    /// On a panel: says what the answer has to look out for.
    Advisor,
    /// On a panel: reads what the others say, and scores it.
    Reviewer,
}

impl Role {
    pub(super) fn debates(self) -> bool {
        matches!(self, Self::Advocate | Self::Critic | Self::Moderator | Self::Neutral)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Advocate => "advocate",
            Self::Critic => "critic",
            Self::Moderator => "moderator",
            Self::Neutral => "neutral",
            Self::Primary => "primary",
            Self::Specialist => "specialist",
            Self::Advisor => "advisor",
            Self::Reviewer => "reviewer",
        }
    }

    /// What it is told that it has to do.
    pub(super) const fn task(self) -> &'static str {
        match self {
            Self::Advocate => "Argue for it, with the strongest reasons that there are.",
            Self::Critic => "Argue against it, and name what is wrong with it.",
            Self::Moderator => "Lead the debate, and take no side.",
            Self::Neutral => "Weigh both sides, and say what you find.",
            Self::Primary => "Give the answer as a whole.",
            Self::Specialist => "Answer from your own field.",
            Self::Advisor => "Say what the answer has to look out for.",
            Self::Reviewer => "Read what the others say, and judge it.",
        }
    }
}

/// One who takes part in a pattern: an agent, a workflow or another pattern.
///
/// In data it is a name, or an object with `agent` or `pattern` and what is said of it.
///
/// ```
/// use raptorflow_core::workflow::{Member, Role, parallel};
/// let member: Member = serde_json::from_str(r#"{ "agent": "legal", "weight": 2.0, "role": "critic" }"#).unwrap();
/// assert_eq!(member, Member::new("legal").with_weight(2.0).with_role(Role::Critic));
/// let nested = Member::from(parallel(["a", "b"])).with_label("both");
/// assert_eq!(nested.label(), "both");
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Member {
    /// The name of an agent, a workflow or a pattern that the engine knows; empty for a `pattern`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub agent: String,
    /// Another pattern that takes part as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Box<PatternSpec>>,
    /// What the others know it by; its name by default. An agent that takes part twice needs two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The part that it plays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// How much its voice counts; 1 by default, from 0 to 10⁹.
    pub weight: f64,
    /// The capability that is wanted of it; the agent as a whole by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// In a sequence: whether it goes on without this one when it fails.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// In a sequence: the agent that takes back what this one did when one behind it fails; it is given its output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
    /// The agent itself, where it was given in code.
    #[serde(skip)]
    pub(super) given: Option<Agent>,
}

/// As it stands in data.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default)]
    agent: String,
    pattern: Option<Box<PatternSpec>>,
    label: Option<String>,
    role: Option<Role>,
    #[serde(default = "one")]
    weight: f64,
    capability: Option<String>,
    #[serde(default)]
    optional: bool,
    undo: Option<String>,
}

fn one() -> f64 {
    1.0
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // An untagged enum would not say what is wrong with an object.
        let value = match Value::deserialize(deserializer)? {
            Value::String(name) => return Ok(Self::new(name)),
            value => value,
        };
        let Fields { agent, pattern, label, role, weight, capability, optional, undo } =
            Fields::deserialize(value).map_err(D::Error::custom)?;
        Ok(Self { agent, pattern, label, role, weight, capability, optional, undo, given: None })
    }
}

impl PartialEq for Member {
    /// Whether they say the same; agents that were given in code are compared by name.
    fn eq(&self, other: &Self) -> bool {
        serde_json::to_value(self).ok() == serde_json::to_value(other).ok()
    }
}

impl Member {
    /// An agent, a workflow or a pattern that the engine knows.
    pub fn new(agent: impl Into<String>) -> Self {
        Self {
            agent: agent.into(),
            pattern: None,
            label: None,
            role: None,
            weight: 1.0,
            capability: None,
            optional: false,
            undo: None,
            given: None,
        }
    }

    /// Says what the others know it by.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Says which part it plays.
    #[must_use]
    pub fn with_role(mut self, role: Role) -> Self {
        self.role = Some(role);
        self
    }

    /// Says how much its voice counts.
    #[must_use]
    pub fn with_weight(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    /// Says which capability is wanted of it.
    #[must_use]
    pub fn with_capability(mut self, capability: impl Into<String>) -> Self {
        self.capability = Some(capability.into());
        self
    }

    /// Says that a sequence goes on without it.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Says which agent takes back what it did.
    #[must_use]
    pub fn with_undo(mut self, agent: impl Into<String>) -> Self {
        self.undo = Some(agent.into());
        self
    }

    /// What the others know it by.
    #[must_use]
    pub fn label(&self) -> &str {
        match (&self.label, &self.pattern) {
            (Some(label), _) => label,
            (None, Some(pattern)) => pattern.name(),
            (None, None) => &self.agent,
        }
    }

    pub(super) fn of(agent: &Agent) -> Self {
        Self { given: Some(agent.clone()), ..Self::new(agent.name().as_str()) }
    }
}

impl From<&str> for Member {
    fn from(agent: &str) -> Self {
        Self::new(agent)
    }
}

impl From<String> for Member {
    fn from(agent: String) -> Self {
        Self::new(agent)
    }
}

impl From<&AgentId> for Member {
    fn from(agent: &AgentId) -> Self {
        Self::new(agent.as_str())
    }
}

impl From<Agent> for Member {
    fn from(agent: Agent) -> Self {
        Self::of(&agent)
    }
}

impl From<&Agent> for Member {
    fn from(agent: &Agent) -> Self {
        Self::of(agent)
    }
}

impl From<Workflow> for Member {
    fn from(workflow: Workflow) -> Self {
        Self::of(&workflow.into())
    }
}

impl From<Pattern> for Member {
    fn from(pattern: Pattern) -> Self {
        pattern.spec().clone().into()
    }
}

impl From<PatternSpec> for Member {
    fn from(pattern: PatternSpec) -> Self {
        Self { pattern: Some(Box::new(pattern)), ..Self::new("") }
    }
}
