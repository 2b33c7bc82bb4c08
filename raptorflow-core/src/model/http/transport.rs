//! `ReqwestClient`: HTTPS with the certificates that the machine trusts.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use reqwest::{Client, Proxy, Url, redirect};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt as _;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    model::http::{HttpClient, HttpRequest, HttpResponse},
    runtime::Context,
};

/// How long a [`ReqwestClient`] waits, and through whom it speaks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// For a connection; 10 seconds by default.
    pub connect_timeout: Duration,
    /// For the next bytes of an answer; 5 minutes by default, because models think in silence.
    pub idle_timeout: Duration,
    /// The proxy for every host but this machine, like `http://user:password@proxy:3128`, in place of those of the
    /// system.
    pub proxy: Option<String>,
}

impl fmt::Debug for HttpConfig {
    /// Without the proxy's address, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpConfig")
            .field("connect_timeout", &self.connect_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("has_proxy", &self.proxy.is_some())
            .finish()
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(10), idle_timeout: Duration::from_secs(300), proxy: None }
    }
}

/// HTTP and HTTPS over TCP; cloning shares the connections.
///
/// Certificates are checked as the machine does it, redirects are not followed, and the proxies of the system are
/// used except for this machine itself.
/// Nothing is set up before the first request.
#[derive(Clone, Default)]
pub struct ReqwestClient(Arc<Inner>);

#[derive(Default)]
struct Inner {
    config: HttpConfig,
    /// One client for each [`Reach`], because a client's proxies and trust are fixed when it is built.
    clients: [OnceLock<std::result::Result<Client, Error>>; 3],
}

/// How a host is reached.
#[derive(Clone, Copy)]
enum Reach {
    /// This machine, without TLS and without a proxy.
    Local,
    /// Another machine, without TLS.
    Plain,
    /// With TLS.
    Secure,
}

impl ReqwestClient {
    /// A client with other waiting times.
    #[must_use]
    pub fn new(config: HttpConfig) -> Self {
        Self(Arc::new(Inner { config, clients: Default::default() }))
    }

    /// The host of an address and a client that reaches it.
    #[cfg(any(feature = "model-genai", feature = "mcp"))]
    pub(crate) fn reach(&self, address: &str) -> Result<(String, Client)> {
        let url = Url::parse(address).map_err(|err| {
            Error::new(ErrorKind::InvalidInput, "http.post", "not an address").caused_by(err)
        })?;
        Ok((host_of(&url), self.client(&url)?.clone()))
    }

    fn client(&self, url: &Url) -> Result<&Client> {
        let reach = match url.scheme() {
            "http" if is_local(url) => Reach::Local,
            "http" => Reach::Plain,
            "https" => Reach::Secure,
            other => {
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    "http.post",
                    "expected an http or https address",
                )
                .with("scheme", other));
            }
        };
        let [local, plain, secure] = &self.0.clients;
        let slot = match reach {
            Reach::Local => local,
            Reach::Plain => plain,
            Reach::Secure => secure,
        };
        slot.get_or_init(|| build(reach, &self.0.config)).as_ref().map_err(Clone::clone)
    }
}

impl fmt::Debug for ReqwestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestClient").field("config", &self.0.config).finish()
    }
}

fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|ip| ip.is_loopback())
}

/// TLS with the certificates of the machine, or with none where no TLS is spoken.
pub(crate) fn tls_config(secure: bool) -> Result<ClientConfig> {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|err| no_tls(err.into()))?;
    // The machine's certificates are only read where TLS is spoken: a container without any still reaches a
    // model on localhost.
    let tls = if secure {
        tls.with_platform_verifier().map_err(|err| no_tls(err.into()))?
    } else {
        tls.with_root_certificates(RootCertStore::empty())
    };
    Ok(tls.with_no_client_auth())
}

fn no_tls(err: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::new(ErrorKind::Unavailable, "http.post", "cannot set up HTTPS").caused_by(err)
}

