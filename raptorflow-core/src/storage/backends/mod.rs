//! The stores that come with the crate; each is one implementation of the three traits.

mod memory;
#[cfg(feature = "storage-postgres")]
mod postgres;
#[cfg(feature = "storage-sqlite")]
mod sqlite;

pub use memory::MemoryStore;
#[cfg(feature = "storage-postgres")]
pub use postgres::{PostgresConfig, PostgresStore};
#[cfg(feature = "storage-sqlite")]
pub use sqlite::{Durability, SqliteConfig, SqliteStore};
