//! Where secrets can be kept.

mod env;

pub use env::EnvSecrets;
