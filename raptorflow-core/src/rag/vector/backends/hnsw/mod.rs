//! `HnswIndex`: approximate search over a hierarchical navigable small world graph of small codes.
//!
//! `graph` holds vectors, codes and links in contiguous memory, `code` makes codes and estimates distances by them,
//! `walk` follows links toward a query, `search` chooses between a walk and a comparison with all and rescores what
//! was found, `build` adds, removes and repairs, `snapshot` writes it to a file and maps it back, `index` is the
//! contract around them.

mod build;
mod builder;
mod code;
mod graph;
mod index;
mod near;
mod search;
mod snapshot;
mod walk;

pub use builder::{HnswBuilder, HnswConfig};
pub use index::HnswIndex;
