//! `EmbeddingConfig`: which host, which embedding model, and what is asked of it.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
};

use serde::{Deserialize, Serialize};

use super::known::{Known, known};
use crate::{error::Result, model::EmbeddingInfo};

/// The most texts that OpenAI and Gemini take at once.
const OPENAI_TEXTS: usize = 2048;
const GEMINI_TEXTS: usize = 100;

/// How an embedding model is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmbeddingWire {
    /// `/embeddings` of OpenAI and of every compatible host.
    OpenAi,
    /// `/api/embed` of Ollama.
    Ollama,
    /// `batchEmbedContents` of the Gemini API.
    Gemini,
}

/// Which host, which embedding model, and what is asked of it.
///
/// Dimensions, prefixes and task types of well-known models are filled in from a table.
///
/// ```
/// use raptorflow_core::model::EmbeddingConfig;
/// let small = EmbeddingConfig::openai("text-embedding-3-small")?;
/// assert_eq!((small.dimension, small.shorten), (Some(1536), false));
/// let shorter = small.with_dimension(512);
/// assert_eq!((shorter.dimension, shorter.shorten), (Some(512), true));
/// let own = EmbeddingConfig::openai("bge-m3")?.at("http://localhost:8000/v1").of("vllm");
/// assert_eq!(own.dimension, None);
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EmbeddingConfig {
    /// How the host is spoken to.
    pub wire: EmbeddingWire,
    /// The provider's name in front of the model's, as in `openai:text-embedding-3-small`.
    pub provider: String,
    /// The model, as the host calls it.
    pub model: String,
    /// Where the API begins.
    pub base_url: String,
    /// Further headers of every request; never logged.
    pub headers: BTreeMap<String, String>,
    /// How many numbers a vector has; known of well-known models, else an answer tells.
    pub dimension: Option<usize>,
    /// Whether the host is asked for vectors of `dimension`, instead of having them anyway.
    pub shorten: bool,
    /// How many texts one request has at most.
    pub max_texts: usize,
    /// How many bytes the texts of one request have together; see [`EmbeddingInfo::max_bytes`].
    pub max_bytes: usize,
    /// What the model wants to read before a text that is kept.
    pub document_prefix: String,
    /// What the model wants to read before a question.
    pub query_prefix: String,
    /// Whether numbers come as base64, which is four times shorter than text; OpenAI's wire only.
    ///
    /// Off for other hosts than OpenAI, some of which refuse it; both forms are read always.
    pub base64: bool,
    /// Whether the purpose is sent as a task type; Gemini's wire only.
    pub task_type: bool,
}

impl Debug for EmbeddingConfig {
    /// Names the headers and never their values, which may be keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddingConfig")
            .field("wire", &self.wire)
            .field("provider", &self.provider)
            .field("model", &self.model)
            .field("base_url", &self.base_url)
            .field("headers", &self.headers.keys())
            .field("dimension", &self.dimension)
            .finish_non_exhaustive()
    }
}

impl EmbeddingConfig {
    /// A model of OpenAI; [`at`](Self::at) names another host that is compatible.
    ///
    /// # Errors
    /// `Internal` when the table of known models is damaged.
    pub fn openai(model: impl Into<String>) -> Result<Self> {
        let mut config = Self::new(EmbeddingWire::OpenAi, "openai", model.into())?;
        (config.max_texts, config.base64) = (OPENAI_TEXTS, true);
        Ok(config)
    }

    /// A model of Ollama on this machine.
    ///
    /// # Errors
    /// As [`EmbeddingConfig::openai`].
    pub fn ollama(model: impl Into<String>) -> Result<Self> {
        Self::new(EmbeddingWire::Ollama, "ollama", model.into())
    }

    /// A model of the Gemini API.
    ///
    /// # Errors
    /// As [`EmbeddingConfig::openai`].
    pub fn gemini(model: impl Into<String>) -> Result<Self> {
        let mut config = Self::new(EmbeddingWire::Gemini, "gemini", model.into())?;
        config.max_texts = GEMINI_TEXTS;
        Ok(config)
    }

    fn new(wire: EmbeddingWire, provider: &str, model: String) -> Result<Self> {
        let Known { dimension, document_prefix, query_prefix, task_type, .. } =
            known(provider, &model)?.unwrap_or_default();
        let EmbeddingInfo { max_texts, max_bytes, .. } = EmbeddingInfo::new("");
        Ok(Self {
            wire,
            provider: provider.to_owned(),
            model,
            base_url: base_url(wire).to_owned(),
            headers: BTreeMap::new(),
            dimension,
            shorten: false,
            max_texts,
            max_bytes,
            document_prefix,
            query_prefix,
            base64: false,
            task_type,
        })
    }

    /// Another address of the API.
    #[must_use]
    pub fn at(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = base_url.into();
        self.base64 &= self.is_at_home();
        self
    }

    /// Another name of the provider.
    #[must_use]
    pub fn of(mut self, provider: impl Into<String>) -> Self {
        self.provider = provider.into();
        self
    }

    /// How many numbers a vector has.
    ///
    /// A model that is known to give longer vectors is asked to [`shorten`](Self::shorten) them.
    #[must_use]
    pub fn with_dimension(mut self, dimension: usize) -> Self {
        self.shorten = self.dimension.is_some_and(|own| own != dimension);
        self.dimension = Some(dimension);
        self
    }

    /// Whether the address is that of the provider itself.
    #[must_use]
    pub fn is_at_home(&self) -> bool {
        self.base_url.trim_end_matches('/') == base_url(self.wire)
    }

    pub(super) fn info(&self) -> EmbeddingInfo {
        EmbeddingInfo {
            name: format!("{}:{}", self.provider, self.model).into(),
            dimension: self.dimension,
            max_texts: self.max_texts,
            max_bytes: self.max_bytes,
            document_prefix: self.document_prefix.as_str().into(),
            query_prefix: self.query_prefix.as_str().into(),
        }
    }
}

/// Where the API of a wire's own provider begins.
fn base_url(wire: EmbeddingWire) -> &'static str {
    match wire {
        EmbeddingWire::OpenAi => "https://api.openai.com/v1",
        EmbeddingWire::Ollama => "http://localhost:11434",
        EmbeddingWire::Gemini => "https://generativelanguage.googleapis.com/v1beta",
    }
}
