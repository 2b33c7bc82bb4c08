//! The models of an engine, what stands before them, and what it did so far.

use crate::{
    economics::{Prediction, Workload, predict},
    engine::Engine,
    error::Result,
    model::{
        BreakerStatus, CacheLayer, CacheStats, CircuitBreakerLayer, Layers, Model, RateLimitLayer, RateStatus,
    },
};

impl Engine {
    /// Makes a model known under a full name like `host:model`.
    ///
    /// # Errors
    /// `InvalidInput` when the name has not this form, `AlreadyExists` when it is taken.
    ///
    /// # Examples
    /// ```
    /// use raptorflow_core::{Agent, Engine, model::{Model, OfflineModel}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let engine = Engine::builder().build().await?;
    /// engine.register_model("host:quotes", Model::new(OfflineModel::default()))?;
    /// engine.register(Agent::builder("reader").model("host:quotes").build()?)?;
    /// assert!(!engine.run("reader", "What is a journal?").await?.text().is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn register_model(&self, name: &str, model: Model) -> Result<()> {
        self.means().models.register(name, model)
    }

    /// Opens a model by its name, to see before a run that it is known and has its key; sends nothing.
    ///
    /// # Errors
    /// `InvalidInput` and `NotFound` for a name that is not known, `Unauthenticated` for a missing key.
    pub async fn model(&self, name: &str) -> Result<Model> {
        self.means().models.open(name).await
    }

    /// What stands before every model.
    #[must_use]
    pub fn layers(&self) -> &Layers {
        self.means().models.layers()
    }

    /// The circuit breakers of the models that were used, by the model's name; none where the layers have none.
    ///
    /// ```
    /// use raptorflow_core::{Agent, Engine, model::BreakerState};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let engine = Engine::builder().default_model("offline:extractive").build().await?;
    /// engine.register(Agent::builder("reader").build()?)?;
    /// engine.run("reader", "What is a journal?").await?;
    /// let breakers = engine.breakers();
    /// assert_eq!((&*breakers[0].model, breakers[0].state), ("offline:extractive", BreakerState::Closed));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn breakers(&self) -> Vec<BreakerStatus> {
        self.layers().find::<CircuitBreakerLayer>().map(CircuitBreakerLayer::states).unwrap_or_default()
    }

    /// The rules of the rate limit, and how often each did not allow a call; none where the layers have none.
    #[must_use]
    pub fn rate_limits(&self) -> Vec<RateStatus> {
        self.layers().find::<RateLimitLayer>().map(|limit| limit.rules().states()).unwrap_or_default()
    }

    /// How often the cache of answers had one, for all tenants; `None` where the layers have no cache.
    #[must_use]
    pub fn cache_stats(&self) -> Option<CacheStats> {
        self.layers().find::<CacheLayer>().map(|layer| layer.cache().stats())
    }

    /// Forgets the answers in the cache that are the tenant's, for one skill or for all, and says how many there were.
    ///
    /// A skill is the name of the agent that asked, unless the layer says otherwise.
    pub fn forget_answers(&self, skill: Option<&str>) -> usize {
        let layer = self.layers().find::<CacheLayer>();
        layer.map_or(0, |layer| layer.cache().invalidate(self.tenant(), skill))
    }

    /// What a piece of work with a model may cost, by the engine's prices at this time.
    ///
    /// ```
    /// use raptorflow_core::{Engine, economics::{Workload, text_tokens}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let engine = Engine::builder().build().await?;
    /// let input_tokens = text_tokens("What is a journal?");
    /// let work = Workload { input_tokens, output_tokens: 100, ..Workload::default() };
    /// assert_eq!(engine.predict("offline:extractive", &work).high.money.unwrap().micros, 0);
    /// assert_eq!(engine.predict("shop:unknown", &work).high.money, None);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn predict(&self, model: &str, work: &Workload) -> Prediction {
        predict(&self.means().prices, model, work, self.runtime().clock().now())
    }
}
