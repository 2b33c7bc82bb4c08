//! `StorageRegistry`: from the scheme of an address to the backend that opens it.

use std::{collections::BTreeMap, fmt, future::Future, pin::Pin, sync::Arc};

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::Runtime,
    storage::Storage,
};

type Opening = Pin<Box<dyn Future<Output = Result<Storage>> + Send>>;
type Factory = Arc<dyn Fn(Runtime, String) -> Opening + Send + Sync>;

/// Schemes and what opens them; the default knows `memory` and, each with its feature, `sqlite` and `postgres`, which
/// is also called `postgresql`.
///
/// # Examples
/// A host adds a scheme of its own:
/// ```
/// use raptorflow_core::{runtime::Runtime, storage::{Storage, StorageRegistry}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let mut registry = StorageRegistry::default();
/// registry.register("scratch", |_runtime, _rest| async { Ok(Storage::memory()) })?;
/// registry.open(&Runtime::current()?, "scratch:").await?;
/// let err = registry.open(&Runtime::current()?, "tape:").await.unwrap_err();
/// assert!(err.get("registered").is_some_and(|schemes| schemes.contains("memory") && schemes.contains("scratch")));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct StorageRegistry(BTreeMap<String, Factory>);

impl Default for StorageRegistry {
    /// The backends that this build has.
    fn default() -> Self {
        let mut known = Self::empty();
        known.insert("memory", |_, rest| async move { open_memory(&rest) });
        #[cfg(feature = "storage-postgres")]
        for scheme in ["postgres", "postgresql"] {
            known.insert(scheme, |runtime, rest| async move {
                let config = crate::storage::PostgresConfig::from_address(&format!("postgres:{rest}"));
                let store = crate::storage::PostgresStore::open(&runtime, config).await?;
                Ok(Storage::from_store(Arc::new(store)))
            });
        }
        #[cfg(feature = "storage-sqlite")]
        known.insert("sqlite", |runtime, rest| async move {
            let config = crate::storage::SqliteConfig::from_address(&rest)?;
            Ok(Storage::from_store(Arc::new(crate::storage::SqliteStore::open(&runtime, config).await?)))
        });
        known
    }
}

impl StorageRegistry {
    /// A registry that knows no scheme.
    #[must_use]
    pub fn empty() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a scheme; the factory gets what follows the colon in the address.
    ///
    /// # Errors
    /// `InvalidInput` when the scheme is not 2 or more of `a-z`, `0-9`, `+` and `-`; `AlreadyExists` when it is taken.
    pub fn register<F, O>(&mut self, scheme: &str, factory: F) -> Result<()>
    where
        F: Fn(Runtime, String) -> O + Send + Sync + 'static,
        O: Future<Output = Result<Storage>> + Send + 'static,
    {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '+' || c == '-';
        if scheme.len() < 2 || !scheme.chars().all(plain) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "storage.register",
                "expected a scheme of 2 or more of a-z, 0-9, + and -",
            )
            .with("scheme", scheme));
        }
        if self.0.contains_key(scheme) {
            return Err(Error::new(ErrorKind::AlreadyExists, "storage.register", "the scheme is taken")
                .with("scheme", scheme));
        }
        self.insert(scheme, factory);
        Ok(())
    }

    /// The schemes, in order.
    pub fn schemes(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Opens the store at an address of the form `scheme:rest`.
    ///
    /// # Errors
    /// `InvalidInput` that lists the registered schemes when the address has none of them; else what the backend
    /// says.
    pub async fn open(&self, runtime: &Runtime, uri: &str) -> Result<Storage> {
        let (scheme, rest) = uri.split_once(':').unwrap_or(("", uri));
        let Some(factory) = self.0.get(scheme) else {
            let registered: Vec<&str> = self.schemes().collect();
            // Only the scheme is shown: the rest of an address may hold a password.
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "storage.open",
                "expected an address that begins with a registered scheme and a colon",
            )
            .with("scheme", scheme)
            .with("registered", registered.join(", ")));
        };
        factory(runtime.clone(), rest.to_owned()).await
    }

    fn insert<F, O>(&mut self, scheme: &str, factory: F)
    where
        F: Fn(Runtime, String) -> O + Send + Sync + 'static,
        O: Future<Output = Result<Storage>> + Send + 'static,
    {
        let factory: Factory = Arc::new(move |runtime, rest| Box::pin(factory(runtime, rest)));
        self.0.insert(scheme.to_owned(), factory);
    }
}

impl fmt::Debug for StorageRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StorageRegistry").field(&self.0.keys()).finish()
    }
}

fn open_memory(rest: &str) -> Result<Storage> {
    if rest.is_empty() {
        return Ok(Storage::memory());
    }
    Err(Error::new(ErrorKind::InvalidInput, "storage.open", "expected nothing after memory:")
        .with("address", rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refused(uri: &str) -> Error {
        StorageRegistry::default().open(&Runtime::current().unwrap(), uri).await.unwrap_err()
    }

    #[tokio::test]
    async fn an_address_without_a_registered_scheme_is_refused_with_the_list_and_without_its_rest() {
        for uri in ["team.db", "oracle://user:secret@host/db", ""] {
            let err = refused(uri).await;
            assert_eq!(err.kind(), ErrorKind::InvalidInput);
            assert!(err.get("registered").unwrap().starts_with("memory"), "{err}");
            assert!(!err.to_string().contains("secret"), "{err}");
        }
    }

    #[tokio::test]
    async fn a_rest_that_a_backend_cannot_use_is_refused() {
        assert_eq!(refused("memory:team.db").await.get("address"), Some("team.db"));
        #[cfg(feature = "storage-sqlite")]
        assert_eq!(refused("sqlite:").await.get("field"), Some("path"));
    }

    #[test]
    fn a_scheme_is_registered_once_and_has_a_plain_name() {
        let mut registry = StorageRegistry::default();
        let mut register = |scheme| registry.register(scheme, |_, _| async { Ok(Storage::memory()) });
        register("tape").unwrap();
        assert_eq!(register("tape").unwrap_err().kind(), ErrorKind::AlreadyExists);
        for bad in ["", "C", "Tape", "a:b"] {
            assert_eq!(register(bad).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }
}
