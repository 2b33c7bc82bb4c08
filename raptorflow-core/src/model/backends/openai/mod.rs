//! The chat completions wire of OpenAI and of every host that is compatible with it.

mod client;
mod config;
mod convert;
mod dialect;
mod factory;
mod strict;
mod wire;

pub use client::OpenAiModel;
pub use config::{LimitField, OpenAiConfig, Structured};
pub(crate) use factory::OpenAiFactory;
