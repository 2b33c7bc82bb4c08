//! `Browser`: gets a page over connections that the guard allowed, one redirect after another.

use std::{
    error::Error as StdError,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::StreamExt as _;
use reqwest::{
    Client, Response, Url,
    header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, LOCATION},
    redirect,
};

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    model::tls_config,
    tool::builtin::fetch::{
        AddressRules, FetchConfig, HostResolver,
        resolve::{Guard, Unresolved, refused},
    },
};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// The longest address of a page, in bytes.
const MAX_ADDRESS: usize = 4096;
const OPERATION: &str = "tool.fetch";

/// What a host answered.
#[derive(Debug)]
pub(super) struct Page {
    /// Where it was in the end.
    pub(super) address: Url,
    /// The type without its parameters, in lower case.
    pub(super) content_type: String,
    /// The bytes, or the first of them.
    pub(super) body: Vec<u8>,
    /// Whether there was more.
    pub(super) cut: bool,
}

/// Gets pages; cloning shares the clients.
///
/// No connection outlives its request: each one is resolved and checked anew.
#[derive(Clone)]
pub(super) struct Browser(Arc<Inner>);

struct Inner {
    config: FetchConfig,
    guard: Guard,
    /// Without TLS and with it: the certificates of the machine are read where they are needed.
    clients: [OnceLock<std::result::Result<Client, Error>>; 2],
}

impl Browser {
    pub(super) fn new(config: FetchConfig, resolver: Arc<dyn HostResolver>, rules: AddressRules) -> Self {
        let guard = Guard { resolver, rules: Arc::new(rules) };
        Self(Arc::new(Inner { config, guard, clients: Default::default() }))
    }

    /// The page of an address, at the end of its redirects.
    pub(super) async fn get(&self, address: &str) -> Result<Page> {
        let mut address = parsed(address)?;
        for _ in 0..=self.0.config.max_redirects {
            self.check(&address)?;
            let response = self.send(&address).await?;
            match target(&address, &response)? {
                Some(next) => address = next,
                None => return self.read(address, response).await,
            }
        }
        let message = "the host redirects too often";
        Err(Error::new(ErrorKind::LimitExceeded, OPERATION, message)
            .with("redirects", self.0.config.max_redirects)
            .with("host", host(&address)))
    }

    /// Whether an address may be asked at all; where its name leads is checked when it is resolved.
    fn check(&self, address: &Url) -> Result<()> {
        let denied = |message| {
            Err(Error::new(ErrorKind::PermissionDenied, OPERATION, message).with("host", host(address)))
        };
        if !matches!(address.scheme(), "http" | "https") {
            return denied("expected an http or https address");
        }
        if !address.username().is_empty() || address.password().is_some() {
            return denied("the address holds a user or a password");
        }
        let config = &self.0.config;
        if !address.port_or_known_default().is_some_and(|port| config.ports.contains(&port)) {
            return denied("the port is not allowed");
        }
        // Numbers in any of the forms that systems accept have become plain ones when the address was parsed.
        let literal = host(address).trim_start_matches('[').trim_end_matches(']').parse();
        if let Ok(literal) = literal
            && !self.0.guard.rules.allows(literal)
        {
            return Err(refused(host(address), literal));
        }
        if !config.hosts.is_empty() && !config.hosts.iter().any(|allowed| covers(allowed, host(address))) {
            return denied("the host is not one of those that are allowed");
        }
        Ok(())
    }

    async fn send(&self, address: &Url) -> Result<Response> {
        let request = self.client(address)?.get(address.clone());
        let accept =
            "text/html, text/markdown, text/plain, application/json, application/xml;q=0.9, */*;q=0.1";
        let sent = request.header(ACCEPT, accept).send().await;
        sent.map_err(|err| failed(err, host(address)))
    }

    fn client(&self, address: &Url) -> Result<&Client> {
        let [plain, secure] = &self.0.clients;
        let (slot, tls) = if address.scheme() == "https" { (secure, true) } else { (plain, false) };
        slot.get_or_init(|| build(self.0.guard.clone(), tls)).as_ref().map_err(Clone::clone)
    }

    /// Reads a text as far as it may be read; the connection is closed there.
    async fn read(&self, address: Url, response: Response) -> Result<Page> {
        let content_type = checked_head(&address, &response)?;
        let limit = self.0.config.max_bytes;
        let mut body = Vec::new();
        let mut pieces = response.bytes_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|err| failed(err, host(&address)))?;
            let room = limit.saturating_sub(body.len());
            if let Some(start) = piece.get(..room).filter(|start| start.len() < piece.len()) {
                body.extend_from_slice(start);
                return Ok(Page { address, content_type, body, cut: true });
            }
            body.extend_from_slice(&piece);
        }
        Ok(Page { address, content_type, body, cut: false })
    }
}

