//! Retrieval: documents in, cited passages out, by vectors, by words and over a graph of names.
//!
//! Row 7 of the house.
//! [`KnowledgeBase`] is the handle: it chunks, embeds, indexes, searches and assembles cited context.

mod assemble;
mod builder;
mod catalog;
mod chunk;
mod decompose;
mod diverse;
mod document;
mod embed;
mod embedder_registry;
mod figures;
mod filter;
mod fusion;
pub mod graph;
mod ground;
mod indexes;
mod ingest;
mod knowledge;
pub mod lexical;
mod load;
#[cfg(feature = "embedder-minilm")]
mod minilm;
mod model_embedder;
mod record;
mod records;
mod rerank;
mod retrieve;
mod search;
pub mod vector;

pub use assemble::{Citation, CitedContext, estimate_tokens};
pub use builder::KnowledgeBaseBuilder;
pub use chunk::{Chunker, MarkdownChunker, Span, chunks};
pub use decompose::QueryDecomposer;
pub(crate) use document::canonical;
pub use document::{Chunk, Document, Place};
pub(crate) use embed::embed_checked;
pub use embed::{Corpus, Embedder, FnEmbedder, HashingEmbedder};
pub use embedder_registry::{EmbedderFactory, EmbedderRegistry, EmbedderSettings};
pub(crate) use figures::{numbers, plain_url, urls};
pub use filter::Filter;
pub use fusion::{Fusion, convex_combination, reciprocal_rank_fusion};
pub use ground::{Claim, Grounder, Grounding};
pub use ingest::{Ingest, IngestReport, Progress};
pub use knowledge::KnowledgeBase;
pub use load::{LoadLimits, Loaded, load_folder};
#[cfg(feature = "embedder-minilm")]
pub use minilm::{MiniLmConfig, MiniLmEmbedder, Precision};
pub use model_embedder::ModelEmbedder;
pub use records::{RecordConfig, RecordFormat, Records, read_records};
pub use rerank::{Rerank, RerankFailure, RerankSettings};
pub use retrieve::{Hit, Mode, Retriever, ScoreParts, Search};
