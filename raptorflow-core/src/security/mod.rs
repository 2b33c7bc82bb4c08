//! Secrets that never print, and where they are kept.
//!
//! Row 4 of the house.
//! A [`Secret`] wipes its memory and shows nothing of itself; a [`SecretStore`] finds one by name.
//! Nothing here caches, rotates or writes secrets.
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
mod secret;

pub use backends::EnvSecrets;
pub use secret::{Secret, SecretStore};
