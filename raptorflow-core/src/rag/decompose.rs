//! `QueryDecomposer`: a question of several parts is searched part by part.

use std::{collections::HashMap, fmt::Debug, sync::Arc};

use async_trait::async_trait;

use crate::{
    error::Result,
    rag::{
        fusion::reciprocal_rank_fusion,
        knowledge::KnowledgeBase,
        retrieve::{Found, Mode, Search},
        vector::Scored,
    },
    runtime::Context,
};

/// How little the first ranks of a part stand out.
const RANKS: f32 = 60.0;
/// How many parts of one question are searched at most.
const MAX_PARTS: usize = 8;

/// Splits a question into questions that can be answered by themselves.
///
/// # Contract
/// - no part means that the question is searched as it is.
/// - a part without text is passed over, and of more than eight the first eight count.
///
/// # Examples
/// ```
/// use async_trait::async_trait;
/// use raptorflow_core::{KnowledgeBase, Result, rag::{Document, HashingEmbedder, QueryDecomposer}, runtime::Context};
///
/// /// Each sentence is a question.
/// #[derive(Debug)]
/// struct Sentences;
///
/// #[async_trait]
/// impl QueryDecomposer for Sentences {
///     async fn parts(&self, _ctx: &Context, query: &str) -> Result<Vec<String>> {
///         Ok(query.split_inclusive('?').map(str::to_owned).collect())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let kb = KnowledgeBase::in_memory(HashingEmbedder::default()).await?;
/// kb.add([Document::new("price", "The basic plan costs ₹499."), Document::new("time", "Refunds take a week.")]).await?;
/// let hits = kb.search("What costs the plan? How long do refunds take?").decompose(Sentences).k(2).await?;
/// assert_eq!(hits.len(), 2);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait QueryDecomposer: Debug + Send + Sync + 'static {
    /// The parts of a query.
    async fn parts(&self, ctx: &Context, query: &str) -> Result<Vec<String>>;
}

impl Search {
    /// Searches the parts of the query beside the query itself, and fuses the lists by reciprocal ranks; off by default.
    pub fn decompose(mut self, decomposer: impl QueryDecomposer) -> Self {
        self.decomposer = Some(Arc::new(decomposer));
        self
    }
}

impl KnowledgeBase {
    /// The candidates of a query, or of it and its parts.
    pub(crate) async fn all_candidates(&self, search: &Search, mode: Mode, k: usize) -> Result<Vec<Found>> {
        let whole = self.candidates(search, mode, k).await?;
        let Some(decomposer) = &search.decomposer else { return Ok(whole) };
        let mut lists = vec![whole];
        let parts = decomposer.parts(self.ctx(), &search.query).await?;
        for query in parts.into_iter().filter(|part| !part.trim().is_empty()).take(MAX_PARTS) {
            if query.trim() != search.query.trim() {
                let mut part = search.clone();
                part.query = query;
                lists.push(self.candidates(&part, mode, k).await?);
            }
        }
        Ok(if lists.len() == 1 { lists.pop().unwrap_or_default() } else { fused(lists, k) })
    }
}

fn fused(lists: Vec<Vec<Found>>, k: usize) -> Vec<Found> {
    let ranked: Vec<Vec<Scored>> = lists
        .iter()
        .map(|list| list.iter().map(|found| Scored { key: found.key(), score: found.score }).collect())
        .collect();
    let ranked: Vec<&[Scored]> = ranked.iter().map(Vec::as_slice).collect();
    let mut by_key: HashMap<u64, Found> = HashMap::new();
    for found in lists.into_iter().flatten() {
        by_key.entry(found.key()).or_insert(found);
    }
    let fused = reciprocal_rank_fusion(&ranked, RANKS).into_iter().take(k);
    fused.filter_map(|scored| Some(Found { score: scored.score, ..by_key.remove(&scored.key)? })).collect()
}
