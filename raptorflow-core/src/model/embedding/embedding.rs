//! `EmbeddingModel`, the trait of a backend that turns texts into vectors.

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{error::Result, runtime::Context, types::Usage};

/// How many texts one call has at most, where nothing else is known.
const MAX_TEXTS: usize = 256;
/// How many bytes the texts of one call have together, where nothing else is known.
const MAX_BYTES: usize = 300_000;

/// What texts are embedded for; many models give a question another vector than a passage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmbeddingPurpose {
    /// To be kept and found.
    Document,
    /// To find others with.
    Query,
}

/// What an embedding model is.
///
/// ```
/// use raptorflow_core::model::EmbeddingInfo;
/// let info = EmbeddingInfo::new("house:small").with_dimension(384);
/// assert_eq!((&*info.name, info.dimension, info.max_texts), ("house:small", Some(384), 256));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EmbeddingInfo {
    /// `provider:model`.
    pub name: Arc<str>,
    /// How many numbers a vector has; `None` when only an answer can tell.
    pub dimension: Option<usize>,
    /// How many texts one call may have; 256 by default.
    pub max_texts: usize,
    /// How many bytes the texts of one call may have together; 300,000 by default.
    ///
    /// Where a provider counts tokens this is their number: a token is at least one byte.
    /// One text that is longer goes alone, and the provider says whether it fits.
    pub max_bytes: usize,
    /// What the model wants to read before a text that is kept.
    pub document_prefix: Arc<str>,
    /// What the model wants to read before a question.
    pub query_prefix: Arc<str>,
}

impl EmbeddingInfo {
    /// A model of a name, of which nothing more is known.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            dimension: None,
            max_texts: MAX_TEXTS,
            max_bytes: MAX_BYTES,
            document_prefix: Arc::from(""),
            query_prefix: Arc::from(""),
        }
    }

    /// How many numbers a vector has.
    #[must_use]
    pub fn with_dimension(mut self, dimension: usize) -> Self {
        self.dimension = Some(dimension);
        self
    }
}

/// What an embedding model answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EmbeddingAnswer {
    /// One vector per text, in order.
    pub vectors: Vec<Vec<f32>>,
    /// The tokens that were read; zero when the provider does not tell.
    pub usage: Usage,
}

/// A model that turns texts into vectors, one request at a time.
///
/// # Contract
/// - an answer has one vector per text, in order.
/// - no texts give no vectors and ask nobody.
/// - usage is told where the provider tells it.
/// - the context's deadline and cancellation end a call that hangs.
/// - a context that is over ends a call before it begins.
/// - an answer with fewer vectors than texts is `InvalidOutput`.
/// - errors say whether trying again can help, and after what pause.
///
/// # Examples
/// ```
/// use async_trait::async_trait;
/// use raptorflow_core::{Result, runtime::Context};
/// use raptorflow_core::model::{EmbeddingAnswer, EmbeddingInfo, EmbeddingModel, EmbeddingPurpose};
///
/// #[derive(Debug)]
/// struct Lengths(EmbeddingInfo);
///
/// #[async_trait]
/// impl EmbeddingModel for Lengths {
///     fn info(&self) -> &EmbeddingInfo {
///         &self.0
///     }
///
///     async fn embed(&self, _: &Context, texts: &[&str], _: EmbeddingPurpose) -> Result<EmbeddingAnswer> {
///         let vectors = texts.iter().map(|text| vec![text.len() as f32, 1.0]).collect();
///         Ok(EmbeddingAnswer { vectors, ..EmbeddingAnswer::default() })
///     }
/// }
/// ```
#[async_trait]
pub trait EmbeddingModel: Debug + Send + Sync + 'static {
    /// What the model is and how much it takes at once.
    fn info(&self) -> &EmbeddingInfo;

    /// The vectors of texts that fit into one request, prefixes included.
    async fn embed(
        &self,
        ctx: &Context,
        texts: &[&str],
        purpose: EmbeddingPurpose,
    ) -> Result<EmbeddingAnswer>;
}
