//! `MemoryItem`: one thing that is remembered, with where it comes from and how far it is trusted.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::Context,
    types::{AgentId, RunId, Timestamp},
};

/// The longest id, in bytes.
const MAX_ID: usize = 128;

/// What a memory is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MemoryKind {
    /// Something that a host or an agent wrote down.
    #[default]
    Note,
    /// What happened in a run.
    Episode,
    /// A statement that is taken to be true until a newer one of its subject replaces it.
    Fact,
}

/// How far the text of a memory is trusted.
///
/// No memory is an instruction, however far it is trusted; who recalls may ask for trusted ones alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// From a model, a tool, a document or a user.
    #[default]
    Untrusted,
    /// From the host itself.
    Trusted,
}

/// Where a memory comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Provenance {
    /// The run in which it arose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The agent who said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// A source outside, such as a file or an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Arc<str>>,
    /// The ids of the memories that it was made from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<String>,
}

/// A memory that is to be kept; see [`Memory::append`](crate::memory::Memory::append).
///
/// ```
/// use raptorflow_core::memory::{MemoryKind, NewItem, Trust};
/// let item = NewItem::fact("plan", "The customer is on the basic plan.").tagged("sales").pinned();
/// assert_eq!((item.kind, item.trust), (MemoryKind::Fact, Trust::Untrusted));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewItem {
    /// Its id, so that appending it twice keeps it once; a new one when `None`.
    pub id: Option<String>,
    /// What it is of.
    pub kind: MemoryKind,
    /// The text, which is searched and shown.
    pub text: String,
    /// Data of the host beside the text, which is kept and not searched.
    pub value: Value,
    /// What it says something about; of several with one subject the newest counts.
    pub subject: Option<Arc<str>>,
    /// Where it comes from.
    pub provenance: Provenance,
    /// How far it is trusted; not at all by default.
    pub trust: Trust,
    /// Whether it stays, does not fade, and is always recalled.
    pub pinned: bool,
    /// Words of the host's choice to recall it by.
    pub tags: Vec<String>,
}

impl NewItem {
    /// A text of a kind.
    pub fn new(kind: MemoryKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), ..Self::default() }
    }

    /// A note.
    pub fn note(text: impl Into<String>) -> Self {
        Self::new(MemoryKind::Note, text)
    }

    /// A fact about a subject.
    pub fn fact(subject: impl Into<Arc<str>>, text: impl Into<String>) -> Self {
        Self { subject: Some(subject.into()), ..Self::new(MemoryKind::Fact, text) }
    }

    /// An id of the host's choice.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Data beside the text.
    #[must_use]
    pub fn with_value(mut self, value: impl Into<Value>) -> Self {
        self.value = value.into();
        self
    }

    /// Where it comes from.
    #[must_use]
    pub fn from(mut self, provenance: Provenance) -> Self {
        self.provenance = provenance;
        self
    }

    /// One more tag.
    #[must_use]
    pub fn tagged(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Said by the host itself.
    #[must_use]
    pub fn trusted(mut self) -> Self {
        self.trust = Trust::Trusted;
        self
    }

    /// Never forgotten by itself, and always recalled.
    #[must_use]
    pub fn pinned(mut self) -> Self {
        self.pinned = true;
        self
    }

    /// The item as it is kept.
    pub(crate) fn into_item(self, ctx: &Context, max_text: usize) -> Result<MemoryItem> {
        let invalid = |field, expected: &str| {
            Error::new(ErrorKind::InvalidInput, "memory.append", expected.to_owned()).with("field", field)
        };
        if self.text.trim().is_empty() {
            return Err(invalid("text", "expected a text"));
        }
        if self.text.len() > max_text {
            let err = invalid("text", "the text is longer than a memory may be");
            return Err(err.with("bytes", self.text.len()).with("expected", max_text));
        }
        let id = self.id.unwrap_or_else(|| ctx.runtime().ids().event().to_string());
        if !(1..=MAX_ID).contains(&id.len()) || id.chars().any(|c| c.is_control() || c == '/') {
            return Err(invalid("id", "expected 1 to 128 bytes without slashes and control characters"));
        }
        let now = ctx.now();
        Ok(MemoryItem {
            id,
            kind: self.kind,
            text: self.text,
            value: self.value,
            subject: self.subject,
            provenance: self.provenance,
            trust: self.trust,
            created: now,
            accessed: now,
            accesses: 0,
            pinned: self.pinned,
            tags: self.tags,
        })
    }
}

/// One thing that is remembered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryItem {
    /// Its id, unique within its scope.
    pub id: String,
    /// What it is of.
    pub kind: MemoryKind,
    /// The text.
    pub text: String,
    /// Data of the host beside the text.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub value: Value,
    /// What it says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Arc<str>>,
    /// Where it comes from.
    #[serde(default)]
    pub provenance: Provenance,
    /// How far it is trusted.
    #[serde(default)]
    pub trust: Trust,
    /// When it was kept.
    pub created: Timestamp,
    /// When it was last recalled, or kept.
    pub accessed: Timestamp,
    /// How often it was recalled.
    #[serde(default)]
    pub accesses: u64,
    /// Whether it stays, does not fade, and is always recalled.
    #[serde(default)]
    pub pinned: bool,
    /// Words of the host's choice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}
