//! Cases that every storage backend must pass.

mod key_value;
mod lease;
mod list;
mod log;
mod subject;
mod tenants;

pub use list::storage_cases;
pub use subject::StorageSubject;
