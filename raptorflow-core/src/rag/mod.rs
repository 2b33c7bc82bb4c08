//! Retrieval: documents in, cited passages out, by vectors and by words.
//!
//! Row 7 of the house.
//! [`KnowledgeBase`] is the handle: it chunks, embeds, indexes, searches and assembles cited context.

mod assemble;
mod chunk;
mod document;
mod embed;
mod fusion;
mod ingest;
mod knowledge;
pub mod lexical;
mod load;
mod retrieve;
pub mod vector;

pub use assemble::{Citation, CitedContext};
pub use chunk::{Chunker, MarkdownChunker};
pub use document::{Chunk, Document};
pub use embed::{Embedder, HashingEmbedder};
pub use fusion::reciprocal_rank_fusion;
pub use ingest::{IngestReport, Progress};
pub use knowledge::KnowledgeBase;
pub use load::{LoadLimits, load_folder};
pub use retrieve::{Hit, Mode, Retriever, Search};
