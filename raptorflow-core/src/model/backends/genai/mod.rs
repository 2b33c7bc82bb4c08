//! Gemini, Vertex AI, Bedrock, Cohere and Groq through the crate `genai`, none of whose types is public here.

mod client;
mod config;
mod convert;
mod factory;
mod failure;
mod parts;

pub use client::GenaiModel;
pub use config::{GenaiConfig, GenaiProvider};
pub(crate) use factory::GenaiFactory;
