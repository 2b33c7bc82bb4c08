//! Vector indexes of this build.

mod flat;
mod hnsw;

pub use flat::FlatIndex;
pub use hnsw::{HnswBuilder, HnswConfig, HnswIndex};
