//! `AnthropicModel`: the trait over the wire.

use std::sync::Arc;

use async_trait::async_trait;

use super::{config::AnthropicConfig, convert::request as converted, dialect::Events};
use crate::{
    error::Result,
    model::{
        ChatModel, ChatRequest, ChatStream, HttpClient, ModelInfo,
        http::{Endpoint, Extras, check_tools},
    },
    runtime::Context,
    security::Secret,
};

/// A chat model behind Anthropic's messages API.
///
/// Answers are always streamed.
/// A schema is enforced by the API where the model is known for it
/// ([`ModelAbilities::strict`](crate::model::ModelAbilities)) and the schema can be said in the subset that it enforces:
/// bounds of numbers and lengths are told in descriptions.
/// Otherwise structured output is emulated: the schema becomes the input of a tool named `final_answer` that the model
/// is made to call, and that tool's input is the text of the answer; the caller sees no tool call.
///
/// An effort makes newer models think as much as they see fit; older ones are given 1,024, 4,096, 8,192 or 16,384 tokens
/// for it, on top of the answer's.
/// Thinking goes back to the API as it was signed; while a model thinks the API takes no temperature and requires no
/// tool, so such requests are `Unsupported`.
/// Temperatures above 1 count as 1.
///
/// With [`ChatRequest::keep_prompt`], tools, instructions and the conversation so far are marked to be kept; what was
/// read from there counts as [`Usage::cached_tokens`](crate::types::Usage).
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
        let headers = vec![("x-api-key", key), ("anthropic-version", Secret::new(config.version.as_str()))];
        let base = config.base_url.trim_end_matches('/');
        // Both forms of the address are in use.
        let base = base.strip_suffix("/v1").unwrap_or(base);
        let extras = Extras { headers: &config.headers, query: &config.query };
        let endpoint = Endpoint::new(&info.name, base, "v1/messages", headers, &extras, http)?;
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
        let (body, form) = converted(&self.config, &self.info, request)?;
        self.endpoint.stream(ctx, &body, |origin| Events::new(origin, form)).await
    }
}
