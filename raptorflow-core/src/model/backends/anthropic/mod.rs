//! Anthropic's messages API.

mod client;
mod config;
mod convert;
mod dialect;
mod factory;
mod strict;
mod thinking;
mod wire;

pub use client::AnthropicModel;
pub use config::AnthropicConfig;
pub(crate) use factory::AnthropicFactory;
