//! `AgentSpec`: an agent as data.

use std::{
    str::FromStr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    agent::{Capability, Compaction, Handoff},
    error::{Error, ErrorKind, Result},
    memory::Remember,
    model::ModelSettings,
    types::{AgentId, Money, Schema},
};

/// What an agent is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AgentKind {
    /// Chooses who does the work.
    Router,
    /// Knows one craft.
    #[default]
    Specialist,
    /// Keeps several in step.
    Coordinator,
    /// Leads a team.
    Orchestrator,
    /// Takes things apart.
    Analyzer,
    /// Writes.
    Generator,
    /// Does one small thing.
    Utility,
    /// Acts on other systems.
    Automator,
    /// Guards.
    Security,
}

impl FromStr for AgentKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        serde_json::from_value(serde_json::Value::from(text)).map_err(|_| {
            let expected = "expected router, specialist, coordinator, orchestrator, analyzer, generator, utility, \
                            automator or security";
            Error::new(ErrorKind::InvalidInput, "agent.kind", expected).with("field", "kind").with("value", text)
        })
    }
}

/// Bounds of one run of an agent; at a bound the run ends with what it has and says which bound it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// Calls of the model; 16 by default.
    pub steps: u32,
    /// Calls of tools; 64 by default.
    pub tool_calls: u32,
    /// How often one tool may be called with the same arguments in a row; 3 by default.
    pub repeated_calls: u32,
    /// Input and output tokens of all calls together; no bound by default.
    pub tokens: Option<u64>,
    /// What all calls of models may cost together; no bound by default.
    ///
    /// A cost that is not known, for want of a price, counts as one that has reached the bound.
    pub cost: Option<Money>,
    /// How often an answer that does not fit its schema is sent back; 1 by default.
    pub repairs: u32,
    /// Seconds for the whole run; no bound by default.
    pub seconds: Option<u64>,
    /// How deep calls of agents by agents may be nested: it asks another one only when fewer than this many agents,
    /// teams and workflows are above it; 5 by default.
    pub depth: u32,
    /// Seconds that a hook may take at one moment; 30 by default.
    pub hook_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            steps: 16,
            tool_calls: 64,
            repeated_calls: 3,
            tokens: None,
            cost: None,
            repairs: 1,
            seconds: None,
            depth: 5,
            hook_seconds: 30,
        }
    }
}

impl Limits {
    /// The time for the whole run.
    #[must_use]
    pub fn time(&self) -> Option<Duration> {
        self.seconds.map(Duration::from_secs)
    }
}

/// Passages that an agent is given before it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Retrieval {
    /// At most this many tokens of passages; 2,000 by default.
    pub max_tokens: usize,
    /// Whether the agent fails with `NotFound`, instead of answering without passages, when there are none.
    pub required: bool,
}

impl Default for Retrieval {
    fn default() -> Self {
        Self { max_tokens: 2000, required: false }
    }
}

/// Words by which a request finds an agent or a team.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Routing {
    /// Words and short phrases that a fitting request contains.
    pub words: Vec<String>,
}

