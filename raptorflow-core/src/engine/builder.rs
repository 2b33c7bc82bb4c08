//! `EngineBuilder`: wires the handles of an engine, lower floors first.

use std::sync::{Arc, RwLock};

#[cfg(feature = "http")]
use crate::model::HttpClient;
use crate::{
    agent::{AgentRegistry, Hook, Means},
    economics::{BudgetConfig, PriceBook},
    engine::{Engine, EngineConfig, Settings, budget::open_budgets},
    error::{Error, ErrorKind, Result},
    event::{Bus, BusConfig},
    journal::{JournalConfig, Journals},
    memory::{Memories, MemoryConfig},
    model::{BudgetLayer, CacheLayer, Layers, LayersConfig, ModelRegistry, Place},
    orchestrator::{Admission, AdmissionConfig},
    rag::{Embedder, EmbedderRegistry, Retriever},
    runtime::{Context, Runtime},
    security::SecretStore,
    storage::{Storage, StorageRegistry},
    tool::{BuiltinTools, Tool, ToolRegistry},
    types::TenantId,
};

/// Collects what an engine is made of; everything has a default that needs no server and no key.
///
/// ```
/// use raptorflow_core::{Engine, journal::JournalConfig, types::TenantId};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let engine = Engine::builder()
///     .storage("memory:")
///     .default_model("offline:extractive")
///     .tenant(TenantId::new("acme")?)
///     .journal(JournalConfig::default())
///     .build()
///     .await?;
/// assert!(engine.agents().is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct EngineBuilder {
    storage: Option<Store>,
    bus: Option<Bus>,
    models: Option<ModelRegistry>,
    #[cfg(feature = "http")]
    http: Option<Arc<dyn HttpClient>>,
    secrets: Option<Arc<dyn SecretStore>>,
    layers: Option<Wanted>,
    default_model: Option<Arc<str>>,
    tools: Vec<Arc<dyn Tool>>,
    prices: Option<PriceBook>,
    budgets: Option<BudgetConfig>,
    knowledge: Option<Arc<dyn Retriever>>,
    memory: Option<Remembers>,
    cache_embedder: Option<Arc<dyn Embedder>>,
    tenant: Option<TenantId>,
    runtime: Option<Runtime>,
    journal: Option<JournalConfig>,
    hooks: Vec<Arc<dyn Hook>>,
    admission: Option<Admits>,
}

#[derive(Debug)]
enum Store {
    Address(String),
    Handle(Storage),
}

/// What agents remember with.
#[derive(Debug)]
enum Remembers {
    Config(MemoryConfig),
    Handle(Memories),
}

/// What bounds runs.
#[derive(Debug)]
enum Admits {
    Config(AdmissionConfig),
    Handle(Admission),
}

/// What is to stand before models.
#[derive(Debug)]
enum Wanted {
    Layers(Layers),
    Config(Box<LayersConfig>),
}

impl EngineBuilder {
    /// Where journals live, as an address like `sqlite:team.db` or `postgres://user@host/database`; memory by default.
    #[must_use]
    pub fn storage(mut self, address: impl Into<String>) -> Self {
        self.storage = Some(Store::Address(address.into()));
        self
    }

    /// A store that is open already.
    #[must_use]
    pub fn storage_handle(mut self, storage: Storage) -> Self {
        self.storage = Some(Store::Handle(storage));
        self
    }

    /// A bus of the host's own; one inside the process by default.
    #[must_use]
    pub fn bus(mut self, bus: Bus) -> Self {
        self.bus = Some(bus);
        self
    }

    /// Models by name; by default the built-in providers, with `OPENAI_BASE_URL` and `ANTHROPIC_BASE_URL`
    /// honored.
    #[must_use]
    pub fn models(mut self, models: ModelRegistry) -> Self {
        self.models = Some(models);
        self
    }

