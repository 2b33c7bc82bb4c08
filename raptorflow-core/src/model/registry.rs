//! `ModelRegistry`: from a name like `openai:gpt-5-mini` to a model.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt::{self, Debug},
    sync::{Arc, PoisonError, RwLock, RwLockWriteGuard},
};

use async_trait::async_trait;

#[cfg(feature = "model-anthropic")]
use crate::model::backends::anthropic::AnthropicFactory;
#[cfg(feature = "model-genai")]
use crate::model::backends::genai::GenaiFactory;
#[cfg(feature = "model-openai")]
use crate::model::backends::openai::OpenAiFactory;
#[cfg(feature = "http")]
use crate::model::{HttpClient, ReqwestClient};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Layers, Model, OfflineModel, ProviderSettings, layers::Named, wrapped::Wrapped},
    security::{EnvSecrets, SecretStore},
};

/// How many opened models are kept; the oldest gives way.
const MAX_OPENED: usize = 256;

/// Opens the models of one provider.
///
/// # Contract
/// - opening sends nothing; a wrong key or an unknown model shows at the first call.
/// - a key that is needed and missing is `Unauthenticated` and names the secret.
///
/// # Examples
/// ```
/// use async_trait::async_trait;
/// use raptorflow_core::{Result, security::SecretStore};
/// use raptorflow_core::model::{Model, ModelFactory, ModelRegistry, OfflineModel, ProviderSettings};
///
/// #[derive(Debug)]
/// struct House;
///
/// #[async_trait]
/// impl ModelFactory for House {
///     async fn open(&self, _model: &str, _: &ProviderSettings, _: &dyn SecretStore) -> Result<Model> {
///         Ok(Model::new(OfflineModel::default()))
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let models = ModelRegistry::empty();
/// models.register_provider("house", House)?;
/// models.open("house:any").await?;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait ModelFactory: Debug + Send + Sync + 'static {
    /// The model of this name, without the provider in front.
    async fn open(
        &self,
        model: &str,
        settings: &ProviderSettings,
        secrets: &dyn SecretStore,
    ) -> Result<Model>;
}

/// Names to models; cloning shares what is registered and opened.
///
/// The default knows `offline`, and with their features `openai`, `ollama`, `deepseek`, `anthropic`, and `gemini`,
/// `vertex`, `bedrock`, `cohere` and `groq`, and reads keys from the environment when a model is opened.
/// Nothing is read or sent before that.
///
/// ```
/// use raptorflow_core::model::ModelRegistry;
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let models = ModelRegistry::default();
/// assert_eq!(&*models.open("offline:extractive").await?.info().name, "offline:extractive");
/// assert!(models.open("opnai:gpt").await.unwrap_err().to_string().contains("offline"));
/// # Ok::<(), raptorflow_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct ModelRegistry {
    secrets: Arc<dyn SecretStore>,
    settings: BTreeMap<String, ProviderSettings>,
    layers: Layers,
    providers: Arc<RwLock<Providers>>,
    /// Instances given by the host; they are never dropped.
    registered: Arc<RwLock<HashMap<String, Model>>>,
    /// The same behind the layers, once they were asked for.
    layered: Arc<RwLock<HashMap<String, Model>>>,
    /// Models that no name leads to, behind the layers.
    wrapped: Arc<Wrapped>,
    opened: Arc<RwLock<Opened>>,
}

type Providers = BTreeMap<String, Arc<dyn ModelFactory>>;

#[derive(Default)]
struct Opened {
    models: HashMap<String, Model>,
    order: VecDeque<String>,
}

impl Default for ModelRegistry {
    fn default() -> Self {
        let registry = Self::empty();
        let offline: Arc<dyn ModelFactory> = Arc::new(OfflineFactory);
        registry.write_providers().insert("offline".to_owned(), offline);
        #[cfg(feature = "http")]
        let registry = registry.with_http(Arc::new(ReqwestClient::default()));
        #[cfg(feature = "model-genai")]
        for (name, factory) in GenaiFactory::all() {
            let factory: Arc<dyn ModelFactory> = Arc::new(factory);
            registry.write_providers().insert(name.to_owned(), factory);
        }
        registry
    }
}

