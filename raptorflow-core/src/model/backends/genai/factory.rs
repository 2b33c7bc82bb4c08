//! Opens models of the providers that are reached through the crate.

use async_trait::async_trait;

use super::{
    client::GenaiModel,
    config::{GenaiConfig, GenaiProvider},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Model, ModelFactory, ProviderSettings, ReqwestClient},
    security::SecretStore,
};

/// Opens the models of one provider; the crate needs a client of its own kind.
#[derive(Debug)]
pub(crate) struct GenaiFactory {
    provider: GenaiProvider,
    http: ReqwestClient,
}

impl GenaiFactory {
    /// Every provider, under its name.
    pub(crate) fn all() -> impl Iterator<Item = (&'static str, Self)> {
        let http = ReqwestClient::default();
        GenaiProvider::ALL
            .map(|provider| (provider.name(), Self { provider, http: http.clone() }))
            .into_iter()
    }
}

#[async_trait]
impl ModelFactory for GenaiFactory {
    async fn open(
        &self,
        model: &str,
        settings: &ProviderSettings,
        secrets: &dyn SecretStore,
    ) -> Result<Model> {
        let name = self.provider.secret();
        let key = secrets.get(name).await?.ok_or_else(|| {
            Error::new(ErrorKind::Unauthenticated, "model.open", "the key of the provider is missing")
                .with("provider", self.provider.name())
                .with("secret", name)
        })?;
        let mut config = GenaiConfig::new(self.provider, model);
        config.base_url.clone_from(&settings.base_url);
        config.headers.clone_from(&settings.headers);
        config.profiles.clone_from(&settings.profiles);
        Ok(Model::new(GenaiModel::new(config, key, &self.http)?))
    }
}
