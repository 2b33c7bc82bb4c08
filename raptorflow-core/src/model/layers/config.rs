//! `LayersConfig`: the layers of an engine as data.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    breaker::BreakerConfig,
    budget::BudgetLayer,
    cache::CacheLayer,
    cache_store::{AnswerCache, CacheConfig},
    cascade::CascadeLayer,
    circuit_breaker::CircuitBreakerLayer,
    fallback::FallbackLayer,
    named::Named,
    rate::{Rate, RateAlgorithm},
    rate_address::RateAddress,
    rate_limit::RateLimitLayer,
    rate_rules::{RateRules, RateScope, RateUnit},
    redact::RedactLayer,
    retry::{RetryConfig, RetryLayer},
    standard::breakers,
    switch,
    timeout::{TimeoutConfig, TimeoutLayer},
    trace::TraceLayer,
};
use crate::{
    error::{Error, ErrorKind, Result},
    event::Bus,
    model::{Layer, Layers, Model, ModelRegistry, Place},
    types::seconds,
};

/// The layers before every model, as data.
///
/// A part that is left out is as in [`Layers::standard`]: a trace, retries, breakers and time-outs, and nothing else.
/// `true` is a part with its defaults, `false` is none, and an object is one with settings, of which each may be left
/// out; spans of time are numbers of seconds.
///
/// ```
/// use raptorflow_core::model::{LayersConfig, ModelRegistry, Place};
/// let config: LayersConfig = serde_json::from_str(r#"{
///     "retry": { "attempts": 5, "base_seconds": 0.2 },
///     "rate_limit": [{ "scope": "endpoint", "limit": 90000, "per_seconds": 60, "unit": "tokens" }],
///     "fallback": ["openai:gpt-5-mini", "offline:extractive"],
///     "trace": false
/// }"#)?;
/// let layers = config.build(&ModelRegistry::default(), None, None)?;
/// let places: Vec<Place> = layers.places().collect();
/// use Place::{CircuitBreaker, Fallback, RateLimit, Retry, Timeout};
/// assert_eq!(places, [Fallback, Retry, CircuitBreaker, RateLimit, Timeout]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LayersConfig {
    /// One span a call; on by default.
    pub trace: bool,
    /// Whether personal data is taken out of what is sent and put back into what is answered; off by default.
    pub redact: bool,
    /// Answers what was answered before; off by default.
    #[serde(with = "switch")]
    pub cache: Option<CacheConfig>,
    /// Stronger models for when an answer will not do; off by default.
    #[serde(with = "switch")]
    pub cascade: Option<CascadeConfig>,
    /// Something else when a model fails; off by default.
    #[serde(with = "switch")]
    pub fallback: Option<FallbackConfig>,
    /// Tries again what may succeed then; on by default.
    #[serde(with = "switch")]
    pub retry: Option<RetryConfig>,
    /// Stops calling a model that keeps failing; on by default.
    #[serde(with = "switch")]
    pub breaker: Option<BreakerConfig>,
    /// Keeps within calls and tokens a time; off by default.
    #[serde(with = "switch")]
    pub rate_limit: Option<RateLimitConfig>,
    /// Bounds one try; on by default.
    #[serde(with = "switch")]
    pub timeout: Option<TimeoutConfig>,
}

impl Default for LayersConfig {
    fn default() -> Self {
        Self {
            trace: true,
            redact: false,
            cache: None,
            cascade: None,
            fallback: None,
            retry: Some(RetryConfig::default()),
            breaker: Some(breakers()),
            rate_limit: None,
            timeout: Some(TimeoutConfig::default()),
        }
    }
}

/// Stronger models; as data also a list of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CascadeConfig {
    /// Who is asked when an answer will not do, one after another, by their full names.
    ///
    /// A model that is in the list itself has the ones after it, and the last one none.
    pub models: Vec<String>,
    /// The answer when none will do; the last answer as it is by default.
    pub text: Option<String>,
}

/// What may answer instead of a model that fails; as data also a list of names of models.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FallbackConfig {
    /// Who is asked, one after another, by their full names; a model does not fall back to itself.
    pub models: Vec<String>,
    /// How many answers are remembered for when all of them fail; none by default.
    pub remember: usize,
    /// The answer when nothing else is left; the error by default.
    pub text: Option<String>,
}

/// Rates of calls and tokens; as data also a list of rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RateLimitConfig {
    /// All of which must allow a call; 100 calls a minute for each user and 10,000 for everybody by default.
    pub rules: Vec<RateRule>,
    /// The longest wait, after which a call fails; 60 seconds by default.
    #[serde(rename = "longest_wait_seconds", with = "seconds")]
    pub longest_wait: std::time::Duration,
    /// Where it is counted; in this process by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<RateAddress>,
}

impl Default for RateLimitConfig {
    fn default() -> Self {
        let rule = |scope, rate| RateRule { scope, unit: RateUnit::Calls, rate };
        Self {
            rules: vec![rule(RateScope::User, Rate::USUAL), rule(RateScope::Global, Rate::TOTAL)],
            longest_wait: super::rate_limit::LONGEST_WAIT,
            store: None,
        }
    }
}

/// One rate over a scope; as data its `limit`, `per_seconds`, `burst` and `algorithm` stand beside the scope.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RuleForm", into = "RuleForm")]
#[non_exhaustive]
pub struct RateRule {
    /// Over whom it counts.
    pub scope: RateScope,
    /// What it counts; calls by default.
    pub unit: RateUnit,
    /// How many it allows.
    pub rate: Rate,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleForm {
    scope: RateScope,
    limit: u32,
    #[serde(rename = "per_seconds", with = "seconds")]
    per: std::time::Duration,
    #[serde(default)]
    unit: RateUnit,
    #[serde(default)]
    burst: Option<f64>,
    #[serde(default)]
    algorithm: RateAlgorithm,
}

impl TryFrom<RuleForm> for RateRule {
    type Error = Error;

