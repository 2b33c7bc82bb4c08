//! Search by vectors: the contract of an index, an exact one and an approximate one.
//!
//! `index` is the contract, `backends` are the indexes, `kernel` is their arithmetic in SIMD, `top` keeps the best.
//! An index stands on its own: it takes keys and vectors, and knows nothing of documents or storage.

mod backends;
mod index;
mod kernel;
mod top;

pub use backends::{FlatIndex, HnswBuilder, HnswConfig, HnswIndex};
pub use index::{Capability, KeyFilter, Metric, Scored, VectorIndex, VectorQuery};
pub(crate) use index::{check_dimension, check_vector};
pub(crate) use top::TopK;
