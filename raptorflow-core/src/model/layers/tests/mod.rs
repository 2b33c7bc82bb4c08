//! Tests of layers that are longer than what they test.

mod breaker;
mod circuit_breaker;
mod rate;
mod rate_limit;
pub(crate) mod support;
