//! `GenaiModel`: the trait over the crate.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use genai::{
    Client, ModelIden, ServiceTarget,
    resolver::{AuthData, Endpoint},
};

use super::{config::GenaiConfig, convert, failure::failure, parts::parts};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{
        ChatModel, ChatRequest, ChatStream, ModelInfo, ReqwestClient, bind_stream,
        http::{Origin, check_tools},
    },
    runtime::Context,
    security::Secret,
};

/// A chat model behind the crate `genai`: Gemini, Vertex AI, Bedrock, Cohere or Groq.
///
/// Tool calls are given on whole, at the end of an answer.
/// What a model thought and signed goes back to the same provider unchanged.
/// The crate writes failures of a provider to `tracing` by itself, under the target `genai`, with what the provider
/// answered; a host that keeps its logs for long filters that target.
///
/// ```
/// use raptorflow_core::{model::{GenaiConfig, GenaiModel, GenaiProvider, Model, ReqwestClient}, security::Secret};
/// let config = GenaiConfig::new(GenaiProvider::Gemini, "gemini-2.5-flash");
/// let model = GenaiModel::new(config, Secret::new("key"), &ReqwestClient::default())?;
/// assert_eq!(&*Model::new(model).info().name, "gemini:gemini-2.5-flash");
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
pub struct GenaiModel {
    info: ModelInfo,
    config: GenaiConfig,
    key: Secret,
    base_url: Arc<str>,
    host: Arc<str>,
    client: Client,
}

impl GenaiModel {
    /// A model; nothing is sent.
    ///
    /// # Errors
    /// `InvalidInput` when the model has no name, the base URL is not one, or is missing where the provider has none.
    pub fn new(config: GenaiConfig, key: Secret, http: &ReqwestClient) -> Result<Self> {
        let provider = config.provider;
        let info = ModelInfo::known(provider.name(), &config.model, &config.profiles)?;
        let refuse = |message| {
            Err(Error::new(ErrorKind::InvalidInput, "model.new", message)
                .with("model", &info.name)
                .with("expected", provider.example()))
        };
        if config.model.is_empty() {
            return refuse("the model has no name");
        }
        let Some(base) = config.base_url.as_deref().or(provider.base_url()) else {
            return refuse("the provider's address has a region; set the base URL");
        };
        let base = base.trim().trim_end_matches('/');
        let (host, reqwest) = http.reach(base)?;
        if base.contains(['?', '#', ' ', '@']) {
            return refuse("the base URL is not an http address without credentials");
        }
        let client = Client::builder().with_reqwest(reqwest).build().map_err(|_| {
            Error::new(ErrorKind::Internal, "model.new", "the client of the provider cannot be made")
        })?;
        Ok(Self { info, base_url: format!("{base}/").into(), host: host.into(), config, key, client })
    }

    fn origin(&self, request: &ChatRequest) -> Origin {
        let sent = serde_json::to_vec(&request.messages).unwrap_or_default();
        let headers = self.config.headers.values().map(|value| Secret::new(value.as_str()));
        Origin {
            operation: "model.stream",
            model: Arc::clone(&self.info.name),
            host: Arc::clone(&self.host),
            sent: Bytes::from(sent),
            secrets: headers.chain([self.key.clone()]).collect(),
        }
    }
}

impl fmt::Debug for GenaiModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GenaiModel").field("config", &self.config).finish_non_exhaustive()
    }
}

#[async_trait]
impl ChatModel for GenaiModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, ctx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        self.info.check(request)?;
        check_tools(&self.info.name, request)?;
        let options = convert::options(&self.config, request);
        let wanted = convert::request(&self.info, request)?;
        let target = ServiceTarget {
            endpoint: Endpoint::from_owned(Arc::clone(&self.base_url)),
            auth: AuthData::from_single(self.key.expose()),
            model: ModelIden::new(self.config.provider.adapter(), self.config.model.as_str()),
        };
        let origin = self.origin(request);
        let answer = self.client.exec_chat_stream(target, wanted, Some(&options)).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(err) => return Err(failure(&origin, ctx, err).await),
        };
        let parts = parts(ctx.clone(), origin, answer.stream);
        Ok(bind_stream(ctx, &self.info.name, parts))
    }
}
