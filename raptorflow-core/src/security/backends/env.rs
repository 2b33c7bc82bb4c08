//! `EnvSecrets`: secrets from the variables of the process.

use std::{env, fmt, sync::Arc};

use async_trait::async_trait;

use crate::{
    error::{Error, ErrorKind, Result},
    security::{Secret, SecretStore},
};

type Lookup = dyn Fn(&str) -> Result<Option<String>> + Send + Sync;

/// Secrets from environment variables, read at each call; an empty variable counts as unset.
///
/// ```
/// use raptorflow_core::security::{EnvSecrets, SecretStore};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let secrets = EnvSecrets::from_lookup(|name| (name == "API_KEY").then(|| "sk-123".to_owned()));
/// assert_eq!(secrets.get("API_KEY").await?.map(|key| key.expose().to_owned()).as_deref(), Some("sk-123"));
/// assert!(secrets.get("OTHER").await?.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct EnvSecrets(Arc<Lookup>);

impl EnvSecrets {
    /// Reads the environment of the process.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(|name| match env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(env::VarError::NotPresent) => Ok(None),
            Err(env::VarError::NotUnicode(_)) => {
                Err(Error::new(ErrorKind::InvalidInput, "secret.get", "the variable is not valid UTF-8")
                    .with("variable", name))
            }
        }))
    }

    /// Reads from a function instead; for hosts with variables of their own, and for tests.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |name| Ok(lookup(name))))
    }
}

impl Default for EnvSecrets {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for EnvSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnvSecrets")
    }
}

#[async_trait]
impl SecretStore for EnvSecrets {
    async fn get(&self, name: &str) -> Result<Option<Secret>> {
        // A name with `=` or NUL cannot be a variable, and the system call would answer "not present".
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "secret.get",
                "not the name of a variable; expected no `=` and no NUL",
            ));
        }
        Ok((self.0)(name)?.filter(|value| !value.is_empty()).map(Secret::new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(value: Option<&'static str>) -> Option<String> {
        let store = EnvSecrets::from_lookup(move |_| value.map(str::to_owned));
        store.get("KEY").await.unwrap().map(|secret| secret.expose().to_owned())
    }

    #[tokio::test]
    async fn an_empty_variable_counts_as_unset() {
        assert_eq!(get(None).await, None);
        assert_eq!(get(Some("")).await, None);
        assert_eq!(get(Some("k")).await.as_deref(), Some("k"));
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_a_variable_is_refused() {
        for name in ["", "A=B", "A\0"] {
            assert_eq!(EnvSecrets::new().get(name).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(EnvSecrets::new().get("RAPTORFLOW_NOT_SET_ANYWHERE").await.unwrap(), None);
    }
}
