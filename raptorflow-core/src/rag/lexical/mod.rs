//! Search by words: text to terms, and an index that ranks by BM25.

mod analyze;
mod backends;
mod index;

pub use analyze::{Analyzer, Language, StandardAnalyzer};
pub use backends::{InvertedConfig, InvertedIndex};
pub use index::{LexicalCapability, LexicalIndex, LexicalQuery};
