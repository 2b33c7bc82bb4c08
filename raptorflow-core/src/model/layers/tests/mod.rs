//! Tests of layers that are longer than what they test.

mod breaker;
mod circuit_breaker;
pub(crate) mod support;
