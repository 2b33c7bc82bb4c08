//! `HttpEmbeddingModel`: an embedding model behind one of the wires.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use tracing::{Instrument as _, field};

use super::{
    backends::{gemini, ollama, openai},
    config::{EmbeddingConfig, EmbeddingWire},
};
use crate::{
    error::{Error, Result},
    model::{
        EmbeddingAnswer, EmbeddingInfo, EmbeddingModel, EmbeddingPurpose, HttpClient,
        http::{Endpoint, Extras},
    },
    runtime::{Context, names},
    security::Secret,
};

const OPERATION: &str = "embedding.embed";

/// An embedding model at OpenAI or any compatible host, at Ollama, or at the Gemini API.
///
/// It sends one request per call and tries nothing again; [`crate::rag::ModelEmbedder`] batches and retries.
///
/// ```
/// use raptorflow_core::{model::{EmbeddingConfig, EmbeddingModel as _, HttpEmbeddingModel, ReqwestClient}};
/// let config = EmbeddingConfig::ollama("nomic-embed-text")?;
/// let model = HttpEmbeddingModel::new(config, None, ReqwestClient::default())?;
/// assert_eq!((&*model.info().name, model.info().dimension), ("ollama:nomic-embed-text", Some(768)));
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Debug)]
pub struct HttpEmbeddingModel {
    info: EmbeddingInfo,
    config: EmbeddingConfig,
    endpoint: Endpoint,
}

impl HttpEmbeddingModel {
    /// A model; nothing is sent.
    ///
    /// # Errors
    /// `InvalidInput` when the model has no name or the base URL is not one.
    pub fn new(config: EmbeddingConfig, key: Option<Secret>, http: impl HttpClient) -> Result<Self> {
        Self::with_client(config, key, Arc::new(http))
    }

    /// A model that shares a client.
    ///
    /// # Errors
    /// As [`HttpEmbeddingModel::new`].
    pub fn with_client(
        config: EmbeddingConfig,
        key: Option<Secret>,
        http: Arc<dyn HttpClient>,
    ) -> Result<Self> {
        let info = config.info();
        let key = key.map(|key| match config.wire {
            EmbeddingWire::Gemini => ("x-goog-api-key", key),
            _ => ("authorization", Secret::new(format!("Bearer {}", key.expose()))),
        });
        let headers = key.into_iter().collect();
        let extras = Extras { headers: &config.headers, query: &BTreeMap::new() };
        let (base_url, path) = match config.wire {
            EmbeddingWire::OpenAi => (config.base_url.as_str(), openai::PATH.to_owned()),
            EmbeddingWire::Ollama => (ollama::base_url(&config), ollama::PATH.to_owned()),
            EmbeddingWire::Gemini => (config.base_url.as_str(), gemini::path(&config)),
        };
        let endpoint = Endpoint::new(&info.name, base_url, &path, headers, &extras, http)?;
        Ok(Self { info, config, endpoint })
    }

    async fn ask(&self, ctx: &Context, texts: &[&str], purpose: EmbeddingPurpose) -> Result<EmbeddingAnswer> {
        let Self { config, endpoint, .. } = self;
        let answer = match config.wire {
            EmbeddingWire::OpenAi => {
                let answer = endpoint.call(ctx, OPERATION, &openai::body(config, texts)).await?;
                openai::read(answer).ok_or_else(|| self.malformed("the answer has an unreadable vector"))?
            }
            EmbeddingWire::Ollama => {
                ollama::read(endpoint.call(ctx, OPERATION, &ollama::body(config, texts)).await?)
            }
            EmbeddingWire::Gemini => {
                let body = gemini::body(config, texts, purpose);
                gemini::read(endpoint.call(ctx, OPERATION, &body).await?)
            }
        };
        if answer.vectors.len() != texts.len() {
            return Err(self
                .malformed("the host did not answer with one vector per text")
                .with("expected", texts.len())
                .with("got", answer.vectors.len()));
        }
        Ok(answer)
    }

    fn malformed(&self, message: &'static str) -> Error {
        self.endpoint.malformed(OPERATION, message)
    }
}

#[async_trait]
impl EmbeddingModel for HttpEmbeddingModel {
    fn info(&self) -> &EmbeddingInfo {
        &self.info
    }

    async fn embed(
        &self,
        ctx: &Context,
        texts: &[&str],
        purpose: EmbeddingPurpose,
    ) -> Result<EmbeddingAnswer> {
        if texts.is_empty() {
            return Ok(EmbeddingAnswer::default());
        }
        let span = tracing::debug_span!(
            names::MODEL_EMBED,
            model = %self.info.name,
            texts = texts.len(),
            { names::INPUT_TOKENS } = field::Empty,
        );
        let answer = self.ask(ctx, texts, purpose).instrument(span.clone()).await?;
        span.record(names::INPUT_TOKENS, answer.usage.input_tokens);
        Ok(answer)
    }
}
