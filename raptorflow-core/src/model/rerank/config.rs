//! `RerankConfig`: which host, which reranking model, and how it is spoken to.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
};

use serde::{Deserialize, Serialize};

/// How a reranking model is spoken to; each is `POST /rerank` below the base URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RerankWire {
    /// Cohere's: `top_n` and `results`; most hosts of one's own speak it too.
    Cohere,
    /// Jina's: as Cohere's, and documents are asked not to come back.
    Jina,
    /// Voyage's: `top_k` and `data`.
    Voyage,
}

/// Which host and which reranking model.
///
/// ```
/// use raptorflow_core::model::RerankConfig;
/// let own = RerankConfig::cohere("bge-reranker-v2-m3").at("http://localhost:8000/v1").of("vllm");
/// assert_eq!(own.name(), "vllm:bge-reranker-v2-m3");
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RerankConfig {
    /// How the host is spoken to.
    pub wire: RerankWire,
    /// The provider's name in front of the model's.
    pub provider: String,
    /// The model, as the host calls it.
    pub model: String,
    /// Where the API begins.
    pub base_url: String,
    /// Further headers of every request; never logged.
    pub headers: BTreeMap<String, String>,
}

impl Debug for RerankConfig {
    /// Names the headers and never their values, which may be keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RerankConfig")
            .field("wire", &self.wire)
            .field("name", &self.name())
            .field("base_url", &self.base_url)
            .field("headers", &self.headers.keys())
            .finish()
    }
}

impl RerankConfig {
    /// A model of Cohere; [`at`](Self::at) names another host that speaks the same.
    #[must_use]
    pub fn cohere(model: impl Into<String>) -> Self {
        Self::new(RerankWire::Cohere, "cohere", model.into())
    }

    /// A model of Jina.
    #[must_use]
    pub fn jina(model: impl Into<String>) -> Self {
        Self::new(RerankWire::Jina, "jina", model.into())
    }

    /// A model of Voyage.
    #[must_use]
    pub fn voyage(model: impl Into<String>) -> Self {
        Self::new(RerankWire::Voyage, "voyage", model.into())
    }

    fn new(wire: RerankWire, provider: &str, model: String) -> Self {
        let base_url = base_url(wire).to_owned();
        Self { wire, provider: provider.to_owned(), model, base_url, headers: BTreeMap::new() }
    }

    /// Another address of the API.
    #[must_use]
    pub fn at(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = base_url.into();
        self
    }

    /// Another name of the provider.
    #[must_use]
    pub fn of(mut self, provider: impl Into<String>) -> Self {
        self.provider = provider.into();
        self
    }

    /// `provider:model`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}:{}", self.provider, self.model)
    }

    /// Whether the address is that of the provider itself.
    #[must_use]
    pub fn is_at_home(&self) -> bool {
        self.base_url.trim_end_matches('/') == base_url(self.wire)
    }
}

/// Where the API of a wire's own provider begins.
fn base_url(wire: RerankWire) -> &'static str {
    match wire {
        RerankWire::Cohere => "https://api.cohere.com/v2",
        RerankWire::Jina => "https://api.jina.ai/v1",
        RerankWire::Voyage => "https://api.voyageai.com/v1",
    }
}
