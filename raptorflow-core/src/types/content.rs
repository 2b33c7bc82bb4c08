//! `Message`, `Role`, `Part`: what people, models and agents say to each other.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::types::{Document, Media, ToolCall, ToolResult};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The author of the agent; untrusted text never gets this role.
    System,
    /// A person, another agent, or retrieved text.
    User,
    /// The model.
    Assistant,
    /// A tool's result.
    Tool,
}

/// A numbered piece of a document that an answer may cite.
///
/// It is data from outside: backends delimit it and never give it the system role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// The number that citations use, from 1.
    pub number: u32,
    /// Where it comes from: a path relative to the folder, or an id.
    pub source: Arc<str>,
    /// First and last line in the source, from 1, both included.
    pub lines: (u32, u32),
    /// Headings above it, outermost first, joined with ` > `; empty when there are none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub heading: String,
    /// The text, exactly as in the source.
    pub text: Arc<str>,
}

/// One part of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Part {
    /// Plain text.
    Text {
        /// The text.
        text: String,
    },
    /// A piece of a document.
    Passage(Passage),
    /// A picture; behind a tool's result it belongs to that result.
    Image(Media),
    /// A file such as a PDF; behind a tool's result it belongs to that result.
    Document(Document),
    /// What a model thought; `opaque` goes back to the same provider unchanged.
    Reasoning {
        /// The readable part, possibly empty.
        text: String,
        /// The provider's own data (signatures, encrypted content).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        opaque: Option<Value>,
    },
    /// A model asks for a tool.
    ToolCall(ToolCall),
    /// A tool answered.
    ToolResult(ToolResult),
}

impl Part {
    /// A text part.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }
}

/// One message of a conversation.
///
/// ```
/// use raptorflow_core::types::{Message, Role};
/// let message = Message::user("₹1000 with GST?");
/// assert_eq!(message.role, Role::User);
/// assert_eq!(message.text(), "₹1000 with GST?");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order.
    pub parts: Vec<Part>,
}

impl Message {
    /// A message of one text part.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self { role, parts: vec![Part::text(text)] }
    }

    /// Instructions by the author of an agent.
    pub fn system(text: impl Into<String>) -> Self {
        Self::new(Role::System, text)
    }

    /// What a person or another agent says.
    pub fn user(text: impl Into<String>) -> Self {
        Self::new(Role::User, text)
    }

    /// What a model says.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::new(Role::Assistant, text)
    }

    /// All text parts joined; reasoning, passages and tool data are left out.
    #[must_use]
    pub fn text(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text { text } => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    /// The tool calls in it, in order.
    pub fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.parts.iter().filter_map(|part| match part {
            Part::ToolCall(call) => Some(call),
            _ => None,
        })
    }

    /// The passages in it, in order.
    pub fn passages(&self) -> impl Iterator<Item = &Passage> {
        self.parts.iter().filter_map(|part| match part {
            Part::Passage(passage) => Some(passage),
            _ => None,
        })
    }
}
