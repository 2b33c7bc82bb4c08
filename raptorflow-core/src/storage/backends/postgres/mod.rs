//! `PostgresStore`: the three traits over one schema of a PostgreSQL database.
//!
//! `store` answers the traits.
//! Writes travel through the bounded queue of `writer`, which commits many of them in one round trip; `batch` turns
//! them into the arguments of the function in `schema.sql` that does them, and its outcome into answers.
//! `listener` hears of appends of other processes.
//! Reads run on the connections of `readers`, with the statements of `read`.
//! `connect` makes connections and waits for a server that restarts, `format` makes and checks the tables,
//! `checksum` seals rows, and `fault` maps errors of PostgreSQL.

mod batch;
mod checksum;
mod config;
mod connect;
mod fault;
mod format;
mod listener;
mod read;
mod readers;
mod store;
mod writer;

pub use config::PostgresConfig;
pub use store::PostgresStore;
