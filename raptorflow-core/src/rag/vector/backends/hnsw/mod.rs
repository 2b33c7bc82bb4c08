//! `HnswIndex`: approximate search over a hierarchical navigable small world graph, in safe Rust.
//!
//! `graph` holds vectors and links in contiguous memory, `walk` follows links toward a query, `build` adds, removes
//! and repairs, `index` is the contract around them.

mod build;
mod graph;
mod index;
mod walk;

pub use index::{HnswConfig, HnswIndex};
