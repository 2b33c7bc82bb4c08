//! `OpenAiModel`: the trait over either wire.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    chat,
    config::{OpenAiConfig, Structured},
    responses,
};
use crate::{
    error::Result,
    model::{
        ChatModel, ChatRequest, ChatStream, HttpClient, ModelInfo,
        http::{Endpoint, Extras, check_tools},
    },
    runtime::Context,
    security::Secret,
};

/// A chat model behind OpenAI's chat completions or responses, at OpenAI or at any compatible host.
///
/// Which wire is spoken says [`OpenAiApi`](crate::model::OpenAiApi).
/// Answers are always streamed.
/// A schema is enforced by the host (`strict`) where it keeps to the subset that OpenAI enforces, and told
/// otherwise; see [`Structured`].
///
/// Over chat completions, what the model thinks is read where the host tells it, and is not sent back unless the
/// configuration says so.
/// Over responses, it goes back as the host encrypted it, from [`Part::Reasoning`](crate::types::Part), and the host is
/// asked to keep nothing.
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
    wire: Wire,
    endpoint: Endpoint,
}

#[derive(Clone, Copy, Debug)]
enum Wire {
    Chat,
    Responses,
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
    pub fn with_client(
        mut config: OpenAiConfig,
        key: Option<Secret>,
        http: Arc<dyn HttpClient>,
    ) -> Result<Self> {
        let mut info = ModelInfo::known(&config.provider, &config.model, &config.profiles)?;
        let wire = if config.speaks_responses(&info) { Wire::Responses } else { Wire::Chat };
        if config.structured == Structured::Auto {
            config.structured =
                if info.abilities.strict { Structured::JsonSchema } else { Structured::JsonObject };
        }
        let able = &mut info.abilities;
        able.structured &= config.structured != Structured::None;
        able.strict &= able.structured && config.structured == Structured::JsonSchema;
        // Neither wire counts the tokens of thinking.
        able.reasoning_budget = false;
        if let Wire::Responses = wire {
            (able.stop, able.seed) = (false, false);
        }
        let mut headers = Vec::new();
        if let Some(key) = key {
            headers.push(("authorization", Secret::new(format!("Bearer {}", key.expose()))));
        }
        let named = [("openai-organization", &config.organization), ("openai-project", &config.project)];
        for (name, value) in named {
            headers.extend(value.as_ref().map(|value| (name, Secret::new(value.as_str()))));
        }
        let path = match wire {
            Wire::Chat => "chat/completions",
            Wire::Responses => "responses",
        };
        let extras = Extras { headers: &config.headers, query: &config.query };
        let endpoint = Endpoint::new(&info.name, &config.base_url, path, headers, &extras, http)?;
        Ok(Self { info, config, wire, endpoint })
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
        match self.wire {
            Wire::Chat => {
                let body = chat::request(&self.config, &self.info, request)
                    .map_err(|err| err.with("model", &self.info.name))?;
                self.endpoint.stream(ctx, &body, chat::Chunks::new).await
            }
            Wire::Responses => {
                let body = responses::request(&self.config, &self.info, request);
                self.endpoint.stream(ctx, &body, responses::Events::new).await
            }
        }
    }
}
