//! Rerankers: passages and a question to an order, behind one object-safe trait.
//!
//! `reranker` is the trait, `config` says which host and model, `remote` sends over HTTP, `function` asks a function, `registry` opens by name.
//! Which passages are read, and what happens when the order cannot be had, is up to [`crate::rag::Rerank`].

#[cfg(feature = "http")]
mod config;
mod function;
mod registry;
#[cfg(feature = "http")]
mod remote;
mod reranker;

#[cfg(feature = "http")]
pub use config::{RerankConfig, RerankWire};
pub use function::FnReranker;
pub use registry::{RerankerFactory, RerankerRegistry};
#[cfg(feature = "http")]
pub use remote::HttpReranker;
pub use reranker::{RerankAnswer, Reranked, Reranker};