    /// What sends the requests of the default models, such as a recorded cassette; those of
    /// [`EngineBuilder::models`] have their own.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn http(mut self, http: Arc<dyn HttpClient>) -> Self {
        self.http = Some(http);
        self
    }

    /// Where the keys of the default models are, by default in the environment; those of [`EngineBuilder::models`] have
    /// their own.
    #[must_use]
    pub fn secrets(mut self, secrets: Arc<dyn SecretStore>) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// What stands before every model, in place of the [standard layers](Layers::standard); with
    /// [`Layers::new`] nothing does.
    ///
    /// By default it is the layers of the registry that was given to [`EngineBuilder::models`], where it has any, and
    /// else the standard ones, with changes of circuit breakers told on the engine's bus.
    /// A model that an agent holds itself has them as well.
    ///
    /// ```
    /// use raptorflow_core::{Engine, model::{Layers, Rate, RateLimitLayer}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let limits = RateLimitLayer::per_model(Rate::USUAL);
    /// let engine = Engine::builder().layers(Layers::standard().with(limits)).build().await?;
    /// # assert!(engine.agents().is_empty());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn layers(mut self, layers: Layers) -> Self {
        self.layers = Some(Wanted::Layers(layers));
        self
    }

    /// Layers, budgets, prices, memory, admission and tools of the library as data; what is left out stays as it is.
    ///
    /// # Errors
    /// What [`Prices::book`](crate::engine::Prices::book) says.
    pub fn config(mut self, config: EngineConfig) -> Result<Self> {
        if let Some(layers) = config.layers {
            self.layers = Some(Wanted::Config(Box::new(layers)));
        }
        self.budgets = config.budgets.or(self.budgets);
        if let Some(memory) = config.memory {
            self.memory = Some(Remembers::Config(memory));
        }
        if let Some(prices) = config.prices {
            self.prices = Some(prices.book()?);
        }
        if let Some(admission) = config.admission {
            self.admission = Some(Admits::Config(admission));
        }
        self.tools.extend(config.tools.iter().flat_map(BuiltinTools::tools));
        Ok(self)
    }

    /// The model of agents that name none; there is no default.
    #[must_use]
    pub fn default_model(mut self, name: impl Into<Arc<str>>) -> Self {
        self.default_model = Some(name.into());
        self
    }

    /// A tool that agents may name in their data.
    #[must_use]
    pub fn tool(mut self, tool: impl Tool) -> Self {
        self.tools.push(Arc::new(tool));
        self
    }

    /// Watches and steers the runs of all agents; see [`Hook`] for the order of several.
    #[must_use]
    pub fn hook(mut self, hook: impl Hook) -> Self {
        self.hooks.push(Arc::new(hook));
        self
    }

    /// Tools that agents may name in their data.
    #[must_use]
    pub fn tools<T: Tool>(mut self, tools: impl IntoIterator<Item = T>) -> Self {
        self.tools.extend(tools.into_iter().map(|tool| -> Arc<dyn Tool> { Arc::new(tool) }));
        self
    }

    /// What models cost; the offline models are free unless the book has a price for them.
    #[must_use]
    pub fn prices(mut self, prices: PriceBook) -> Self {
        self.prices = Some(prices);
        self
    }

    /// What runs may spend; by default nothing is counted and nothing refused.
    ///
    /// Every call of a model is reserved before it is made, by a [`BudgetLayer`] with the engine's prices, and settled
    /// after it, in a ledger in the engine's store.
    /// A run that would spend more than it may stops with `BudgetExceeded`; when its cap was raised with
    /// [`Engine::set_cap`], or it was approved, [`Engine::resume`] goes on with what is left.
    /// Parts of a cap that are reached are told on the bus, as `notification_triggered`.
    ///
    /// The other layers are as without budgets.
    /// A layer of the host's own at [`Place::Budget`] stays, and then this only opens the ledger.
    #[must_use]
    pub fn budgets(mut self, config: BudgetConfig) -> Self {
        self.budgets = Some(config);
        self
    }

    /// Lets the [`CacheLayer`] answer questions of the same meaning too, by vectors of this embedder.
    ///
    /// ```
    /// use raptorflow_core::{Engine, model::{CacheLayer, Layers}, rag::HashingEmbedder};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let layers = Layers::standard().with(CacheLayer::default());
    /// let engine = Engine::builder().layers(layers).cache_embedder(HashingEmbedder::default()).build().await?;
    /// assert_eq!(engine.cache_stats().unwrap().semantic_hits, 0);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn cache_embedder(mut self, embedder: impl Embedder) -> Self {
        self.cache_embedder = Some(Arc::new(embedder));
        self
    }

    /// Where agents with retrieval find passages; see also [`Engine::use_knowledge`].
    #[must_use]
    pub fn knowledge(mut self, knowledge: impl Retriever) -> Self {
        self.knowledge = Some(Arc::new(knowledge));
        self
    }

    /// What agents remember with that say so in their data, kept in the engine's store; nothing by default.
    ///
    /// ```
    /// use raptorflow_core::{Engine, memory::{MemoryConfig, NewItem, Recall, Scope}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let engine = Engine::builder().memory(MemoryConfig::new("words")).build().await?;
    /// let (memory, asha) = (engine.memory()?, Scope::default().with_user("asha")?);
    /// memory.append(&asha, vec![NewItem::note("She is on the basic plan.")]).await?;
    /// assert_eq!(memory.recall(&asha, &Recall::text("Which plan?")).await?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn memory(mut self, config: MemoryConfig) -> Self {
        self.memory = Some(Remembers::Config(config));
        self
    }

    /// A memory of the host's own, or in another store.
    #[must_use]
    pub fn memory_handle(mut self, memories: Memories) -> Self {
        self.memory = Some(Remembers::Handle(memories));
        self
    }

    /// The tenant of runs that name none.
    #[must_use]
    pub fn tenant(mut self, tenant: TenantId) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// Clock, ids and tasks; by default the system's clock and the Tokio runtime of the caller.
    #[must_use]
    pub fn runtime(mut self, runtime: Runtime) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// How runs are owned: the lease that another process waits for after a crash.
    #[must_use]
    pub fn journal(mut self, config: JournalConfig) -> Self {
        self.journal = Some(config);
        self
    }

    /// How many runs work and wait at the same time in this process; no bound by default.
    ///
    /// A run waits for a slot before it is recorded, so that one that is refused leaves nothing in the store.
    ///
    /// ```
    /// use raptorflow_core::{Engine, orchestrator::AdmissionConfig};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let engine = Engine::builder().admission(AdmissionConfig::new(8, 100)).build().await?;
    /// assert_eq!(engine.admission().unwrap().stats().running, 0);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn admission(mut self, config: AdmissionConfig) -> Self {
        self.admission = Some(Admits::Config(config));
        self
    }

    /// An admission that other engines or orchestrators share.
    #[must_use]
    pub fn admission_handle(mut self, admission: Admission) -> Self {
        self.admission = Some(Admits::Handle(admission));
        self
    }

    /// Opens the storage and makes the engine.
    ///
    /// # Errors
    /// `Unavailable` outside of a Tokio runtime, what the storage says, `AlreadyExists` for two tools of one name, what
    /// [`Memories::open`] says, and `InvalidInput` for budgets in two currencies, for an embedder of a cache without a
    /// cache, and for an admission without slots.
    pub async fn build(self) -> Result<Engine> {
        let runtime = match self.runtime {
            Some(runtime) => runtime,
            None => Runtime::current()?,
        };
        let storage = match self.storage {
            None => Storage::memory(),
            Some(Store::Handle(storage)) => storage,
            Some(Store::Address(address)) => StorageRegistry::default().open(&runtime, &address).await?,
        };
        let bus = self.bus.unwrap_or_else(|| Bus::local(BusConfig::default()));
        let models = self.models.unwrap_or_else(|| {
            let settings = Settings::from_env();
            let of_providers = [("openai", settings.openai()), ("anthropic", settings.anthropic())];
            let set = of_providers.into_iter().filter_map(|(provider, set)| Some((provider, set?)));
            let models = set.fold(ModelRegistry::default(), |models, (provider, set)| {
                models.with_settings(provider, set)
            });
            #[cfg(feature = "http")]
            let models = self.http.into_iter().fold(models, ModelRegistry::with_http);
            self.secrets.into_iter().fold(models, ModelRegistry::with_secrets)
        });
        let prices = match self.prices {
            Some(prices) => PriceBook::default().with(&prices),
            None => PriceBook::default(),
        };
        let budgets =
            self.budgets.map(|config| open_budgets(&storage, &runtime, &bus, config)).transpose()?;
        let budget = budgets.clone().map(|budgets| BudgetLayer::new(budgets, prices.clone()));
        let mut models = layered(models, self.layers, budget, &bus)?;
        if let Some(embedder) = self.cache_embedder {
            let layers = semantic(models.layers(), embedder)?;
            models = models.with_layers(layers);
        }
        let mut tools = ToolRegistry::default();
        for tool in self.tools {
            tools.register_shared(tool)?;
        }
        if let Some(budgets) = &budgets {
            tools = tools.paid_from(budgets.clone());
        }
        let memory = match self.memory {
            None => None,
            Some(Remembers::Handle(memories)) => Some(memories),
            Some(Remembers::Config(config)) => {
                let (ctx, embedders) = (Context::new(&runtime), EmbedderRegistry::default());
                Some(Memories::open(&ctx, storage.clone(), &config, &embedders).await?)
            }
        };
        let admission = match self.admission {
            None => None,
            Some(Admits::Handle(admission)) => Some(admission),
            Some(Admits::Config(config)) => Some(Admission::new(config)?.with_bus(bus.clone())),
        };
        let means = Means {
            bus,
            models,
            default_model: self.default_model,
            tools,
            prices,
            agents: AgentRegistry::default(),
            knowledge: RwLock::new(self.knowledge),
            memory,
            hooks: RwLock::new(self.hooks.into()),
        };
        let journals = Journals::new(storage.clone(), runtime.clone(), self.journal.unwrap_or_default());
        let tenant = self.tenant.unwrap_or_default();
        Ok(Engine::new(runtime, storage, journals, Arc::new(means), (budgets, admission), tenant))
    }
}

