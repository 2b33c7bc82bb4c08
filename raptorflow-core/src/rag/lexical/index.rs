//! `LexicalIndex`: texts under keys, found by the words they share with a query.

use std::fmt::{self, Debug};

use async_trait::async_trait;

use crate::{
    error::Result,
    rag::{
        embed::Corpus,
        vector::{KeyFilter, Scored},
    },
    runtime::Context,
};

/// What a lexical index really offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LexicalCapability {
    /// Acknowledged changes survive the end of the process.
    pub durable: bool,
}

impl LexicalCapability {
    /// A record of the abilities.
    #[must_use]
    pub const fn new(durable: bool) -> Self {
        Self { durable }
    }
}

/// What to look for.
#[derive(Clone, Copy)]
pub struct LexicalQuery<'a> {
    /// Words, in any order; repeated words count again.
    pub text: &'a str,
    /// At most this many results.
    pub k: usize,
    /// Only keys that this allows.
    pub filter: Option<KeyFilter<'a>>,
}

impl Debug for LexicalQuery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LexicalQuery")
            .field("k", &self.k)
            .field("filtered", &self.filter.is_some())
            .finish_non_exhaustive()
    }
}

/// Texts of one knowledge base under keys that the caller chooses.
///
/// # Contract
/// - `put` then `search` finds the text; `put` of a present key replaces its text.
/// - a batch names a key twice: the last text counts.
/// - `delete` says how many of the keys existed; deleted keys are never returned.
/// - after any puts and deletes the scores equal those of a new index over the same texts.
/// - `search` yields the best first, ties by the smaller key, at most `k`, each score above 0.
/// - `search` asks the filter inside: `k` results come back when `k` allowed texts match.
/// - a query without a known word, a `k` of 0 and an empty index yield nothing.
#[async_trait]
pub trait LexicalIndex: Debug + Send + Sync + 'static {
    /// What this index really offers.
    fn capability(&self) -> LexicalCapability;

    /// How many texts it holds.
    async fn count(&self, ctx: &Context) -> Result<usize>;

    /// Adds or replaces texts.
    async fn put(&self, ctx: &Context, items: &[(u64, &str)]) -> Result<()>;

    /// Removes texts and says how many there were.
    async fn delete(&self, ctx: &Context, keys: &[u64]) -> Result<usize>;

    /// The best texts for a query.
    async fn search(&self, ctx: &Context, query: LexicalQuery<'_>) -> Result<Vec<Scored>>;

    /// How rare words are in it, for a weight-free embedder; `None` when it cannot say without waiting.
    fn corpus(&self) -> Option<&dyn Corpus> {
        None
    }
}
