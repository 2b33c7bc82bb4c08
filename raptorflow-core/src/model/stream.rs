//! `StreamPart`, a piece of an answer, and `Accumulator`, which folds pieces into a response.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{model::FinishReason, types::Usage};

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum StreamPart {
    /// More text.
    Text {
        /// The piece.
        text: String,
    },
    /// More of what the model thinks.
    Reasoning {
        /// The piece.
        text: String,
        /// The provider's own data, to be sent back unchanged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        opaque: Option<Value>,
    },
    /// More of a tool call.
    ToolCall {
        /// Which of the calls, from 0.
        index: usize,
        /// The id; in the first piece of a call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// The tool; in the first piece of a call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// More of the arguments' JSON text.
        #[serde(default)]
        arguments: String,
    },
    /// What the answer took.
    Usage {
        /// The counts.
        usage: Usage,
    },
    /// The end.
    Finish {
        /// Why.
        reason: FinishReason,
    },
}
