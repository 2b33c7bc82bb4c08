//! Embedding models: texts to vectors at a provider, behind one object-safe trait.
//!
//! `embedding` is the trait, `config` says which host and model, `known` what is known of models, `remote` sends over
//! HTTP in one of the wires of `backends`.
//! Batching, retries and the cache are not here: [`crate::rag::ModelEmbedder`] does them for every model.

#[cfg(feature = "http")]
mod backends;
#[cfg(feature = "http")]
mod config;
mod embedding;
#[cfg(feature = "http")]
mod known;
#[cfg(feature = "http")]
mod remote;

#[cfg(feature = "http")]
pub use config::{EmbeddingConfig, EmbeddingWire};
pub use embedding::{EmbeddingAnswer, EmbeddingInfo, EmbeddingModel, EmbeddingPurpose};
#[cfg(feature = "http")]
pub use remote::HttpEmbeddingModel;
