//! `Reranker`, the trait of a model that orders passages by how well they answer a question.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::Context,
    types::Usage,
};

/// One document in its new place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reranked {
    /// Its place among the documents that were given, from 0.
    pub index: usize,
    /// How well it answers; higher is better, and comparable within one answer only.
    pub score: f32,
}

/// What a reranker answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RerankAnswer {
    /// The best first.
    pub results: Vec<Reranked>,
    /// The tokens that were read; zero when the provider does not tell.
    pub usage: Usage,
}

impl RerankAnswer {
    /// Puts the best first, ties by the smaller index, and checks that it is an answer for so many documents.
    ///
    /// # Errors
    /// `InvalidOutput` when a score is no finite number, an index is none of the documents or comes twice, or there are
    /// not as many results as were asked for.
    pub fn checked(mut self, reranker: &str, documents: usize, top: usize) -> Result<Self> {
        let wrong = |message| {
            Error::new(ErrorKind::InvalidOutput, "rerank.order", message)
                .with("reranker", reranker)
                .with("documents", documents)
        };
        let mut seen = vec![false; documents];
        for Reranked { index, score } in &self.results {
            match seen.get_mut(*index) {
                None => return Err(wrong("a result is of no document").with("index", index)),
                Some(true) => return Err(wrong("a document has two results").with("index", index)),
                Some(place) => *place = true,
            }
            if !score.is_finite() {
                return Err(wrong("a score is no finite number").with("index", index));
            }
        }
        let expected = documents.min(top);
        if self.results.len() < expected {
            return Err(wrong("a result is missing")
                .with("expected", expected)
                .with("got", self.results.len()));
        }
        self.results.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.index.cmp(&b.index)));
        self.results.truncate(expected);
        Ok(self)
    }
}

/// A model that reads a question and documents together, and says which of them answer it best.
///
/// # Contract
/// - results come best first, as many as asked for or as there are documents, each document once.
/// - no documents give no results and ask nobody.
/// - an answer with a wrong index, a score that is no number, or a missing result is `InvalidOutput`.
/// - the context's deadline and cancellation end a call that hangs.
/// - errors say whether trying again can help, and after what pause.
///
/// # Examples
/// ```
/// use async_trait::async_trait;
/// use raptorflow_core::{Result, model::{RerankAnswer, Reranked, Reranker}, runtime::Context};
///
/// /// The shorter, the better.
/// #[derive(Debug)]
/// struct Shortest;
///
/// #[async_trait]
/// impl Reranker for Shortest {
///     fn name(&self) -> &str {
///         "house:shortest"
///     }
///
///     async fn rerank(&self, _: &Context, _: &str, documents: &[&str], top: usize) -> Result<RerankAnswer> {
///         let score = |text: &&str| 1.0 / (1.0 + text.len() as f32);
///         let results = documents.iter().map(score).enumerate();
///         let results = results.map(|(index, score)| Reranked { index, score }).collect();
///         RerankAnswer { results, ..RerankAnswer::default() }.checked(self.name(), documents.len(), top)
///     }
/// }
/// ```
#[async_trait]
pub trait Reranker: Debug + Send + Sync + 'static {
    /// `provider:model`.
    fn name(&self) -> &str;

    /// The best `top` of the documents for a question.
    async fn rerank(
        &self,
        ctx: &Context,
        query: &str,
        documents: &[&str],
        top: usize,
    ) -> Result<RerankAnswer>;
}
