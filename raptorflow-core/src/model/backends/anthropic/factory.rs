//! Opens Anthropic's models.

use std::sync::Arc;

use async_trait::async_trait;

use super::{client::AnthropicModel, config::AnthropicConfig};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{HttpClient, Model, ModelFactory, ProviderSettings},
    security::SecretStore,
};

/// The secret that holds the key.
const KEY: &str = "ANTHROPIC_API_KEY";

/// Opens Anthropic's models.
#[derive(Debug)]
pub(crate) struct AnthropicFactory {
    http: Arc<dyn HttpClient>,
}

impl AnthropicFactory {
    pub(crate) fn new(http: &Arc<dyn HttpClient>) -> Self {
        Self { http: Arc::clone(http) }
    }
}

#[async_trait]
impl ModelFactory for AnthropicFactory {
    async fn open(
        &self,
        model: &str,
        settings: &ProviderSettings,
        secrets: &dyn SecretStore,
    ) -> Result<Model> {
        let key = secrets.get(KEY).await?.ok_or_else(|| {
            Error::new(ErrorKind::Unauthenticated, "model.open", "the key of the provider is missing")
                .with("provider", "anthropic")
                .with("secret", KEY)
        })?;
        let mut config = AnthropicConfig::new(model);
        if let Some(base_url) = &settings.base_url {
            config = config.at(base_url.as_str());
        }
        config.headers.clone_from(&settings.headers);
        config.query.clone_from(&settings.query);
        config.profiles.clone_from(&settings.profiles);
        Ok(Model::new(AnthropicModel::with_client(config, key, Arc::clone(&self.http))?))
    }
}
