//! Lexical indexes of this build.

mod inverted;

pub use inverted::{InvertedConfig, InvertedIndex};
