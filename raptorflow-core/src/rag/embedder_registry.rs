//! `EmbedderRegistry`: from a name like `openai:text-embedding-3-small` to an embedder.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
    sync::{Arc, PoisonError, RwLock},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

#[cfg(feature = "embedder-minilm")]
use crate::rag::minilm::{MiniLmFactory, Precision};
use crate::{
    error::{Error, ErrorKind, Result},
    model::ProviderSettings,
    rag::embed::{Embedder, HashingEmbedder},
    runtime::Context,
    security::{EnvSecrets, SecretStore},
};
#[cfg(feature = "http")]
use crate::{
    model::{EmbeddingConfig, HttpClient, HttpEmbeddingModel, ReqwestClient},
    rag::model_embedder::ModelEmbedder,
};

/// What a host may set for the embedders of a provider; what is not set is the provider's default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct EmbedderSettings {
    /// Address and headers.
    pub host: ProviderSettings,
    /// How many numbers a vector has; without it the table of known models says, or one call of the model.
    pub dimension: Option<usize>,
    /// Whether a model that is not known is asked to shorten its vectors to `dimension`; known ones are anyway.
    pub shorten: bool,
    /// Whether a model whose dimension is not known is asked for it, with one request; true by default, and
    /// `InvalidInput` when false.
    pub probe: bool,
}

impl Default for EmbedderSettings {
    fn default() -> Self {
        Self { host: ProviderSettings::default(), dimension: None, shorten: false, probe: true }
    }
}

impl EmbedderSettings {
    /// Another address of the API.
    #[must_use]
    pub fn with_base_url(mut self, base_url: impl Into<String>) -> Self {
        self.host = self.host.with_base_url(base_url);
        self
    }

    /// How many numbers a vector has.
    #[must_use]
    pub fn with_dimension(mut self, dimension: usize) -> Self {
        self.dimension = Some(dimension);
        self
    }

    /// Sends nothing when an embedder is opened; see [`probe`](Self::probe).
    #[must_use]
    pub fn without_probe(mut self) -> Self {
        self.probe = false;
        self
    }

    /// Asks a model that is not known to shorten its vectors.
    #[must_use]
    pub fn shortened(mut self) -> Self {
        self.shorten = true;
        self
    }
}

/// Opens the embedders of one provider.
///
/// # Contract
/// - opening sends nothing, unless it is not known how many numbers a vector has.
/// - a key that is needed and missing is `Unauthenticated` and names the secret.
#[async_trait]
pub trait EmbedderFactory: Debug + Send + Sync + 'static {
    /// The embedder of this name, without the provider in front.
    async fn open(
        &self,
        ctx: &Context,
        model: &str,
        settings: &EmbedderSettings,
        secrets: &dyn SecretStore,
    ) -> Result<Arc<dyn Embedder>>;
}

type Factories = BTreeMap<String, Arc<dyn EmbedderFactory>>;

/// Names to embedders; cloning shares what is registered.
///
/// The default knows `hashing`, with the feature `embedder-minilm` also `minilm` and `minilm-int8`, which take the
/// folder of the weights for a name (`minilm:models/all-MiniLM-L6-v2`), and with the feature `http` also `openai`, `ollama` and `gemini`, whose keys it reads
/// from the environment (`OPENAI_API_KEY`, `GEMINI_API_KEY`) when an embedder is opened.
///
/// ```
/// use raptorflow_core::{rag::{Embedder as _, EmbedderRegistry}, runtime::{Context, Runtime}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let ctx = Context::new(&Runtime::current()?);
/// let embedders = EmbedderRegistry::default();
/// assert_eq!(embedders.open(&ctx, "hashing:64").await?.dimension(), 64);
/// let err = embedders.open(&ctx, "opnai:text-embedding-3-small").await.unwrap_err();
/// assert!(err.get("registered").unwrap().starts_with("gemini, hashing"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct EmbedderRegistry {
    secrets: Arc<dyn SecretStore>,
    settings: BTreeMap<String, EmbedderSettings>,
    factories: Arc<RwLock<Factories>>,
}

impl Default for EmbedderRegistry {
    fn default() -> Self {
        let registry = Self::empty();
        registry.insert("hashing", Arc::new(HashingFactory));
        #[cfg(feature = "embedder-minilm")]
        for (provider, precision) in [("minilm", Precision::F32), ("minilm-int8", Precision::Int8)] {
            registry.insert(provider, Arc::new(MiniLmFactory(precision)));
        }
        #[cfg(feature = "http")]
        let registry = registry.with_http(&(Arc::new(ReqwestClient::default()) as _));
        registry
    }
}

impl EmbedderRegistry {
    /// A registry that knows no provider.
    #[must_use]
    pub fn empty() -> Self {
        Self { secrets: Arc::new(EnvSecrets::new()), settings: BTreeMap::new(), factories: Arc::default() }
    }

