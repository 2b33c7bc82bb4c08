//! The stores that come with the crate; each is one implementation of the three traits.

mod memory;

pub use memory::MemoryStore;
