//! `SqliteStore`: the three traits over one SQLite file.
//!
//! `store` answers the traits.
//! Writes travel through a bounded queue to the one thread of `writer`, which commits many of them together.
//! `session` has its connection, its transactions and what is done between them, and `known` what it remembers.
//! `write`, `append`, `lease` and `erase` hold what each call does inside the transaction.
//! Reads run on the connections of `readers`, with the statements of `read`.
//! `copier` copies the write-ahead log to the database while others write.
//! `open` makes connections and checks the format, and `migrate` brings older files to it.
//! `checksum` covers one row, `seal` all of them, and `verify` compares both when a file is opened.
//! `fault` maps errors of SQLite.

mod append;
mod checksum;
mod config;
mod copier;
mod erase;
mod fault;
mod known;
mod lease;
mod migrate;
mod open;
mod read;
mod readers;
mod seal;
mod session;
mod store;
#[cfg(test)]
mod tests;
mod verify;
mod write;
mod writer;

pub use config::{Durability, SqliteConfig};
pub use store::SqliteStore;
