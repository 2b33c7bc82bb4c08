//! Lexical indexes of this build.

mod inverted;
mod postings;
mod score;

pub use inverted::{InvertedConfig, InvertedIndex};
