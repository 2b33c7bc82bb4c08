//! Tool data: what a tool is, what a model asks of it, and what it answered.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::types::{Money, Schema};

/// What calling a tool changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effects {
    /// Nothing: calls may run in parallel and be repeated.
    #[default]
    Read,
    /// Data of the host: calls run one after another.
    Write,
    /// The world outside: calls run one after another.
    External,
}

/// What a tool is, as a model and the dispatcher see it.
///
/// ```
/// use raptorflow_core::types::{Effects, Schema, ToolSpec};
/// let spec = ToolSpec { effects: Effects::Write, ..ToolSpec::new("save", "Saves a draft.", Schema::any_object()) };
/// assert_eq!(spec.timeout.as_secs(), 30);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolSpec {
    /// The name that a model calls, unique in a registry; `[A-Za-z0-9_-]`, 1 to 64 characters.
    pub name: String,
    /// What it does and when to use it, for the model.
    pub description: String,
    /// JSON Schema of the arguments; its type is `object`.
    pub parameters: Schema,
    /// What a call changes.
    #[serde(default)]
    pub effects: Effects,
    /// How long one call may take; 30 seconds by default.
    #[serde(default = "default_timeout")]
    pub timeout: Duration,
    /// Whether a person must approve each call; `false` by default.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approval: bool,
    /// How often a tenant may call it; as often as it likes when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<ToolRate>,
    /// What one call costs, as text like `0.01 USD`; nothing when `None`.
    ///
    /// It is reserved from budgets before the call, and counts in the run once the tool was called, whatever it
    /// answers: a call that failed may have been paid all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Money>,
    /// What an agent must have been granted to call it, where its grants are listed; its own name when `None`, and
    /// nothing when it is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Vec<String>>,
}

/// How often a tool may be called, by all agents of a tenant together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolRate {
    /// So many calls, at least 1.
    pub calls: u32,
    /// In so many seconds, at least 1.
    pub seconds: u64,
}

impl ToolSpec {
    /// A tool that reads, with the default time-out of 30 seconds.
    pub fn new(name: impl Into<String>, description: impl Into<String>, parameters: Schema) -> Self {
        Self {
            name: name.into(),
            description: description.into(),
            parameters,
            effects: Effects::default(),
            timeout: default_timeout(),
            approval: false,
            rate: None,
            cost: None,
            needs: None,
        }
    }

    /// What must have been granted to call it.
    pub(crate) fn needed(&self) -> &[String] {
        self.needs.as_deref().unwrap_or(std::slice::from_ref(&self.name))
    }
}

fn default_timeout() -> Duration {
    Duration::from_secs(30)
}

/// A model asks for a tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The id that ties the result to the call, given by the model.
    pub id: String,
    /// The name of the tool.
    pub name: String,
    /// The arguments; text that was not JSON stays a string, and validation refuses it.
    pub arguments: Value,
}

/// What a tool answered; untrusted data for the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolResult {
    /// The id of the call.
    pub id: String,
    /// The name of the tool.
    pub name: String,
    /// The value, or a description of the error for the model.
    pub content: Value,
    /// Whether the call failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_error: bool,
    /// What the call cost, where its tool says; models are not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Money>,
}