    /// Another place for keys.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Arc<dyn SecretStore>) -> Self {
        self.secrets = secrets;
        self
    }

    /// Settings of a provider.
    #[must_use]
    pub fn with_settings(mut self, provider: impl Into<String>, settings: EmbedderSettings) -> Self {
        self.settings.insert(provider.into(), settings);
        self
    }

    /// Another way to reach `openai`, `ollama` and `gemini`, which are added where they are missing.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn with_http(self, http: &Arc<dyn HttpClient>) -> Self {
        let copy = self.factories.read().unwrap_or_else(PoisonError::into_inner).clone();
        let registry = Self { factories: Arc::new(RwLock::new(copy)), ..self };
        for factory in RemoteFactory::all(http) {
            registry.insert(factory.provider, Arc::new(factory));
        }
        registry
    }

    /// Adds a provider, or replaces it.
    ///
    /// # Errors
    /// `InvalidInput` when the name is empty or has a `:`.
    pub fn register_provider(&self, provider: &str, factory: impl EmbedderFactory) -> Result<()> {
        if provider.is_empty() || provider.contains(':') {
            let message = "not the name of a provider; expected a word without `:`";
            return Err(Error::new(ErrorKind::InvalidInput, "embedder.register_provider", message)
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

    /// A new embedder of a name, `provider:model`, with the settings of its provider.
    ///
    /// # Errors
    /// `InvalidInput` when the name is not of that form, `NotFound` when nobody knows the provider,
    /// `Unauthenticated` when its key is missing; what the model says when it is asked for its dimension.
    ///
    /// # Cancellation
    /// Nothing is kept of an opening that was dropped.
    pub async fn open(&self, ctx: &Context, name: &str) -> Result<Arc<dyn Embedder>> {
        let (provider, model) = match name.split_once(':') {
            Some((provider, model)) if !provider.is_empty() && !model.is_empty() => (provider, model),
            _ => {
                let message = "not the name of an embedder; expected `provider:model`, like \
                               `openai:text-embedding-3-small` or `hashing:384`";
                return Err(
                    Error::new(ErrorKind::InvalidInput, "embedder.open", message).with("embedder", name)
                );
            }
        };
        let factory = {
            let factories = self.factories.read().unwrap_or_else(PoisonError::into_inner);
            factories.get(provider).cloned()
        };
        let factory = factory.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "embedder.open", "no provider of this name is registered")
                .with("embedder", name)
                .with("registered", self.providers().join(", "))
        })?;
        let default = EmbedderSettings::default();
        let settings = self.settings.get(provider).unwrap_or(&default);
        factory.open(ctx, model, settings, &*self.secrets).await
    }

    fn insert(&self, provider: &str, factory: Arc<dyn EmbedderFactory>) {
        let mut factories = self.factories.write().unwrap_or_else(PoisonError::into_inner);
        factories.insert(provider.to_owned(), factory);
    }
}

impl Debug for EmbedderRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbedderRegistry").field("providers", &self.providers()).finish_non_exhaustive()
    }
}

/// Hashed words; the name is the dimension.
#[derive(Debug)]
struct HashingFactory;

#[async_trait]
impl EmbedderFactory for HashingFactory {
    async fn open(
        &self,
        _ctx: &Context,
        model: &str,
        _settings: &EmbedderSettings,
        _secrets: &dyn SecretStore,
    ) -> Result<Arc<dyn Embedder>> {
        let dimension = model.parse().map_err(|_| {
            Error::new(ErrorKind::InvalidInput, "embedder.open", "expected a dimension, like `hashing:384`")
                .with("embedder", format!("hashing:{model}"))
        })?;
        Ok(Arc::new(HashingEmbedder::new(dimension)?))
    }
}

/// A provider that is reached over HTTP.
#[cfg(feature = "http")]
#[derive(Debug)]
struct RemoteFactory {
    provider: &'static str,
    config: fn(&str) -> Result<EmbeddingConfig>,
    /// The secret that holds the key; hosts on this machine need none.
    key: Option<&'static str>,
    http: Arc<dyn HttpClient>,
}

#[cfg(feature = "http")]
impl RemoteFactory {
    fn all(http: &Arc<dyn HttpClient>) -> [Self; 3] {
        let factory = |provider, config, key| Self { provider, config, key, http: Arc::clone(http) };
        [
            factory("openai", |model| EmbeddingConfig::openai(model), Some("OPENAI_API_KEY")),
            factory("ollama", |model| EmbeddingConfig::ollama(model), None),
            factory("gemini", |model| EmbeddingConfig::gemini(model), Some("GEMINI_API_KEY")),
        ]
    }
}

#[cfg(feature = "http")]
#[async_trait]
impl EmbedderFactory for RemoteFactory {
    async fn open(
        &self,
        ctx: &Context,
        model: &str,
        settings: &EmbedderSettings,
        secrets: &dyn SecretStore,
    ) -> Result<Arc<dyn Embedder>> {
        let EmbedderSettings { host, dimension, shorten, probe } = settings;
        let mut config = (self.config)(model)?;
        if let Some(base_url) = &host.base_url {
            config = config.at(base_url);
        }
        if let Some(dimension) = dimension {
            config = config.with_dimension(*dimension);
            config.shorten |= shorten;
        }
        config.headers.clone_from(&host.headers);
        let payers = [("openai-organization", &host.organization), ("openai-project", &host.project)];
        for (name, payer) in payers {
            config.headers.extend(payer.as_ref().map(|payer| (name.to_owned(), payer.clone())));
        }
        let key = match self.key {
            Some(name) => secrets.get(name).await?,
            None => None,
        };
        // A host of one's own may want none, or have it in a header.
        if let (None, Some(name), true) = (&key, self.key, config.is_at_home()) {
            let message = "the key of the provider is missing";
            return Err(Error::new(ErrorKind::Unauthenticated, "embedder.open", message)
                .with("provider", self.provider)
                .with("secret", name));
        }
        let model = Arc::new(HttpEmbeddingModel::with_client(config, key, Arc::clone(&self.http))?);
        if *probe {
            return Ok(Arc::new(ModelEmbedder::probed(ctx, model).await?));
        }
        Ok(Arc::new(ModelEmbedder::from_arc(model)?))
    }
}