    fn try_from(form: RuleForm) -> Result<Self> {
        let RuleForm { scope, limit, per, unit, burst, algorithm } = form;
        if matches!(scope, RateScope::Address | RateScope::Key) {
            let message = "expected the scope `global`, `tenant`, `user` or `endpoint`, since a call of a model has no other";
            return Err(Error::new(ErrorKind::InvalidInput, "model.rate", message).with("scope", scope));
        }
        let rate = Rate::new(limit, per)?.with_burst(burst.unwrap_or(Rate::BURST)).with_algorithm(algorithm);
        Ok(Self { scope, unit, rate })
    }
}

impl From<RateRule> for RuleForm {
    fn from(RateRule { scope, unit, rate }: RateRule) -> Self {
        let (limit, per, algorithm) = (rate.limit(), rate.per(), rate.algorithm());
        Self { scope, limit, per, unit, burst: Some(rate.burst()), algorithm }
    }
}

impl LayersConfig {
    /// The layers, for models of a registry.
    ///
    /// Other models that a fallback or a cascade names are opened at their first call, and have the same budget,
    /// retries, breakers, limits and time-outs as the others.
    /// Changes of breakers are told on the bus, where one is given.
    ///
    /// # Errors
    /// `InvalidInput` for a cascade or a fallback without anybody to ask, and what [`RateAddress::open`] says.
    pub fn build(
        &self,
        models: &ModelRegistry,
        bus: Option<&Bus>,
        budget: Option<BudgetLayer>,
    ) -> Result<Layers> {
        let mut layers = Layers::new();
        if let Some(budget) = budget {
            layers = layers.with(budget);
        }
        if let Some(retry) = self.retry {
            layers = layers.with(RetryLayer::from(retry));
        }
        if let Some(config) = self.breaker {
            let breakers = CircuitBreakerLayer::new(config);
            layers = layers.with(match bus {
                Some(bus) => breakers.with_bus(bus.clone()),
                None => breakers,
            });
        }
        if let Some(limit) = &self.rate_limit {
            layers = layers.with(limit.layer()?);
        }
        if let Some(timeout) = self.timeout {
            layers = layers.with(TimeoutLayer::new(timeout));
        }
        let others = models.clone().with_layers(layers.clone());
        if let Some(fallback) = &self.fallback {
            layers = layers.with(fallback.layer(&others)?);
        }
        if let Some(cascade) = &self.cascade {
            layers = layers.with(cascade.layer(&others)?);
        }
        if let Some(cache) = self.cache {
            layers = layers.with(CacheLayer::new(AnswerCache::new(cache)));
        }
        if self.redact {
            layers = layers.with(RedactLayer::default());
        }
        Ok(if self.trace { layers.with(TraceLayer) } else { layers })
    }
}

impl RateLimitConfig {
    fn layer(&self) -> Result<RateLimitLayer> {
        let add = |rules: RateRules, rule: &RateRule| match rule.unit {
            RateUnit::Calls => rules.with(rule.scope, rule.rate),
            RateUnit::Tokens => rules.with_tokens(rule.scope, rule.rate),
        };
        let rules = self.rules.iter().fold(RateRules::new(), add);
        let layer = RateLimitLayer::new(rules).with_longest_wait(self.longest_wait);
        Ok(match &self.store {
            Some(address) => layer.with_store(address.open()?),
            None => layer,
        })
    }
}

impl FallbackConfig {
    fn layer(&self, models: &ModelRegistry) -> Result<FallbackLayer> {
        if self.models.is_empty() && self.remember == 0 && self.text.is_none() {
            return Err(nobody("layers.fallback", "`models`, `remember` or `text`"));
        }
        let mut layer =
            self.models.iter().fold(FallbackLayer::new(), |layer, name| layer.or(Named::model(models, name)));
        if self.remember > 0 {
            layer = layer.remembering(self.remember);
        }
        Ok(match self.text.clone() {
            Some(text) => layer.degrading(move |_, _| text.clone()),
            None => layer,
        })
    }
}

impl CascadeConfig {
    fn layer(&self, models: &ModelRegistry) -> Result<Stages> {
        if self.models.is_empty() {
            return Err(nobody("layers.cascade", "`models`"));
        }
        let models = self.models.iter().map(|name| Named::model(models, name)).collect();
        Ok(Stages { models, text: self.text.clone() })
    }
}

fn nobody(field: &'static str, expected: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, "engine.config", "nobody is named who could answer")
        .with("field", field)
        .with("expected", expected)
}

/// A cascade whose stages have only the ones after them.
struct Stages {
    models: Vec<Model>,
    text: Option<String>,
}

impl Layer for Stages {
    fn place(&self) -> Place {
        Place::Cascade
    }

    fn wrap(&self, inner: Model) -> Model {
        let own = self.models.iter().position(|model| model.info().name == inner.info().name);
        let mut stronger = self.models.iter().skip(own.map_or(0, |own| own + 1)).cloned();
        let Some(first) = stronger.next() else { return inner };
        let layer = stronger.fold(CascadeLayer::new(first), CascadeLayer::or);
        match self.text.clone() {
            Some(text) => layer.degrading(move |_| text.clone()).wrap(inner),
            None => layer.wrap(inner),
        }
    }
}

impl fmt::Debug for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.models.iter().map(|model| &model.info().name).collect();
        f.debug_struct("Stages").field("models", &names).finish_non_exhaustive()
    }
}
