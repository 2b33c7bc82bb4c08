//! `SqliteStore`: the three traits over one SQLite file.
//!
//! `store` answers the traits.
//! Writes travel through a bounded queue to the one thread of `writer`, which commits many of them together;
//! `write` holds what each does inside that transaction.
//! Reads run on the connections of `readers`, with the statements of `read`.
//! `erase` forgets a tenant and its bytes.
//! `open` makes connections and checks the format, `checksum` seals rows, and `fault` maps errors of SQLite.

mod checksum;
mod config;
mod erase;
mod fault;
mod open;
mod read;
mod readers;
mod store;
#[cfg(test)]
mod tests;
mod write;
mod writer;

pub use config::{Durability, SqliteConfig};
pub use store::SqliteStore;
