//! `Secret`, a text that never prints, and `SecretStore`, which finds one by name.

use std::{
    fmt::{self, Debug},
    sync::Arc,
};

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::Result;

/// A text that never prints and whose memory is wiped when the last clone is dropped.
///
/// `Debug` and `Display` show `***`, not even the length; it is neither serialized nor deserialized.
///
/// ```
/// use raptorflow_core::security::Secret;
/// let key = Secret::new("sk-123");
/// assert_eq!((format!("{key:?}"), key.expose()), ("Secret(***)".to_owned(), "sk-123"));
/// ```
#[derive(Clone)]
pub struct Secret(Arc<SecretString>);

impl Secret {
    /// Takes ownership of the text.
    ///
    /// Copies that the caller made before are the caller's to wipe.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Arc::new(SecretString::from(value.into())))
    }

    /// The text, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl PartialEq for Secret {
    /// Takes the same time wherever the texts differ; only the length shows.
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.expose().as_bytes(), other.expose().as_bytes());
        a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (x, y)| diff | (x ^ y)) == 0
    }
}

impl Eq for Secret {}

/// A place that keeps secrets.
///
/// # Contract
/// - a secret that is not there is `None`, not an error.
/// - an error names the secret, never its text.
///
/// # Examples
/// ```
/// use async_trait::async_trait;
/// use raptorflow_core::{Result, security::{Secret, SecretStore}};
///
/// /// One key for everything.
/// #[derive(Debug)]
/// struct OneKey(Secret);
///
/// #[async_trait]
/// impl SecretStore for OneKey {
///     async fn get(&self, _name: &str) -> Result<Option<Secret>> {
///         Ok(Some(self.0.clone()))
///     }
/// }
/// ```
#[async_trait]
pub trait SecretStore: Debug + Send + Sync + 'static {
    /// The secret of this name.
    ///
    /// # Errors
    /// `InvalidInput` for a name that the store cannot have, and what the place behind it says.
    async fn get(&self, name: &str) -> Result<Option<Secret>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nothing_of_itself() {
        let secret = Secret::new("sk-very-long-key");
        assert_eq!(format!("{secret} {secret:?} {secret:#?}"), "*** Secret(***) Secret(***)");
        assert_eq!(secret, Secret::new("sk-very-long-key"));
        assert_ne!(secret, Secret::new("sk-very-long-kez"));
    }
}
