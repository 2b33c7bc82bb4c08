//! OpenAI's two wires, chat completions and responses, at OpenAI and at the hosts that speak them.
//!
//! `client` chooses the wire; each has a folder with what is sent, how it is made and how answers are read.

mod chat;
mod client;
mod config;
mod factory;
mod failure;
mod media;
mod responses;
mod strict;
mod words;

pub use client::OpenAiModel;
pub use config::{LimitField, OpenAiApi, OpenAiConfig, Structured};
pub(crate) use factory::OpenAiFactory;
