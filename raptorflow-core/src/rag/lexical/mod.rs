//! Search by words: text to terms, and an index that ranks by BM25.

mod analyze;
mod backends;
mod index;
mod language;
mod words;

pub use analyze::{Analyzer, StandardAnalyzer};
pub use backends::{InvertedConfig, InvertedIndex};
pub use index::{LexicalCapability, LexicalIndex, LexicalQuery};
pub use language::Language;
