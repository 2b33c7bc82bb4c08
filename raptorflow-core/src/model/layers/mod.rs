//! What may stand between a caller and a model, each layer in a file of its own and usable alone.
//!
//! The order is that of [`Place`](crate::model::Place), whatever the order in which layers are given.

mod begun;
mod breaker;
mod circuit_breaker;
mod retry;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tests;
mod timeout;

pub use breaker::{Breaker, BreakerConfig, BreakerCounts, BreakerState, Permit, Verdict};
pub use circuit_breaker::{BreakerStatus, CircuitBreakerLayer, counts_as_failure};
pub use retry::RetryLayer;
pub use timeout::{TimeoutConfig, TimeoutLayer};
