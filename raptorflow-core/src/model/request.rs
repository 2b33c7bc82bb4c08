//! `ChatRequest`: a conversation and what is expected of the answer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::types::{Message, Schema, ToolSpec};

/// The form of the answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Output {
    /// Free text.
    #[default]
    Text,
    /// JSON that fits a schema.
    Json {
        /// A name for the schema, `[A-Za-z0-9_-]`, at most 64 characters.
        name: String,
        /// The schema.
        schema: Schema,
    },
}

/// Whether the model may or must ask for tools.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// As it sees fit.
    #[default]
    Auto,
    /// Not at all.
    None,
    /// At least one.
    Required,
    /// This one.
    Tool(String),
}

/// A conversation and what is expected of the answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChatRequest {
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// Tools it may ask for.
    pub tools: Arc<[ToolSpec]>,
    /// Whether it may or must.
    pub tool_choice: ToolChoice,
    /// The form of the answer.
    pub output: Output,
    /// Randomness, 0 to 2; the provider's default when `None`.
    pub temperature: Option<f32>,
    /// The longest answer in tokens; the provider's default when `None`.
    pub max_output_tokens: Option<u32>,
}

impl ChatRequest {
    /// A conversation without tools that wants free text.
    #[must_use]
    pub fn new(messages: Vec<Message>) -> Self {
        Self { messages, ..Self::default() }
    }

    /// Tools it may ask for.
    #[must_use]
    pub fn with_tools(mut self, tools: impl Into<Arc<[ToolSpec]>>) -> Self {
        self.tools = tools.into();
        self
    }

    /// JSON that fits a schema.
    #[must_use]
    pub fn with_output(mut self, output: Output) -> Self {
        self.output = output;
        self
    }
}
