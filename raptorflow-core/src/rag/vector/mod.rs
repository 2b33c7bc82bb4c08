//! Search by vectors: the contract of an index, an exact one and an approximate one.

mod backends;
mod index;
mod kernel;
mod top;

pub use backends::{FlatIndex, HnswConfig, HnswIndex};
pub use index::{Capability, KeyFilter, Metric, Scored, VectorIndex, VectorQuery};
pub(crate) use index::{check_dimension, check_vector};
pub(crate) use top::TopK;
