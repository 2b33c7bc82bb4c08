//! `HttpReranker`: a reranking model behind one of the wires.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tracing::{Instrument as _, field};

use super::{
    config::{RerankConfig, RerankWire},
    reranker::{RerankAnswer, Reranked, Reranker},
};
use crate::{
    error::Result,
    model::{
        HttpClient,
        http::{Endpoint, Extras},
    },
    runtime::{Context, names},
    security::Secret,
    types::Usage,
};

const OPERATION: &str = "rerank.order";
const PATH: &str = "rerank";

/// A reranking model at Cohere, Jina, Voyage, or a host that speaks as one of them.
///
/// It sends one request per call and tries nothing again; [`crate::rag::Rerank`] does.
///
/// ```
/// use raptorflow_core::{model::{HttpReranker, RerankConfig, Reranker as _, ReqwestClient}, security::Secret};
/// let config = RerankConfig::cohere("rerank-v3.5");
/// let reranker = HttpReranker::new(config, Some(Secret::new("key")), ReqwestClient::default())?;
/// assert_eq!(reranker.name(), "cohere:rerank-v3.5");
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Debug)]
pub struct HttpReranker {
    name: Arc<str>,
    config: RerankConfig,
    endpoint: Endpoint,
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    query: &'a str,
    documents: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    top_n: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_documents: Option<bool>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(alias = "data")]
    results: Vec<Item>,
    usage: Option<Counts>,
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Item {
    index: usize,
    relevance_score: f32,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Counts {
    total_tokens: u64,
}

#[derive(Deserialize)]
struct Meta {
    tokens: Option<Tokens>,
}

#[derive(Deserialize)]
struct Tokens {
    /// Cohere writes whole numbers as `12.0` here.
    #[serde(default)]
    input_tokens: f64,
}

impl HttpReranker {
    /// A reranker; nothing is sent.
    ///
    /// # Errors
    /// `InvalidInput` when the model has no name or the base URL is not one.
    pub fn new(config: RerankConfig, key: Option<Secret>, http: impl HttpClient) -> Result<Self> {
        Self::with_client(config, key, Arc::new(http))
    }

    /// A reranker that shares a client.
    ///
    /// # Errors
    /// As [`HttpReranker::new`].
    pub fn with_client(config: RerankConfig, key: Option<Secret>, http: Arc<dyn HttpClient>) -> Result<Self> {
        let name: Arc<str> = config.name().into();
        let key = key.map(|key| ("authorization", Secret::new(format!("Bearer {}", key.expose()))));
        let extras = Extras { headers: &config.headers, query: &BTreeMap::new() };
        let headers = key.into_iter().collect();
        let endpoint = Endpoint::new(&name, &config.base_url, PATH, headers, &extras, http)?;
        Ok(Self { name, config, endpoint })
    }

    async fn ask(&self, ctx: &Context, query: &str, documents: &[&str], top: usize) -> Result<RerankAnswer> {
        let top = top.min(documents.len());
        let voyage = self.config.wire == RerankWire::Voyage;
        let body = Body {
            model: &self.config.model,
            query,
            documents,
            top_n: (!voyage).then_some(top),
            top_k: voyage.then_some(top),
            return_documents: (self.config.wire == RerankWire::Jina).then_some(false),
        };
        let Answer { results, usage, meta } = self.endpoint.call(ctx, OPERATION, &body).await?;
        let told = meta.and_then(|meta| meta.tokens).map_or(0.0, |tokens| tokens.input_tokens);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of tokens")]
        let tokens = usage.map_or(told as u64, |counts| counts.total_tokens);
        let result = |Item { index, relevance_score }| Reranked { index, score: relevance_score };
        RerankAnswer { results: results.into_iter().map(result).collect(), usage: Usage::new(tokens, 0) }
            .checked(&self.name, documents.len(), top)
    }
}

#[async_trait]
impl Reranker for HttpReranker {
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
        let span = tracing::debug_span!(
            names::MODEL_RERANK,
            model = %self.name,
            texts = documents.len(),
            { names::INPUT_TOKENS } = field::Empty,
        );
        let answer = self.ask(ctx, query, documents, top).instrument(span.clone()).await?;
        span.record(names::INPUT_TOKENS, answer.usage.input_tokens);
        Ok(answer)
    }
}