impl fmt::Debug for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Browser").field("config", &self.0.config).finish_non_exhaustive()
    }
}

fn build(guard: Guard, tls: bool) -> Result<Client> {
    let client = Client::builder()
        .tls_backend_preconfigured(tls_config(tls)?)
        .dns_resolver(Arc::new(guard))
        // A proxy would resolve the name itself, and nobody would have checked where it leads.
        .no_proxy()
        .redirect(redirect::Policy::none())
        .referer(false)
        .pool_max_idle_per_host(0)
        .connect_timeout(CONNECT)
        .user_agent(concat!("raptorflow/", env!("CARGO_PKG_VERSION")));
    client.build().map_err(|err| {
        Error::new(ErrorKind::Unavailable, OPERATION, "cannot set up the HTTP client").caused_by(err)
    })
}

fn parsed(address: &str) -> Result<Url> {
    let bad = |message| Error::new(ErrorKind::InvalidInput, OPERATION, message).with("field", "url");
    if address.len() > MAX_ADDRESS {
        return Err(bad("the address is too long").with("expected", format!("at most {MAX_ADDRESS} bytes")));
    }
    Url::parse(address.trim()).map_err(|err| bad("expected an http or https address").caused_by(err))
}

pub(super) fn host(address: &Url) -> &str {
    address.host_str().unwrap_or_default()
}

/// Whether an entry of the allowed hosts is the host, or with a leading dot a domain above it.
fn covers(allowed: &str, host: &str) -> bool {
    let allowed = allowed.to_ascii_lowercase();
    let host = host.trim_end_matches('.');
    match allowed.strip_prefix('.') {
        Some(domain) => host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
        None => host == allowed,
    }
}

/// Where a redirect leads, if it is one.
fn target(address: &Url, response: &Response) -> Result<Option<Url>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    let next = location.and_then(|location| address.join(location).ok());
    next.map(Some).ok_or_else(|| {
        Error::new(ErrorKind::InvalidOutput, OPERATION, "the host redirects to no address")
            .with("host", host(address))
    })
}

/// The content type of an answer that is a text.
fn checked_head(address: &Url, response: &Response) -> Result<String> {
    let status = response.status();
    if !status.is_success() {
        let (kind, retry) = match status.as_u16() {
            401 | 403 => (ErrorKind::PermissionDenied, Retry::Never),
            404 | 410 => (ErrorKind::NotFound, Retry::Never),
            429 => (ErrorKind::RateLimited, Retry::Soon),
            500..=599 => (ErrorKind::Unavailable, Retry::Soon),
            _ => (ErrorKind::InvalidOutput, Retry::Never),
        };
        return Err(Error::new(kind, OPERATION, "the host refused the request")
            .with("status", status.as_u16())
            .with("host", host(address))
            .retryable(retry));
    }
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let unsupported = |message, value: &str| {
        let shown: String = value.chars().take(100).collect();
        Err(Error::new(ErrorKind::Unsupported, OPERATION, message)
            .with("content_type", shown)
            .with("host", host(address)))
    };
    if let Some(encoding) = header(CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
        return unsupported("the host sent a compressed body that was not asked for", encoding);
    }
    let sent = header(CONTENT_TYPE).unwrap_or("text/plain");
    let kind = sent.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if is_text(&kind) { Ok(kind) } else { unsupported("the page is not a text", &kind) }
}

fn is_text(kind: &str) -> bool {
    let listed = ["application/json", "application/xml", "application/yaml", "application/x-ndjson"];
    kind.starts_with("text/")
        || listed.contains(&kind)
        || kind.starts_with("application/") && (kind.ends_with("+json") || kind.ends_with("+xml"))
}

/// What a failure of the connection means; the address stays out of it, since a query may hold a key.
fn failed(err: reqwest::Error, host: &str) -> Error {
    let err = err.without_url();
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&err);
    while let Some(found) = cause {
        if let Some(Unresolved(ours)) = found.downcast_ref() {
            return ours.clone();
        }
        cause = found.source();
    }
    let (kind, message) = if err.is_timeout() {
        (ErrorKind::Timeout, "the host gave no answer in time")
    } else if err.is_connect() {
        (ErrorKind::Unavailable, "cannot connect to the host")
    } else {
        (ErrorKind::Unavailable, "the connection broke")
    };
    Error::new(kind, OPERATION, message).with("host", host).retryable(Retry::Soon).caused_by(err)
}
