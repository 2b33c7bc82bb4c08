//! `FnReranker`: a reranker that is a function of the host.

use std::{fmt, pin::Pin, sync::Arc};

use async_trait::async_trait;

use crate::{
    error::{Error, ErrorKind, Result},
    model::{RerankAnswer, Reranked, Reranker},
    runtime::Context,
};

type Scores = Pin<Box<dyn Future<Output = Result<Vec<f32>>> + Send>>;
type Work = dyn Fn(Context, String, Vec<String>) -> Scores + Send + Sync;

/// A reranker that is an async function: the binding of another language, a rule, a test double.
///
/// The function gets a question and documents, and gives a score for each document, in their order; the higher, the
/// better.
///
/// # Examples
/// ```
/// use raptorflow_core::{model::{FnReranker, Reranker as _}, runtime::{Context, Runtime}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let shortest = FnReranker::new("house:shortest", |_ctx, _query, documents: Vec<String>| async move {
///     Ok(documents.iter().map(|text| 1.0 / (1.0 + text.len() as f32)).collect())
/// });
/// let ctx = Context::new(&Runtime::current()?);
/// let answer = shortest.rerank(&ctx, "which?", &["a long one", "short"], 1).await?;
/// assert_eq!(answer.results[0].index, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FnReranker {
    name: String,
    work: Arc<Work>,
}

impl FnReranker {
    /// A reranker of this name that calls `work` with the context, the question and the documents.
    pub fn new<F, R>(name: impl Into<String>, work: F) -> Self
    where
        F: Fn(Context, String, Vec<String>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Vec<f32>>> + Send + 'static,
    {
        let work = move |ctx, query, documents| Box::pin(work(ctx, query, documents)) as Scores;
        Self { name: name.into(), work: Arc::new(work) }
    }
}

impl fmt::Debug for FnReranker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnReranker").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl Reranker for FnReranker {
    fn name(&self) -> &str {
        &self.name
    }

    async fn rerank(
        &self,
        ctx: &Context,
        query: &str,
        documents: &[&str],
        top: usize,
    ) -> Result<RerankAnswer> {
        if documents.is_empty() || top == 0 {
            return Ok(RerankAnswer::default());
        }
        let texts = documents.iter().map(ToString::to_string).collect();
        let scores = ctx
            .bound("rerank.function", (self.work)(ctx.clone(), query.to_owned(), texts))
            .await
            .flatten()?;
        if scores.len() != documents.len() {
            let message = "the function did not give one score for each document";
            return Err(Error::new(ErrorKind::InvalidOutput, "rerank.function", message)
                .with("reranker", &self.name)
                .with("expected", documents.len())
                .with("got", scores.len()));
        }
        let results = scores.into_iter().enumerate().map(|(index, score)| Reranked { index, score });
        RerankAnswer { results: results.collect(), ..RerankAnswer::default() }.checked(
            &self.name,
            documents.len(),
            top,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Runtime;

    async fn order(scores: &'static [f32]) -> Result<Vec<usize>> {
        let reranker = FnReranker::new("test:fixed", move |_, _, _| std::future::ready(Ok(scores.to_vec())));
        let ctx = Context::new(&Runtime::current()?);
        let answer = reranker.rerank(&ctx, "which?", &["a", "b", "c"], 2).await?;
        Ok(answer.results.iter().map(|result| result.index).collect())
    }

    #[tokio::test]
    async fn the_highest_scores_come_first_and_ties_stay_in_their_order() {
        assert_eq!(order(&[0.5, 2.0, 0.5]).await.unwrap(), [1, 0]);
    }

    #[tokio::test]
    async fn scores_that_are_missing_or_no_numbers_are_invalid_output() {
        for wrong in [&[1.0, 2.0][..], &[1.0, f32::NAN, 2.0]] {
            assert_eq!(order(wrong).await.unwrap_err().kind(), ErrorKind::InvalidOutput, "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn a_call_that_hangs_ends_with_its_context_and_no_documents_ask_nobody() {
        let silent = FnReranker::new("test:silent", |_, _, _| std::future::pending());
        let ctx = Context::new(&Runtime::current().unwrap());
        assert!(silent.rerank(&ctx, "which?", &[], 3).await.unwrap().results.is_empty());
        ctx.cancel().cancel();
        let err = silent.rerank(&ctx, "which?", &["a"], 1).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Cancelled);
    }
}
