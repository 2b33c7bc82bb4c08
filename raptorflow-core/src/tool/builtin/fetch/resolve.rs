//! `HostResolver`: names of hosts to addresses, behind a guard that every connection passes.

use std::{
    error::Error as StdError,
    fmt::{self, Debug},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    tool::builtin::fetch::AddressRules,
};

/// Finds the addresses of a host.
///
/// # Contract
/// - a host without an address is an error, not an empty list.
///
/// # Examples
/// ```
/// use std::net::{IpAddr, Ipv4Addr};
/// use async_trait::async_trait;
/// use raptorflow_core::{Result, tool::HostResolver};
///
/// #[derive(Debug)]
/// struct OneHost;
///
/// #[async_trait]
/// impl HostResolver for OneHost {
///     async fn resolve(&self, _host: &str) -> Result<Vec<IpAddr>> {
///         Ok(vec![IpAddr::V4(Ipv4Addr::new(93, 184, 216, 34))])
///     }
/// }
/// ```
#[async_trait]
pub trait HostResolver: Debug + Send + Sync + 'static {
    /// All addresses of a host.
    ///
    /// # Errors
    /// `NotFound` for a host without one; `Unavailable` when nobody can be asked.
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>>;
}

/// The resolver of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl HostResolver for SystemResolver {
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>> {
        let unknown = |message| Error::new(ErrorKind::NotFound, "tool.fetch", message).with("host", host);
        let found = tokio::net::lookup_host((host, 0)).await.map_err(|err| {
            unknown("the name of the host is not known").retryable(Retry::Soon).caused_by(err)
        })?;
        let found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
        if found.is_empty() { Err(unknown("the host has no address")) } else { Ok(found) }
    }
}

/// What the HTTP client resolves names with: it gives an address only after the rules allowed it, and the client
/// connects to what it was given, so that no second answer can come between check and connection.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    pub(super) resolver: Arc<dyn HostResolver>,
    pub(super) rules: Arc<AddressRules>,
}

impl Guard {
    async fn addresses(&self, host: &str) -> Result<Vec<SocketAddr>> {
        let found = self.resolver.resolve(host).await?;
        // One denied address among good ones is how a rebinding server answers, so that none of them is used.
        if let Some(denied) = found.iter().find(|address| !self.rules.allows(**address)) {
            return Err(refused(host, *denied));
        }
        Ok(found.into_iter().map(|address| SocketAddr::new(address, 0)).collect())
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            match guard.addresses(name.as_str()).await {
                Ok(found) => Ok(Box::new(found.into_iter()) as Addrs),
                Err(err) => Err(Box::new(Unresolved(err)) as Box<dyn StdError + Send + Sync>),
            }
        })
    }
}

/// The refusal of an address.
pub(super) fn refused(host: &str, address: IpAddr) -> Error {
    Error::new(ErrorKind::PermissionDenied, "tool.fetch", "the host is not on the public internet")
        .with("host", host)
        .with("address", address)
}

/// Carries an error of ours through the HTTP client.
#[derive(Debug)]
pub(super) struct Unresolved(pub(super) Error);

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl StdError for Unresolved {}
