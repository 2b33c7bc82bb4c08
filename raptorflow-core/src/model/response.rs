//! `ChatResponse`: a whole answer, and why it ended.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::types::{Message, Usage};

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// The model was done.
    Stop,
    /// The longest answer was reached.
    Length,
    /// The model waits for tools.
    ToolCalls,
    /// The provider withheld the answer.
    ContentFilter,
    /// A reason that this version does not know.
    Other(String),
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatResponse {
    /// The model's name, `provider:model`.
    pub model: Arc<str>,
    /// What it said.
    pub message: Message,
    /// Why it ended.
    pub finish: FinishReason,
    /// What it took; zero when the provider did not say.
    pub usage: Usage,
}