impl ModelRegistry {
    /// A registry that knows no provider.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            secrets: Arc::new(EnvSecrets::new()),
            settings: BTreeMap::new(),
            layers: Layers::new(),
            providers: Arc::default(),
            registered: Arc::default(),
            layered: Arc::default(),
            wrapped: Arc::default(),
            opened: Arc::default(),
        }
    }

    /// Another place for keys; models opened before are not shared with the copy.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Arc<dyn SecretStore>) -> Self {
        self.secrets = secrets;
        self.opened = Arc::default();
        self
    }

    /// Settings of a provider; models opened before are not shared with the copy.
    #[must_use]
    pub fn with_settings(mut self, provider: impl Into<String>, settings: ProviderSettings) -> Self {
        self.settings.insert(provider.into(), settings);
        self.opened = Arc::default();
        self
    }

    /// What stands before every model that [`ModelRegistry::open`] gives; the copy has layers of its own, and shares
    /// what is registered.
    #[must_use]
    pub fn with_layers(mut self, layers: Layers) -> Self {
        self.layers = layers;
        self.layered = Arc::default();
        self.wrapped = Arc::default();
        self.opened = Arc::default();
        self
    }

    /// What stands before every model.
    #[must_use]
    pub fn layers(&self) -> &Layers {
        &self.layers
    }

    /// Another way to reach `openai`, `ollama`, `deepseek` and `anthropic`, which are added where they are missing;
    /// models opened before are not shared with the copy.
    #[cfg(feature = "http")]
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "the caller gives the client away")]
    pub fn with_http(mut self, http: Arc<dyn HttpClient>) -> Self {
        let mut providers = self.write_providers().clone();
        for (name, factory) in remote_providers(&http) {
            providers.insert(name.to_owned(), factory);
        }
        self.providers = Arc::new(RwLock::new(providers));
        self.opened = Arc::default();
        self
    }

    /// Adds a provider, or replaces it.
    ///
    /// # Errors
    /// `InvalidInput` when the name is empty or has a `:`.
    pub fn register_provider(&self, provider: &str, factory: impl ModelFactory) -> Result<()> {
        if provider.is_empty() || provider.contains(':') {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "model.register_provider",
                "not the name of a provider; expected a word without `:`",
            )
            .with("provider", provider));
        }
        self.write_providers().insert(provider.to_owned(), Arc::new(factory));
        *self.opened.write().unwrap_or_else(PoisonError::into_inner) = Opened::default();
        Ok(())
    }

    /// Adds a model under a name of its own; it comes before a provider of that name.
    ///
    /// # Errors
    /// `InvalidInput` when the name is not `provider:model`, `AlreadyExists` when it is taken.
    pub fn register(&self, name: &str, model: Model) -> Result<()> {
        split(name, "model.register")?;
        let mut registered = self.registered.write().unwrap_or_else(PoisonError::into_inner);
        if registered.contains_key(name) {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                "model.register",
                "a model of this name is registered already",
            )
            .with("model", name));
        }
        registered.insert(name.to_owned(), model);
        Ok(())
    }

    /// The names of the providers, sorted.
    #[must_use]
    pub fn providers(&self) -> Vec<String> {
        self.providers.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// The model of a name, `provider:model`; the same instance each time.
    ///
    /// # Errors
    /// `InvalidInput` when the name is not of that form, `NotFound` when nobody knows the provider,
    /// `Unauthenticated` when its key is missing.
    ///
    /// # Cancellation
    /// Nothing is kept of an opening that was dropped.
    pub async fn open(&self, name: &str) -> Result<Model> {
        if let Some(model) = self.kept(name) {
            return Ok(model);
        }
        let (provider, model) = split(name, "model.open")?;
        let factory = {
            let providers = self.providers.read().unwrap_or_else(PoisonError::into_inner);
            providers.get(provider).cloned()
        };
        let factory = factory.ok_or_else(|| self.unknown(name))?;
        let default = ProviderSettings::default();
        let settings = self.settings.get(provider).unwrap_or(&default);
        let model = self.layers.wrap(factory.open(model, settings, &*self.secrets).await?);
        self.keep(name, &model);
        Ok(model)
    }

    /// The model of a name, which is opened when it is called for the first time.
    pub(crate) fn named(&self, name: &str) -> Model {
        Named::model(self, name)
    }

    /// A model that no name leads to, behind the same layers.
    #[must_use]
    pub fn wrap(&self, model: Model) -> Model {
        self.wrapped.of(&self.layers, model)
    }

    fn write_providers(&self) -> RwLockWriteGuard<'_, Providers> {
        self.providers.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self, name: &str) -> Option<Model> {
        let registered = self.registered.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = registered.get(name) {
            let layered = self.layered.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(wrapped) = layered.get(name) {
                return Some(wrapped.clone());
            }
            drop(layered);
            let mut layered = self.layered.write().unwrap_or_else(PoisonError::into_inner);
            let wrapped = layered.entry(name.to_owned()).or_insert_with(|| self.layers.wrap(model.clone()));
            return Some(wrapped.clone());
        }
        self.opened.read().unwrap_or_else(PoisonError::into_inner).models.get(name).cloned()
    }

    fn keep(&self, name: &str, model: &Model) {
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        if opened.models.insert(name.to_owned(), model.clone()).is_none() {
            opened.order.push_back(name.to_owned());
        }
        if opened.order.len() > MAX_OPENED
            && let Some(oldest) = opened.order.pop_front()
        {
            opened.models.remove(&oldest);
        }
    }

    fn unknown(&self, name: &str) -> Error {
        let mut known = self.providers();
        let registered = self.registered.read().unwrap_or_else(PoisonError::into_inner);
        let mut models: Vec<&str> = registered.keys().map(String::as_str).collect();
        models.sort_unstable();
        known.extend(models.into_iter().map(str::to_owned));
        Error::new(ErrorKind::NotFound, "model.open", "no provider of this name is registered")
            .with("model", name)
            .with("registered", known.join(", "))
    }
}

