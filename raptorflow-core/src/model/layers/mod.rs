//! What may stand between a caller and a model, each layer in a file of its own and usable alone.
//!
//! The order is that of [`Place`](crate::model::Place), whatever the order in which layers are given.

mod begun;
mod breaker;
mod budget;
mod cache;
mod cache_index;
mod cache_store;
mod cascade;
mod circuit_breaker;
mod config;
mod fallback;
mod named;
mod rate;
mod rate_address;
mod rate_limit;
mod rate_limiter;
mod rate_rules;
mod rate_store;
mod redact;
#[cfg(feature = "redis")]
mod redis_rates;
mod remembered;
mod retry;
mod standard;
mod switch;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
mod timeout;
mod tokens;
mod trace;

pub use breaker::{Breaker, BreakerConfig, BreakerCounts, BreakerState, Permit, Verdict};
pub use budget::BudgetLayer;
pub use cache::CacheLayer;
pub use cache_store::{AnswerCache, CacheConfig, CacheStats};
pub use cascade::CascadeLayer;
pub use circuit_breaker::{BreakerStatus, CircuitBreakerLayer, counts_as_failure};
pub use config::{CascadeConfig, FallbackConfig, LayersConfig, RateLimitConfig, RateRule};
pub use fallback::{FallbackLayer, may_fall_back};
pub(crate) use named::Named;
pub use rate::{Rate, RateAlgorithm};
pub use rate_address::RateAddress;
pub use rate_limit::RateLimitLayer;
pub use rate_limiter::{RateDecision, RateLimiter};
pub use rate_rules::{RateClaim, RateRefusal, RateRules, RateScope, RateStatus, RateSubject, RateUnit};
pub use rate_store::{MemoryRates, RateAnswer, RateCount, RateStore};
pub use redact::RedactLayer;
#[cfg(feature = "redis")]
pub use redis_rates::RedisRates;
pub use retry::{RetryConfig, RetryLayer};
pub use timeout::{TimeoutConfig, TimeoutLayer};
pub use trace::TraceLayer;
