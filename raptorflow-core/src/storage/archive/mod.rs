//! Archives: a tenant or a whole store as one file that every backend writes and reads.
//!
//! [`Storage::export`](crate::storage::Storage::export) and [`Storage::import`](crate::storage::Storage::import)
//! move one tenant, [`Storage::snapshot`](crate::storage::Storage::snapshot) and
//! [`Storage::restore`](crate::storage::Storage::restore) all of them.
//!
//! # Format 1
//! UTF-8 text of lines that end with a line feed, each a JSON object of one field but for the first:
//!
//! ```text
//! {"raptorflow":"export","format":1,"time":"2026-03-01T09:00:00Z"}
//! {"tenant":"acme"}
//! {"stream":"run/0198a3c2-7b1e-7c11-9f0e-2a6d7f1b2c3d"}
//! {"json":{"t":1772355600000000,"f":"execution_cancelled"}}
//! {"key":"plan/1"}
//! {"json":["draft","review"]}
//! {"key":"plan/2"}
//! {"text":"not yet"}
//! {"key":"plan/3"}
//! {"base64":"AAEC/w=="}
//! {"end":{"tenants":1,"keys":3,"streams":1,"records":1,"sha256":"…"}}
//! ```
//!
//! - The first line has `export` for one tenant or `snapshot` for any number, and the time at which it was begun.
//! - After a tenant come its streams and then its keys; tenants, streams and keys are each in byte order.
//! - After a stream come its records in order, at least one; after a key comes its value.
//! - A record or value is `json` when its bytes are JSON, which then stand there unchanged; else `text` when they are
//!   UTF-8; else `base64`, with padding.
//! - The last line counts what came before; its SHA-256 is over all bytes before that line.
//! - There are no other fields and no spaces around them.
//!
//! Versions of keys and leases are not in it: a version begins anew where the key is read back, and nobody owns a run
//! that was read back.
//!
//! `line` knows the form of a line, `write` and `read` are the two ends of a file, `export` and `import` move data
//! between them and the store.

mod export;
mod import;
mod line;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use line::Archive;
