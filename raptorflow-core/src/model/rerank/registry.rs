//! `RerankerRegistry`: from a name like `cohere:rerank-v3.5` to a reranker.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
    sync::{Arc, PoisonError, RwLock},
};

use async_trait::async_trait;

use super::reranker::Reranker;
#[cfg(feature = "http")]
use crate::model::{HttpClient, HttpReranker, ReqwestClient, RerankConfig};
use crate::{
    error::{Error, ErrorKind, Result},
    model::ProviderSettings,
    security::{EnvSecrets, SecretStore},
};

/// Opens the rerankers of one provider.
///
/// # Contract
/// - opening sends nothing.
/// - a key that is needed and missing is `Unauthenticated` and names the secret.
#[async_trait]
pub trait RerankerFactory: Debug + Send + Sync + 'static {
    /// The reranker of this name, without the provider in front.
    async fn open(
        &self,
        model: &str,
        settings: &ProviderSettings,
        secrets: &dyn SecretStore,
    ) -> Result<Arc<dyn Reranker>>;
}

/// Names to rerankers; cloning shares what is registered.
///
/// With the feature `http` the default knows `cohere`, `jina` and `voyage`, whose keys it reads from the environment
/// (`COHERE_API_KEY`, `JINA_API_KEY`, `VOYAGE_API_KEY`) when a reranker is opened.
///
/// ```
/// use raptorflow_core::{ErrorKind, model::RerankerRegistry};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let err = RerankerRegistry::default().open("cohre:rerank-v3.5").await.unwrap_err();
/// assert_eq!((err.kind(), err.get("reranker")), (ErrorKind::NotFound, Some("cohre:rerank-v3.5")));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RerankerRegistry {
    secrets: Arc<dyn SecretStore>,
    settings: BTreeMap<String, ProviderSettings>,
    factories: Arc<RwLock<BTreeMap<String, Arc<dyn RerankerFactory>>>>,
}

impl Default for RerankerRegistry {
    fn default() -> Self {
        let registry = Self {
            secrets: Arc::new(EnvSecrets::new()),
            settings: BTreeMap::new(),
            factories: Arc::default(),
        };
        #[cfg(feature = "http")]
        for factory in RemoteFactory::all() {
            registry.insert(factory.provider, Arc::new(factory));
        }
        registry
    }
}

impl RerankerRegistry {
    /// Another place for keys.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Arc<dyn SecretStore>) -> Self {
        self.secrets = secrets;
        self
    }

    /// Address and headers of a provider.
    #[must_use]
    pub fn with_settings(mut self, provider: impl Into<String>, settings: ProviderSettings) -> Self {
        self.settings.insert(provider.into(), settings);
        self
    }

    /// Adds a provider, or replaces it.
    ///
    /// # Errors
    /// `InvalidInput` when the name is empty or has a `:`.
    pub fn register_provider(&self, provider: &str, factory: impl RerankerFactory) -> Result<()> {
        if provider.is_empty() || provider.contains(':') {
            let message = "not the name of a provider; expected a word without `:`";
            return Err(Error::new(ErrorKind::InvalidInput, "rerank.register_provider", message)
                .with("provider", provider));
        }
        self.insert(provider, Arc::new(factory));
        Ok(())
    }

    /// The names of the providers, sorted.
    #[must_use]
    pub fn providers(&self) -> Vec<String> {
        self.factories.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// A new reranker of a name, `provider:model`, with the settings of its provider.
    ///
    /// # Errors
    /// `InvalidInput` when the name is not of that form, `NotFound` when nobody knows the provider, and
    /// `Unauthenticated` when its key is missing.
    pub async fn open(&self, name: &str) -> Result<Arc<dyn Reranker>> {
        let (provider, model) = match name.split_once(':') {
            Some((provider, model)) if !provider.is_empty() && !model.is_empty() => (provider, model),
            _ => {
                let message =
                    "not the name of a reranker; expected `provider:model`, like `cohere:rerank-v3.5`";
                return Err(
                    Error::new(ErrorKind::InvalidInput, "rerank.open", message).with("reranker", name)
                );
            }
        };
        let factory = {
            let factories = self.factories.read().unwrap_or_else(PoisonError::into_inner);
            factories.get(provider).cloned()
        };
        let factory = factory.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "rerank.open", "no provider of this name is registered")
                .with("reranker", name)
                .with("registered", self.providers().join(", "))
        })?;
        let default = ProviderSettings::default();
        factory.open(model, self.settings.get(provider).unwrap_or(&default), &*self.secrets).await
    }

    fn insert(&self, provider: &str, factory: Arc<dyn RerankerFactory>) {
        let mut factories = self.factories.write().unwrap_or_else(PoisonError::into_inner);
        factories.insert(provider.to_owned(), factory);
    }
}

impl Debug for RerankerRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RerankerRegistry").field("providers", &self.providers()).finish_non_exhaustive()
    }
}

/// A provider that is reached over HTTP.
#[cfg(feature = "http")]
#[derive(Debug)]
struct RemoteFactory {
    provider: &'static str,
    config: fn(&str) -> RerankConfig,
    /// The secret that holds the key.
    key: &'static str,
    http: Arc<dyn HttpClient>,
}

#[cfg(feature = "http")]
impl RemoteFactory {
    fn all() -> [Self; 3] {
        let http: Arc<dyn HttpClient> = Arc::new(ReqwestClient::default());
        let factory = |provider, config, key| Self { provider, config, key, http: Arc::clone(&http) };
        [
            factory("cohere", |model| RerankConfig::cohere(model), "COHERE_API_KEY"),
            factory("jina", |model| RerankConfig::jina(model), "JINA_API_KEY"),
            factory("voyage", |model| RerankConfig::voyage(model), "VOYAGE_API_KEY"),
        ]
    }
}

#[cfg(feature = "http")]
#[async_trait]
impl RerankerFactory for RemoteFactory {
    async fn open(
        &self,
        model: &str,
        settings: &ProviderSettings,
        secrets: &dyn SecretStore,
    ) -> Result<Arc<dyn Reranker>> {
        let mut config = (self.config)(model);
        if let Some(base_url) = &settings.base_url {
            config = config.at(base_url);
        }
        config.headers.clone_from(&settings.headers);
        let key = secrets.get(self.key).await?;
        // A host of one's own may want none, or have it in a header.
        if key.is_none() && config.is_at_home() {
            let message = "the key of the provider is missing";
            return Err(Error::new(ErrorKind::Unauthenticated, "rerank.open", message)
                .with("provider", self.provider)
                .with("secret", self.key));
        }
        Ok(Arc::new(HttpReranker::with_client(config, key, Arc::clone(&self.http))?))
    }
}
