//! `Recall`: what is wanted of a memory, and `Recalled`, what came of it.

use serde::{Deserialize, Serialize};

use crate::{
    memory::{MemoryItem, MemoryKind, Trust},
    types::Timestamp,
};

/// How many memories are recalled by default.
const LIMIT: usize = 10;

/// Which memories are wanted; what is left out bounds nothing.
///
/// ```
/// use raptorflow_core::memory::{MemoryKind, Recall};
/// let recall = Recall::text("Which plan?").of(MemoryKind::Fact).limit(3).within(200);
/// assert_eq!((recall.limit, recall.max_tokens), (3, Some(200)));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Recall {
    /// What they are about; without it the freshest come first.
    pub text: Option<String>,
    /// Of one of these kinds; of any when empty.
    pub kinds: Vec<MemoryKind>,
    /// With all of these tags.
    pub tags: Vec<String>,
    /// At most this many; 10 by default.
    pub limit: usize,
    /// At most about this many tokens of text, by [`text_tokens`](crate::economics::text_tokens).
    pub max_tokens: Option<usize>,
    /// Kept at this time or later.
    pub since: Option<Timestamp>,
    /// Kept before this time.
    pub until: Option<Timestamp>,
    /// Trusted at least this far.
    pub trust: Trust,
    /// Whether what a newer memory of the same subject has replaced is recalled too.
    pub history: bool,
    /// Whether what is recalled counts as used now, and so fades later; true by default.
    pub refresh: bool,
}

impl Default for Recall {
    fn default() -> Self {
        Self {
            text: None,
            kinds: Vec::new(),
            tags: Vec::new(),
            limit: LIMIT,
            max_tokens: None,
            since: None,
            until: None,
            trust: Trust::Untrusted,
            history: false,
            refresh: true,
        }
    }
}

impl Recall {
    /// What bears on a text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..Self::default() }
    }

    /// Of this kind, or of another that was named.
    #[must_use]
    pub fn of(mut self, kind: MemoryKind) -> Self {
        self.kinds.push(kind);
        self
    }

    /// With this tag.
    #[must_use]
    pub fn tagged(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// At most this many.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Within about this many tokens.
    #[must_use]
    pub fn within(mut self, max_tokens: usize) -> Self {
        self.max_tokens = Some(max_tokens);
        self
    }

    /// What was replaced too.
    #[must_use]
    pub fn with_history(mut self) -> Self {
        self.history = true;
        self
    }

    /// Without counting it as used.
    #[must_use]
    pub fn without_refresh(mut self) -> Self {
        self.refresh = false;
        self
    }

    /// Whether an item fulfills everything but the text.
    #[must_use]
    pub fn allows(&self, item: &MemoryItem) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&item.kind))
            && self.tags.iter().all(|tag| item.tags.contains(tag))
            && self.since.is_none_or(|since| item.created >= since)
            && self.until.is_none_or(|until| item.created < until)
            && item.trust >= self.trust
    }
}

/// A memory that was recalled, and why it stands where it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recalled {
    /// The memory, as it was before it was recalled.
    pub item: MemoryItem,
    /// `relevance` × `weight`.
    pub score: f64,
    /// How well it fits the text, from 0 to 1; 1 for the best, and for all where there was no text.
    pub relevance: f64,
    /// How fresh it is, from 0.1 to 1; see [`decay`](crate::memory::decay).
    pub weight: f64,
}
