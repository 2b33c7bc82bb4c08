//! Secrets that never print and where they are kept, and personal data and what stands for it.
//!
//! Row 4 of the house.
//! A [`Secret`] wipes its memory and shows nothing of itself; a [`SecretStore`] finds one by name.
//! A [`Redactor`] finds personal data in text, and [`Placeholders`] stand for it and are put back.
//! [`CachedSecrets`] remembers those of a slower store, and keeps the one before valid for a time; nothing here writes
//! secrets.
//!
//! ```
//! use raptorflow_core::security::{EnvSecrets, SecretStore as _};
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let store = EnvSecrets::from_lookup(|name| (name == "API_KEY").then(|| "hidden".to_owned()));
//! let key = store.get("API_KEY").await?.expect("is set");
//! assert_eq!(key.expose(), "hidden");
//! assert_eq!(format!("{key:?} {key}"), "Secret(***) ***");
//! # Ok::<(), raptorflow_core::Error>(()) }).unwrap();
//! ```

mod backends;
mod cached;
mod patterns;
mod redactor;
mod secret;

pub use backends::EnvSecrets;
pub use cached::CachedSecrets;
pub use patterns::PatternRedactor;
pub use redactor::{Finding, Placeholders, Redactor};
pub use secret::{Secret, SecretStore};
