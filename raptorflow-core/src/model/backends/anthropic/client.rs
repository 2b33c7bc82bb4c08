//! `AnthropicModel`: the trait over the wire.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    config::AnthropicConfig,
    convert::{is_wrapped, request as converted},
    dialect::{Events, Form},
};
use crate::{
    error::Result,
    model::{
        ChatModel, ChatRequest, ChatStream, HttpClient, ModelInfo, Output,
        http::{Endpoint, check_tools},
    },
    runtime::Context,
    security::Secret,
};

/// A chat model behind Anthropic's messages API.
///
/// Answers are always streamed.
/// Structured output is emulated, so that it works with every model: the schema becomes the input of a tool named
/// `final_answer` that the model is made to call, and that tool's input is the text of the answer; the caller sees
/// no tool call.
/// Thinking goes back to the API as it was signed; temperatures above 1 count as 1.
///
/// ```
/// use raptorflow_core::{model::{AnthropicConfig, AnthropicModel, Model, ReqwestClient}, security::Secret};
/// let config = AnthropicConfig::new("claude-sonnet-4-5");
/// let model = AnthropicModel::new(config, Secret::new("key"), ReqwestClient::default())?;
/// assert_eq!(&*Model::new(model).info().name, "anthropic:claude-sonnet-4-5");
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Debug)]
pub struct AnthropicModel {
    info: ModelInfo,
    config: AnthropicConfig,
    endpoint: Endpoint,
}

impl AnthropicModel {
    /// A model; nothing is sent.
    ///
    /// # Errors
    /// `InvalidInput` when the model has no name or the base URL is not one.
    pub fn new(config: AnthropicConfig, key: Secret, http: impl HttpClient) -> Result<Self> {
        Self::with_client(config, key, Arc::new(http))
    }

    /// A model that shares a client.
    ///
    /// # Errors
    /// As [`AnthropicModel::new`].
    pub fn with_client(config: AnthropicConfig, key: Secret, http: Arc<dyn HttpClient>) -> Result<Self> {
        let info = ModelInfo::known("anthropic", &config.model, &config.profiles)?;
        let mut headers = vec![
            ("x-api-key".to_owned(), key),
            ("anthropic-version".to_owned(), Secret::new(config.version.as_str())),
        ];
        headers
            .extend(config.headers.iter().map(|(name, value)| (name.clone(), Secret::new(value.as_str()))));
        let base = config.base_url.trim_end_matches('/');
        // Both forms of the address are in use.
        let base = base.strip_suffix("/v1").unwrap_or(base);
        let endpoint = Endpoint::new(&info.name, base, "v1/messages", headers, http)?;
        Ok(Self { info, config, endpoint })
    }
}

#[async_trait]
impl ChatModel for AnthropicModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, ctx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        self.info.check(request)?;
        check_tools(&self.info.name, request)?;
        let form = match &request.output {
            Output::Text => Form::Text,
            Output::Json { schema, .. } if is_wrapped(schema.as_value()) => Form::Wrapped,
            Output::Json { .. } => Form::Plain,
        };
        let body = converted(&self.config, request)?;
        self.endpoint.stream(ctx, &body, |origin| Events::new(origin, form)).await
    }
}
