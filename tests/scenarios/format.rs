//! A scenario as data; a field or kind that is not listed here is refused.

use std::collections::BTreeMap;

use raptorflow_core::{
    ErrorKind,
    agent::AgentSpec,
    event::EventKind,
    journal::{RunStatus, StepStatus},
    model::BreakerState,
    types::{Effects, Finish, Money, Role, Schema, ToolCall, Usage},
};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) about: String,
    #[serde(default)]
    pub(crate) storage: Store,
    #[serde(default)]
    pub(crate) model: Vec<Reply>,
    #[serde(default)]
    pub(crate) other_model: Vec<Reply>,
    /// Layers, budgets and prices; which of their fields there are is core's affair.
    #[serde(default)]
    pub(crate) settings: Map<String, Value>,
    #[serde(default)]
    pub(crate) tools: Vec<Tool>,
    #[serde(default)]
    pub(crate) functions: Vec<Function>,
    #[serde(default)]
    pub(crate) agents: Vec<AgentSpec>,
    /// Workflows as data; which of their fields there are is core's affair.
    #[serde(default)]
    pub(crate) workflows: Vec<Value>,
    /// Patterns as data; which of their fields there are is core's affair.
    #[serde(default)]
    pub(crate) patterns: Vec<Value>,
    #[serde(default)]
    pub(crate) knowledge: Vec<Source>,
    pub(crate) steps: Vec<Step>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Store {
    #[default]
    Memory,
    Sqlite,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reply {
    /// A string, or the strings that it arrives in.
    #[serde(default)]
    pub(crate) text: Value,
    #[serde(default)]
    pub(crate) tool_calls: Vec<ToolCall>,
    #[serde(default)]
    pub(crate) usage: Option<Usage>,
    #[serde(default)]
    pub(crate) error: Option<Fault>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
    /// After how many seconds it may be tried again; never by default.
    #[serde(default)]
    pub(crate) retry_after: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) parameters: Schema,
    #[serde(default)]
    pub(crate) effects: Effects,
    pub(crate) behavior: Behavior,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Function {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) behavior: Behavior,
}

#[derive(Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Behavior {
    Upper,
    Echo,
    Sum,
    Value { value: Value },
    Fail { message: String },
    FailOnce { message: String, value: Value },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    pub(crate) id: String,
    pub(crate) text: String,
    #[serde(default)]
    pub(crate) metadata: Map<String, Value>,
}

/// One step: exactly one of the fields before the last, and what is expected of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    #[serde(default)]
    pub(crate) run: Option<Run>,
    #[serde(default)]
    pub(crate) ask: Option<Ask>,
    #[serde(default)]
    pub(crate) start: Option<Run>,
    #[serde(default)]
    pub(crate) outcome: Option<String>,
    #[serde(default)]
    pub(crate) resume: Option<String>,
    #[serde(default)]
    pub(crate) cancel: Option<String>,
    #[serde(default)]
    pub(crate) pause: Option<String>,
    #[serde(default)]
    pub(crate) signal: Option<Signal>,
    #[serde(default)]
    pub(crate) fork: Option<Place>,
    #[serde(default)]
    pub(crate) state: Option<Place>,
    #[serde(default)]
    pub(crate) set_cap: Option<CapOf>,
    #[serde(default)]
    pub(crate) usage: Option<Whose>,
    #[serde(default)]
    pub(crate) define: Option<Value>,
    #[serde(default)]
    pub(crate) search: Option<Search>,
    #[serde(default)]
    pub(crate) reopen: Option<Reopen>,
    #[serde(default)]
    pub(crate) expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signal {
    pub(crate) run: String,
    pub(crate) name: String,
    pub(crate) value: Value,
    #[serde(default)]
    pub(crate) by: Option<String>,
}

/// A run after so many entries, or as it is now.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    pub(crate) run: String,
    #[serde(default)]
    pub(crate) at: Option<u64>,
}

/// Whose spending is meant; the tenant's where nothing is named.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Whose {
    #[serde(default)]
    pub(crate) user: Option<String>,
    #[serde(default)]
    pub(crate) run: Option<String>,
}

/// What a run may spend in all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CapOf {
    pub(crate) run: String,
    pub(crate) money: Money,
}