impl Debug for ModelRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelRegistry").field("providers", &self.providers()).finish_non_exhaustive()
    }
}

fn split<'a>(name: &'a str, operation: &'static str) -> Result<(&'a str, &'a str)> {
    match name.split_once(':') {
        Some((provider, model)) if !provider.is_empty() && !model.is_empty() => Ok((provider, model)),
        _ => Err(Error::new(
            ErrorKind::InvalidInput,
            operation,
            "not the name of a model; expected `provider:model`, like `openai:gpt-5-mini` or `offline:extractive`",
        )
        .with("model", name)),
    }
}

/// The providers of this build that are reached over HTTP.
#[cfg(feature = "http")]
#[cfg_attr(
    not(any(feature = "model-openai", feature = "model-anthropic")),
    allow(unused_variables, reason = "a build with the client alone has no provider")
)]
fn remote_providers(http: &Arc<dyn HttpClient>) -> Vec<(&'static str, Arc<dyn ModelFactory>)> {
    vec![
        #[cfg(feature = "model-openai")]
        ("openai", Arc::new(OpenAiFactory::openai(http))),
        #[cfg(feature = "model-openai")]
        ("ollama", Arc::new(OpenAiFactory::ollama(http))),
        #[cfg(feature = "model-openai")]
        ("deepseek", Arc::new(OpenAiFactory::deepseek(http))),
        #[cfg(feature = "model-anthropic")]
        ("anthropic", Arc::new(AnthropicFactory::new(http))),
    ]
}

/// Opens the one offline model.
#[derive(Debug)]
struct OfflineFactory;