fn build(reach: Reach, config: &HttpConfig) -> Result<Client> {
    let client = Client::builder()
        .tls_backend_preconfigured(tls_config(matches!(reach, Reach::Secure))?)
        .redirect(redirect::Policy::none())
        .connect_timeout(config.connect_timeout)
        .read_timeout(config.idle_timeout)
        .user_agent(concat!("raptorflow/", env!("CARGO_PKG_VERSION")));
    let client = match (reach, &config.proxy) {
        (Reach::Local, _) => client.no_proxy(),
        (_, None) => client,
        (_, Some(proxy)) => client.proxy(Proxy::all(proxy).map_err(|err| {
            Error::new(ErrorKind::InvalidInput, "http.post", "not the address of a proxy")
                .caused_by(err.without_url())
        })?),
    };
    client.build().map_err(|err| no_tls(err.into()))
}

#[async_trait]
impl HttpClient for ReqwestClient {
    async fn post(&self, ctx: &Context, request: HttpRequest) -> Result<HttpResponse> {
        let url = Url::parse(&request.url).map_err(|err| {
            Error::new(ErrorKind::InvalidInput, "http.post", "not an address").caused_by(err)
        })?;
        let host = host_of(&url);
        let mut builder = self.client(&url)?.post(url).body(request.body);
        for (name, value) in &request.headers {
            builder = builder.header(&**name, header_value(name, value.expose())?);
        }
        let response = ctx.bound("http.post", builder.send()).await?.map_err(|err| refused(err, &host))?;
        let status = response.status().as_u16();
        let headers = response.headers().iter();
        let headers = headers
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect();
        let body = response.bytes_stream().map(move |piece| piece.map_err(|err| refused(err, &host)));
        Ok(HttpResponse { status, headers, body: Box::pin(body) })
    }
}

fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn header_value(name: &str, text: &str) -> Result<reqwest::header::HeaderValue> {
    let mut value = reqwest::header::HeaderValue::from_str(text).map_err(|_| {
        // The cause would show nothing more, and the value stays out of the error.
        Error::new(ErrorKind::InvalidInput, "http.post", "not the value of a header; expected visible ASCII")
            .with("header", name)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// What a failure of the connection means; the address is left out of the cause, since a query may hold a key.
pub(crate) fn refused(err: reqwest::Error, host: &str) -> Error {
    let err = err.without_url();
    let trouble = trouble(&err);
    let (kind, message, retry) = if let Some((message, retry)) = trouble {
        (ErrorKind::Unavailable, message, retry)
    } else if err.is_connect() {
        (ErrorKind::Unavailable, "cannot connect to the host", Retry::Soon)
    } else if err.is_timeout() {
        (ErrorKind::Timeout, "the host fell silent", Retry::Soon)
    } else if err.is_builder() {
        (ErrorKind::InvalidInput, "the request cannot be sent", Retry::Never)
    } else {
        (ErrorKind::Unavailable, "the connection broke", Retry::Soon)
    };
    Error::new(kind, "http.post", message).with("host", host).retryable(retry).caused_by(err)
}

/// What kept a connection from being made, where the causes tell.
fn trouble(err: &reqwest::Error) -> Option<(&'static str, Retry)> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(err);
    while let Some(cause) = next {
        match tls_error(cause) {
            Some(rustls::Error::InvalidCertificate(_)) => {
                return Some(("the certificate of the host is not trusted", Retry::Never));
            }
            Some(_) => {
                return Some(("the host does not speak TLS with us; is the address https?", Retry::Never));
            }
            None => {}
        }
        // These two are types of their own that nobody can name, so their texts have to do.
        if err.is_connect() {
            let text = cause.to_string();
            if text.starts_with("dns error") {
                return Some(("the name of the host is not known", Retry::Soon));
            }
            if text.starts_with("tunnel error") {
                return Some(("the proxy does not lead to the host", Retry::Never));
            }
        }
        next = cause.source();
    }
    None
}

/// The TLS error that a cause is or holds; an I/O error keeps it inside, not as its source.
fn tls_error<'a>(mut cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    loop {
        if let Some(tls) = cause.downcast_ref() {
            return Some(tls);
        }
        cause = cause.downcast_ref::<std::io::Error>()?.get_ref()?;
    }
}
