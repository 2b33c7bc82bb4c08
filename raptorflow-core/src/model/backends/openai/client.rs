//! `OpenAiModel`: the trait over the wire.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    config::{OpenAiConfig, Structured},
    convert,
    dialect::Chunks,
};
use crate::{
    error::Result,
    model::{
        ChatModel, ChatRequest, ChatStream, HttpClient, ModelInfo,
        http::{Endpoint, check_tools},
    },
    runtime::Context,
    security::Secret,
};

/// A chat model behind OpenAI's chat completions, at OpenAI or at any compatible host.
///
/// Answers are always streamed.
/// A schema is enforced by the host (`strict`) where it keeps to the subset that OpenAI enforces, and told
/// otherwise.
/// What the model thinks is read where the host tells it and is not sent back, since the wire has no place for it.
///
/// ```
/// use raptorflow_core::{model::{Model, OpenAiConfig, OpenAiModel, ReqwestClient}, security::Secret};
/// let config = OpenAiConfig::new("qwen3").at("http://localhost:8000/v1").of("vllm");
/// let model = OpenAiModel::new(config, Some(Secret::new("key")), ReqwestClient::default())?;
/// assert_eq!(&*Model::new(model).info().name, "vllm:qwen3");
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Debug)]
pub struct OpenAiModel {
    info: ModelInfo,
    config: OpenAiConfig,
    endpoint: Endpoint,
}

impl OpenAiModel {
    /// A model; nothing is sent.
    ///
    /// # Errors
    /// `InvalidInput` when the model has no name or the base URL is not one.
    pub fn new(config: OpenAiConfig, key: Option<Secret>, http: impl HttpClient) -> Result<Self> {
        Self::with_client(config, key, Arc::new(http))
    }

    /// A model that shares a client.
    ///
    /// # Errors
    /// As [`OpenAiModel::new`].
    pub fn with_client(config: OpenAiConfig, key: Option<Secret>, http: Arc<dyn HttpClient>) -> Result<Self> {
        let mut info = ModelInfo::known(&config.provider, &config.model, &config.profiles)?;
        info.abilities.structured &= config.structured != Structured::None;
        let mut headers = Vec::new();
        if let Some(key) = key {
            headers.push(("authorization".to_owned(), Secret::new(format!("Bearer {}", key.expose()))));
        }
        let named = [("openai-organization", &config.organization), ("openai-project", &config.project)];
        for (name, value) in named {
            headers.extend(value.as_ref().map(|value| (name.to_owned(), Secret::new(value.as_str()))));
        }
        headers
            .extend(config.headers.iter().map(|(name, value)| (name.clone(), Secret::new(value.as_str()))));
        let endpoint = Endpoint::new(&info.name, &config.base_url, "chat/completions", headers, http)?;
        Ok(Self { info, config, endpoint })
    }
}

#[async_trait]
impl ChatModel for OpenAiModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, ctx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        self.info.check(request)?;
        check_tools(&self.info.name, request)?;
        self.endpoint.stream(ctx, &convert::request(&self.config, request)?, Chunks::new).await
    }
}
