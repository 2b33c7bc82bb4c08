//! `RateAddress`: where rates are counted, as data.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::rate_store::{MemoryRates, RateStore};
use crate::error::{Error, ErrorKind, Result};

/// The address of a [`RateStore`]: `memory:`, or `redis://…` with the feature `redis`.
///
/// It is never shown, because it may hold a password; as data it is the text itself.
///
/// ```
/// use raptorflow_core::{ErrorKind, model::RateAddress};
/// let address = RateAddress::new("redis://:secret@limits.internal/0?prefix=shop");
/// assert_eq!(format!("{address:?}"), r#"RateAddress("redis:…")"#);
/// assert_eq!(RateAddress::new("tape:").open().unwrap_err().kind(), ErrorKind::InvalidInput);
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RateAddress(String);

impl RateAddress {
    /// An address; [`RateAddress::open`] checks it.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self(address.into())
    }

    /// The store there; nothing is connected before the first check.
    ///
    /// # Errors
    /// `InvalidInput` for an address that has not its form, and `Unsupported` for one that this build cannot open.
    pub fn open(&self) -> Result<Arc<dyn RateStore>> {
        match self.0.split_once(':') {
            Some(("memory", "")) => Ok(Arc::new(MemoryRates::default())),
            #[cfg(feature = "redis")]
            Some(("redis" | "rediss", _)) => Ok(Arc::new(super::redis_rates::RedisRates::new(&self.0)?)),
            #[cfg(not(feature = "redis"))]
            Some(("redis" | "rediss", _)) => {
                let message = "this build counts rates in memory only";
                Err(Error::new(ErrorKind::Unsupported, "model.rate_store", message).with("feature", "redis"))
            }
            _ => {
                Err(Error::new(ErrorKind::InvalidInput, "model.rate_store", "nobody counts at this address")
                    .with("field", "layers.rate_limit.store")
                    .with("scheme", self.scheme())
                    .with("expected", "memory: or redis://host:6379/0"))
            }
        }
    }

    fn scheme(&self) -> &str {
        self.0.split_once(':').map_or("", |(scheme, _)| scheme)
    }
}

impl fmt::Debug for RateAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RateAddress").field(&format!("{}:…", self.scheme())).finish()
    }
}
