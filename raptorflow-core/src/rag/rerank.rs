//! `Rerank`: a search's candidates are read again by a reranker, within bounds.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    event::{Event, EventKind},
    model::{Reranker, RerankerRegistry, RetryLayer},
    rag::{
        assemble::estimate_tokens,
        knowledge::KnowledgeBase,
        retrieve::{Found, Search},
    },
    runtime::Context,
    types::seconds,
};

/// What happens to a search whose reranker fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RerankFailure {
    /// The search fails with the same error.
    #[default]
    Fail,
    /// The hits stay in the order of the indexes, and a `warning_issued` event on the bus says so.
    KeepOrder,
}

/// A reranking step as data.
///
/// ```
/// use raptorflow_core::rag::RerankSettings;
/// let settings: RerankSettings = serde_json::from_str(r#"{ "model": "cohere:rerank-v3.5", "candidates": 30 }"#)?;
/// assert_eq!((settings.candidates, settings.max_tokens), (30, 30_000));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RerankSettings {
    /// The reranker, `provider:model`.
    pub model: String,
    /// How many of the best are read again, and at least as many as the search wants; 50 by default.
    #[serde(default = "candidates")]
    pub candidates: usize,
    /// About how many tokens they have together at most; 30,000 by default.
    #[serde(default = "max_tokens")]
    pub max_tokens: usize,
    /// How long it may take, all tries together; 10 seconds by default.
    #[serde(default = "timeout", rename = "timeout_seconds", with = "seconds")]
    pub timeout: Duration,
    /// What happens when it fails; the search fails by default.
    #[serde(default)]
    pub on_failure: RerankFailure,
}

fn candidates() -> usize {
    50
}

fn max_tokens() -> usize {
    30_000
}

fn timeout() -> Duration {
    Duration::from_secs(10)
}

impl RerankSettings {
    /// The defaults for a reranker.
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            candidates: candidates(),
            max_tokens: max_tokens(),
            timeout: timeout(),
            on_failure: RerankFailure::default(),
        }
    }

    /// Opens the reranker.
    ///
    /// # Errors
    /// What [`RerankerRegistry::open`] says.
    pub async fn open(&self, rerankers: &RerankerRegistry) -> Result<Rerank> {
        Ok(self.clone().with(rerankers.open(&self.model).await?))
    }

    /// With a reranker that is there already.
    #[must_use]
    pub fn with(self, reranker: Arc<dyn Reranker>) -> Rerank {
        Rerank { reranker, settings: self }
    }
}

/// A step of a search: the best candidates of the indexes are read again by a [`Reranker`], whose order counts.
///
/// The score of a hit is then the reranker's.
/// Candidates are read from the best on while they fit into the tokens, the first one always; those that do not fit are
/// left out.
/// A request that fails is tried again where that can help, like the call of a chat model.
///
/// # Examples
/// ```no_run
/// use raptorflow_core::{KnowledgeBase, model::RerankerRegistry, rag::{HashingEmbedder, RerankSettings}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let rerank = RerankSettings::new("cohere:rerank-v3.5").open(&RerankerRegistry::default()).await?;
/// let kb = KnowledgeBase::in_memory(HashingEmbedder::default()).await?;
/// let hits = kb.search("What does the basic plan cost?").k(5).rerank(rerank.keeping_order()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Rerank {
    reranker: Arc<dyn Reranker>,
    settings: RerankSettings,
}

impl Rerank {
    /// With the defaults of [`RerankSettings`].
    pub fn new(reranker: impl Reranker) -> Self {
        let settings = RerankSettings::new(reranker.name());
        Self { reranker: Arc::new(reranker), settings }
    }

    /// How many of the best are read again.
    #[must_use]
    pub fn with_candidates(mut self, candidates: usize) -> Self {
        self.settings.candidates = candidates;
        self
    }

    /// About how many tokens they have together at most.
    #[must_use]
    pub fn with_max_tokens(mut self, tokens: usize) -> Self {
        self.settings.max_tokens = tokens;
        self
    }

    /// How long it may take, all tries together.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// Keeps the order of the indexes when the reranker fails; see [`RerankFailure::KeepOrder`].
    #[must_use]
    pub fn keeping_order(mut self) -> Self {
        self.settings.on_failure = RerankFailure::KeepOrder;
        self
    }

    /// How many hits the indexes are asked for, where the search wants `k`.
    pub(crate) fn depth(&self, k: usize) -> usize {
        self.settings.candidates.max(k)
    }

    /// The best `k` candidates in the reranker's order.
    async fn order(&self, ctx: &Context, query: &str, k: usize, found: &[Found]) -> Result<Vec<Found>> {
        let mut tokens = 0_usize;
        let texts = found.iter().map(Found::text).enumerate().take_while(|(place, text)| {
            tokens = tokens.saturating_add(estimate_tokens(text));
            *place == 0 || tokens <= self.settings.max_tokens
        });
        let texts: Vec<&str> = texts.map(|(_, text)| text).collect();
        let name = self.reranker.name();
        let retry = RetryLayer::default();
        let work = retry.run(ctx, name, || self.reranker.rerank(ctx, query, &texts, k));
        let late = ctx.runtime().clock().sleep(self.settings.timeout);
        let answer = tokio::select! {
            biased;
            answer = work => answer?,
            () = late => {
                let message = "the reranker did not answer in time";
                return Err(Error::new(ErrorKind::Timeout, "rag.rerank", message)
                    .with("reranker", name)
                    .with("limit_ms", self.settings.timeout.as_millis())
                    .retryable(Retry::Soon));
            }
        };
        // Also of a reranker of the host's own.
        let answer = answer.checked(name, texts.len(), k)?;
        let place = |reranked: &crate::model::Reranked| {
            let mut hit = found.get(reranked.index)?.clone();
            (hit.score, hit.parts.rerank) = (reranked.score, Some(reranked.score));
            Some(hit)
        };
        Ok(answer.results.iter().filter_map(place).collect())
    }
}

impl KnowledgeBase {
    /// The hits of a search in the order of its reranker, where it has one.
    pub(crate) async fn reranked(&self, search: &Search, mut found: Vec<Found>) -> Result<Vec<Found>> {
        let Some(rerank) = search.rerank.as_ref().filter(|_| !found.is_empty()) else {
            return Ok(found);
        };
        match rerank.order(self.ctx(), &search.query, search.depth(), &found).await {
            Err(err) if rerank.settings.on_failure == RerankFailure::KeepOrder => {
                tracing::warn!(error = %err, "the hits of a search stay in the order of the indexes");
                if self.tells() {
                    let data = json!({
                        "knowledge_base": self.name(),
                        "reranker": rerank.reranker.name(),
                        "warning": "the hits of a search stay in the order of the indexes",
                        "error": { "kind": err.kind(), "operation": err.operation(), "message": err.message() },
                    });
                    let event = Event { data, ..Event::new(self.ctx(), EventKind::WarningIssued) };
                    self.tell(vec![event]).await?;
                }
                found.truncate(search.depth());
                Ok(found)
            }
            ordered => ordered,
        }
    }
}
