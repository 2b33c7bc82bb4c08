//! Opens models of OpenAI and of the compatible hosts that the registry knows by name.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    client::OpenAiModel,
    config::{OpenAiApi, OpenAiConfig},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{HttpClient, Model, ModelFactory, ProviderSettings},
    security::SecretStore,
};

/// A host that speaks OpenAI's wire.
#[derive(Debug)]
pub(crate) struct OpenAiFactory {
    provider: &'static str,
    base_url: Option<&'static str>,
    /// The secret that holds the key; hosts on this machine need none.
    key: Option<&'static str>,
    http: Arc<dyn HttpClient>,
}

impl OpenAiFactory {
    /// OpenAI, or whatever host the settings name.
    pub(crate) fn openai(http: &Arc<dyn HttpClient>) -> Self {
        Self { provider: "openai", base_url: None, key: Some("OPENAI_API_KEY"), http: Arc::clone(http) }
    }

    /// Ollama on this machine, which wants no key.
    pub(crate) fn ollama(http: &Arc<dyn HttpClient>) -> Self {
        Self {
            provider: "ollama",
            base_url: Some("http://localhost:11434/v1"),
            key: None,
            ..Self::openai(http)
        }
    }

    /// DeepSeek, which knows JSON but no schemas.
    pub(crate) fn deepseek(http: &Arc<dyn HttpClient>) -> Self {
        Self {
            provider: "deepseek",
            base_url: Some("https://api.deepseek.com/v1"),
            key: Some("DEEPSEEK_API_KEY"),
            http: Arc::clone(http),
        }
    }
}

#[async_trait]
impl ModelFactory for OpenAiFactory {
    async fn open(
        &self,
        model: &str,
        settings: &ProviderSettings,
        secrets: &dyn SecretStore,
    ) -> Result<Model> {
        let mut config = OpenAiConfig::new(model).of(self.provider);
        if let Some(base_url) = settings.base_url.as_deref().or(self.base_url) {
            config = config.at(base_url);
        }
        // Its models want what they thought beside their calls.
        config.send_reasoning = self.provider == "deepseek";
        config.api = api(settings.api.as_deref())?;
        config.organization.clone_from(&settings.organization);
        config.project.clone_from(&settings.project);
        config.headers.clone_from(&settings.headers);
        config.query.clone_from(&settings.query);
        config.profiles.clone_from(&settings.profiles);
        let key = match self.key {
            Some(name) => secrets.get(name).await?,
            None => None,
        };
        // A host of one's own may want none, or have it in a header.
        let needed =
            self.key.filter(|_| settings.base_url.is_none() || settings.base_url.as_deref() == self.base_url);
        if let (None, Some(name)) = (&key, needed) {
            return Err(Error::new(
                ErrorKind::Unauthenticated,
                "model.open",
                "the key of the provider is missing",
            )
            .with("provider", self.provider)
            .with("secret", name));
        }
        Ok(Model::new(OpenAiModel::with_client(config, key, Arc::clone(&self.http))?))
    }
}

fn api(name: Option<&str>) -> Result<OpenAiApi> {
    match name {
        None => Ok(OpenAiApi::Auto),
        Some("chat") => Ok(OpenAiApi::Chat),
        Some("responses") => Ok(OpenAiApi::Responses),
        Some(other) => Err(Error::new(ErrorKind::InvalidInput, "model.open", "no wire of this name")
            .with("api", other)
            .with("expected", "chat, responses")),
    }
}