#[async_trait]
impl ModelFactory for OfflineFactory {
    async fn open(&self, model: &str, _: &ProviderSettings, _: &dyn SecretStore) -> Result<Model> {
        if model == "extractive" {
            return Ok(Model::new(OfflineModel::default()));
        }
        Err(Error::new(ErrorKind::NotFound, "model.open", "the offline provider has one model")
            .with("model", model)
            .with("expected", "extractive"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FunctionModel, Layer, ModelInfo, Place};

    #[tokio::test]
    async fn a_name_without_a_provider_is_refused_with_a_hint() {
        for name in ["gpt-5", ":x", "openai:", ""] {
            let err = ModelRegistry::default().open(name).await.unwrap_err();
            assert_eq!(err.kind(), ErrorKind::InvalidInput);
            assert!(err.message().contains("provider:model"), "{err}");
        }
    }

    #[tokio::test]
    async fn an_unknown_provider_lists_what_is_registered() {
        let models = ModelRegistry::default();
        models.register("scripted:x", Model::new(OfflineModel::default())).unwrap();
        let err = models.open("nobody:x").await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::NotFound);
        assert!(err.get("registered").unwrap().contains("offline"), "{err}");
        assert!(err.get("registered").unwrap().contains("scripted:x"), "{err}");
    }

    #[tokio::test]
    async fn a_registered_instance_is_found_and_its_name_is_taken() {
        let models = ModelRegistry::default();
        models.register("scripted:x", Model::new(OfflineModel::default())).unwrap();
        assert_eq!(&*models.open("scripted:x").await.unwrap().info().name, "offline:extractive");
        let again = models.register("scripted:x", Model::new(OfflineModel::default())).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    }

    /// Says in the name that it was there.
    #[derive(Debug)]
    struct Marks;

    impl Layer for Marks {
        fn place(&self) -> Place {
            Place::Trace
        }

        fn wrap(&self, inner: Model) -> Model {
            let name = format!("layered {}", inner.info().name).into();
            let info = ModelInfo { name, ..inner.info().clone() };
            Model::new(FunctionModel::new(info, |_ctx, _request| async { Ok(serde_json::Value::Null) }))
        }
    }

    #[tokio::test]
    async fn layers_stand_before_registered_and_before_opened_models() {
        let plain = ModelRegistry::default();
        plain.register("scripted:x", Model::new(OfflineModel::default())).unwrap();
        let layered = plain.clone().with_layers(Layers::new().with(Marks));
        for name in ["scripted:x", "offline:extractive"] {
            assert_eq!(&*layered.open(name).await.unwrap().info().name, "layered offline:extractive");
            assert_eq!(&*plain.open(name).await.unwrap().info().name, "offline:extractive");
        }
    }

    #[cfg(all(feature = "model-openai", feature = "model-anthropic"))]
    #[tokio::test]
    async fn a_missing_key_is_named_and_a_host_of_ones_own_needs_none() {
        let secrets = |value: Option<&'static str>| {
            Arc::new(EnvSecrets::from_lookup(move |_| value.map(str::to_owned)))
        };
        let keyless = ModelRegistry::default().with_secrets(secrets(None));
        for (name, secret) in [
            ("openai:x", "OPENAI_API_KEY"),
            ("deepseek:x", "DEEPSEEK_API_KEY"),
            ("anthropic:x", "ANTHROPIC_API_KEY"),
        ] {
            let err = keyless.open(name).await.unwrap_err();
            assert_eq!((err.kind(), err.get("secret")), (ErrorKind::Unauthenticated, Some(secret)));
            let keyed = ModelRegistry::default().with_secrets(secrets(Some("k")));
            assert_eq!(&*keyed.open(name).await.unwrap().info().name, name);
        }
        assert_eq!(&*keyless.open("ollama:llama3:8b").await.unwrap().info().name, "ollama:llama3:8b");
        let own = ProviderSettings::default().with_base_url("http://localhost:8000/v1");
        assert!(keyless.with_settings("openai", own).open("openai:x").await.is_ok());
    }

    #[derive(Debug)]
    struct Counting(Arc<std::sync::atomic::AtomicUsize>);

    #[async_trait]
    impl ModelFactory for Counting {
        async fn open(&self, _: &str, settings: &ProviderSettings, _: &dyn SecretStore) -> Result<Model> {
            assert_eq!(settings.base_url.as_deref(), Some("http://here"));
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok(Model::new(OfflineModel::default()))
        }
    }

    #[tokio::test]
    async fn a_model_is_opened_once_and_the_oldest_gives_way() {
        let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let opened = || count.load(std::sync::atomic::Ordering::SeqCst);
        let settings = ProviderSettings::default().with_base_url("http://here");
        let models = ModelRegistry::empty().with_settings("mine", settings);
        models.register_provider("mine", Counting(Arc::clone(&count))).unwrap();
        models.open("mine:0").await.unwrap();
        models.open("mine:0").await.unwrap();
        assert_eq!(opened(), 1);
        for n in 1..=MAX_OPENED {
            models.open(&format!("mine:{n}")).await.unwrap();
        }
        models.open("mine:0").await.unwrap();
        assert_eq!(opened(), MAX_OPENED + 2);
    }
}