/// Another engine with the same registrations, or with other workflows.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Reopen {
    Same(bool),
    With(Changed),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Changed {
    pub(crate) workflows: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    pub(crate) agent: String,
    pub(crate) input: Value,
    #[serde(default)]
    pub(crate) capability: Option<String>,
    #[serde(default)]
    pub(crate) user: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    pub(crate) question: Value,
    pub(crate) schema: Schema,
    #[serde(default)]
    pub(crate) agent: Option<String>,
    #[serde(default)]
    pub(crate) model: Option<String>,
    #[serde(default)]
    pub(crate) instructions: Option<String>,
    #[serde(default)]
    pub(crate) background: Option<String>,
    #[serde(default)]
    pub(crate) repairs: Option<u32>,
    /// Whether the answer is read as it arrives.
    #[serde(default)]
    pub(crate) stream: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Search {
    pub(crate) query: String,
    pub(crate) k: usize,
    #[serde(default)]
    pub(crate) mode: Option<String>,
    #[serde(default)]
    pub(crate) filter: Map<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Expect {
    #[serde(deserialize_with = "present")]
    pub(crate) output: Option<Value>,
    pub(crate) finish: Option<Finish>,
    pub(crate) usage: Option<Map<String, Value>>,
    /// As text, such as `0.001000 USD`.
    pub(crate) cost: Option<String>,
    pub(crate) spent: Option<Spent>,
    pub(crate) layers: Option<Did>,
    pub(crate) passages: Option<Vec<Cited>>,
    pub(crate) error: Option<Failure>,
    pub(crate) events: Option<Vec<EventKind>>,
    pub(crate) requests: Option<Vec<Asked>>,
    pub(crate) model_calls: Option<usize>,
    pub(crate) tool_calls: Option<Vec<Called>>,
    pub(crate) function_calls: Option<Vec<Entered>>,
    pub(crate) documents: Option<Vec<String>>,
    pub(crate) parts: Option<Vec<Part>>,
    pub(crate) state: Option<Shown>,
}

/// What is expected of a report.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spent {
    pub(crate) calls: u64,
    pub(crate) cost: String,
    /// How many calls each model answered.
    pub(crate) models: BTreeMap<String, u64>,
}

/// What is expected of the engine's layers after the step.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Did {
    #[serde(default)]
    pub(crate) breakers: Option<BTreeMap<String, BreakerState>>,
    #[serde(default)]
    pub(crate) cache_hits: Option<u64>,
    #[serde(default)]
    pub(crate) refused: Option<u64>,
}

/// What is expected of the state of a run.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shown {
    #[serde(default)]
    pub(crate) status: Option<RunStatus>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) input: Option<Value>,
    #[serde(default)]
    pub(crate) steps: Option<BTreeMap<String, StepStatus>>,
    #[serde(default)]
    pub(crate) outputs: BTreeMap<String, Value>,
    #[serde(default)]
    pub(crate) signals: Option<Vec<Given>>,
    #[serde(default)]
    pub(crate) forked_at: Option<u64>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Given {
    pub(crate) name: String,
    pub(crate) value: Value,
    #[serde(default)]
    pub(crate) by: Option<String>,
}

/// A part of an answer that is read as it arrives.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(untagged, deny_unknown_fields)]
pub(crate) enum Part {
    Again { again: u32 },
    Partial { value: Value, open: Option<String> },
}

/// `null` is an output to expect, and no output is none.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cited {
    pub(crate) number: u32,
    pub(crate) source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    #[serde(default)]
    pub(crate) context: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) says: Option<String>,
    #[serde(default)]
    pub(crate) problems: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    pub(crate) roles: Vec<Role>,
    #[serde(default)]
    pub(crate) first: Option<String>,
    #[serde(default)]
    pub(crate) last: Option<String>,
    #[serde(default)]
    pub(crate) tools: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) passages: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) results: Option<Vec<Told>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(default, deserialize_with = "present")]
    pub(crate) content: Option<Value>,
    #[serde(default)]
    pub(crate) error: Option<ErrorKind>,
    #[serde(default)]
    pub(crate) says: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Called {
    pub(crate) name: String,
    pub(crate) arguments: Value,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entered {
    pub(crate) name: String,
    pub(crate) input: Value,
}