/// An agent as data.
///
/// ```
/// use raptorflow_core::agent::AgentSpec;
/// let spec: AgentSpec = toml::from_str(r#"
///     name = "pricing"
///     description = "Works out prices."
///     instructions = "Answer with one number."
/// "#).unwrap();
/// assert_eq!(spec.name.as_str(), "pricing");
/// assert_eq!(spec.limits.steps, 16);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentSpec {
    /// Its name, unique in an engine.
    pub name: AgentId,
    /// Its name for people; the plain name when empty.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub title: Arc<str>,
    /// The team it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<Arc<str>>,
    /// What it is for.
    #[serde(default)]
    pub kind: AgentKind,
    /// What it does and when to choose it.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub description: Arc<str>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What its author tells the model; the system message.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub instructions: Arc<str>,
    /// The model, as `provider:model`; the engine's default when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Arc<str>>,
    /// How the model is to answer.
    #[serde(default = "usual_settings", skip_serializing_if = "is_usual")]
    pub model_settings: Arc<ModelSettings>,
    /// Names of tools that the engine knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// Names of agents that the engine knows and that it may ask, each as a tool of that name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<AgentId>,
    /// Agents that it may hand the conversation to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handoffs: Vec<Handoff>,
    /// What it may do, by name: only tools whose needs it lists, and only what its caller may.
    ///
    /// `None` bounds nothing beyond what its caller is bound to, and is the default; an empty list grants nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<String>>,
    /// Whether it has the tools `post_note` and `read_notes` for the blackboard of the run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blackboard: bool,
    /// The form of its answer; free text when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Schema>,
    /// Passages that it is given before it is asked; none when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retrieval: Option<Retrieval>,
    /// What it is given of its memory and keeps in it; it remembers nothing when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Box<Remember>>,
    /// How a conversation is made shorter that nears the model's context window; it is not when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compaction: Option<Box<Compaction>>,
    /// Bounds of one run.
    #[serde(default)]
    pub limits: Limits,
    /// Words by which a request finds it.
    #[serde(default)]
    pub routing: Routing,
    /// What it can do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Capability>,
}

impl AgentSpec {
    /// An agent with a name and nothing else.
    ///
    /// # Errors
    /// `InvalidInput` when the name does not fit; see [`AgentId::new`].
    pub fn new(name: impl Into<Arc<str>>) -> Result<Self> {
        AgentId::new(name).map(Self::of)
    }

    /// An agent with a name that was checked and nothing else.
    pub(crate) fn of(name: AgentId) -> Self {
        Self {
            name,
            title: Arc::default(),
            domain: None,
            kind: AgentKind::default(),
            description: Arc::default(),
            tags: Vec::new(),
            instructions: Arc::default(),
            model: None,
            model_settings: usual_settings(),
            tools: Vec::new(),
            agents: Vec::new(),
            handoffs: Vec::new(),
            grants: None,
            blackboard: false,
            output: None,
            retrieval: None,
            memory: None,
            compaction: None,
            limits: Limits::default(),
            routing: Routing::default(),
            capabilities: Vec::new(),
        }
    }

    /// Its name for people.
    #[must_use]
    pub fn title(&self) -> &str {
        if self.title.is_empty() { self.name.as_str() } else { &self.title }
    }

    /// A capability by its name.
    ///
    /// # Errors
    /// `NotFound` that lists the capabilities.
    pub fn capability(&self, name: &str) -> Result<&Capability> {
        self.capabilities.iter().find(|capability| capability.name == name).ok_or_else(|| {
            let known: Vec<&str> =
                self.capabilities.iter().map(|capability| capability.name.as_str()).collect();
            Error::new(ErrorKind::NotFound, "agent.capability", "the agent has no capability of this name")
                .with("agent", &self.name)
                .with("capability", name)
                .with("known", if known.is_empty() { "none".to_owned() } else { known.join(", ") })
        })
    }
}

/// What every agent shares that sets nothing of its model.
static USUAL_SETTINGS: LazyLock<Arc<ModelSettings>> = LazyLock::new(Arc::default);

fn usual_settings() -> Arc<ModelSettings> {
    Arc::clone(&USUAL_SETTINGS)
}

fn is_usual(settings: &ModelSettings) -> bool {
    settings.is_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_agent_takes_little_room_and_shares_what_it_does_not_set() {
        let (one, other) = (AgentSpec::new("one").unwrap(), AgentSpec::new("other").unwrap());
        assert!(size_of::<AgentSpec>() <= 416, "{} bytes", size_of::<AgentSpec>());
        assert!(Arc::ptr_eq(&one.model_settings, &other.model_settings));
        let read: AgentSpec = serde_json::from_value(serde_json::to_value(&one).unwrap()).unwrap();
        assert!(Arc::ptr_eq(&one.model_settings, &read.model_settings));
        assert_eq!(read, one);
    }
}