/// The models behind the layers that are wanted, and a budget where there is one.
fn layered(
    models: ModelRegistry,
    wanted: Option<Wanted>,
    budget: Option<BudgetLayer>,
    bus: &Bus,
) -> Result<ModelRegistry> {
    let layers = match wanted {
        Some(Wanted::Config(config)) => {
            let layers = config.build(&models, Some(bus), budget)?;
            return Ok(models.with_layers(layers));
        }
        Some(Wanted::Layers(layers)) => layers,
        None if models.layers().is_empty() => Layers::standard_on(bus.clone()),
        None => models.layers().clone(),
    };
    let taken = layers.places().any(|place| place == Place::Budget);
    Ok(models.with_layers(match budget {
        Some(budget) if !taken => layers.with(budget),
        _ => layers,
    }))
}

/// The layers with a cache that compares questions by their meaning.
fn semantic(layers: &Layers, embedder: Arc<dyn Embedder>) -> Result<Layers> {
    let Some(cache) = layers.find::<CacheLayer>().cloned() else {
        let message = "there is an embedder for the cache of answers, and the layers have no cache";
        return Err(Error::new(ErrorKind::InvalidInput, "engine.build", message)
            .with("field", "cache_embedder")
            .with("expected", "layers with a cache"));
    };
    let cache = cache.semantic(move |ctx, question| {
        let embedder = Arc::clone(&embedder);
        async move { embedder.embed_query(&ctx, &question, &()).await }
    });
    Ok(layers.clone().with(cache))
}
