//! Where bytes live: key-value pairs, append-only logs and leases behind three small traits.
//!
//! Row 3 of the house.
//! [`Storage`] is the handle that everybody holds; `memory:`, `sqlite:path` and `postgres://…` are the backends.
//! Each line of a trait's contract is a conformance case that runs over every backend.

mod archive;
mod backends;
mod check;
mod erase;
mod handle;
mod key_value;
mod lease;
mod log;
mod registry;

pub use archive::Archive;
pub use backends::MemoryStore;
#[cfg(feature = "storage-sqlite")]
pub use backends::{Durability, SqliteConfig, SqliteStore};
#[cfg(feature = "storage-postgres")]
pub use backends::{PostgresConfig, PostgresStore};
pub use check::{check_fence, check_length, check_name, check_version, scan_start};
pub use handle::Storage;
pub use key_value::{Capability, Expect, KeyValue, Scan, Versioned};
pub use lease::{Grant, Lease};
pub use log::{Append, Erased, Fence, Log, Record};
pub use registry::StorageRegistry;
