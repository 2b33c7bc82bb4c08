//! Vector indexes of this build.

mod flat;

pub use flat::FlatIndex;
