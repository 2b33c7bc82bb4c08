//! `Endpoint`: where a server is, and how a connection to it is made.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::FutureExt as _;
use reqwest::header::{HeaderName, HeaderValue};
use rmcp::{
    RoleClient,
    service::{ClientInitializeError, RunningService, serve_client},
    transport::{
        StreamableHttpClientTransport, async_rw::AsyncRwTransport,
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    error::{Error, ErrorKind, Result},
    model::ReqwestClient,
    runtime::Runtime,
    security::Secret,
    tool::mcp::{
        auth::{Access, McpAuth},
        child::Child,
        config::McpConfig,
        fault::{Challenge, challenge, of_handshake},
        inbound::Inbound,
    },
};

/// The operation that errors name.
const OPERATION: &str = "mcp.connect";
/// How often a session that is begun asks for access.
const MAX_CHALLENGES: usize = 2;

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Where a server is.
pub(super) enum Endpoint {
    /// A process of ours, spoken to over its standard input and output.
    Process { command: String, arguments: Vec<String>, env: BTreeMap<String, Secret> },
    /// An address, spoken to over streamable HTTP.
    Http(Box<HttpEndpoint>),
    /// Two streams that the host made; they serve once.
    Stream(Mutex<Option<(Reader, Writer)>>),
}

/// A server behind an address.
pub(super) struct HttpEndpoint {
    pub(super) address: String,
    pub(super) headers: BTreeMap<String, Secret>,
    pub(super) http: ReqwestClient,
    pub(super) auth: Option<McpAuth>,
    pub(super) access: tokio::sync::OnceCell<Access>,
}

/// A connection that stands.
pub(super) struct Link {
    pub(super) service: RunningService<RoleClient, Arc<Inbound>>,
    pub(super) child: Option<Child>,
}

impl Endpoint {
    /// What stands in errors and logs: the program or the host, never arguments, paths or queries.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Process { command, .. } => command.clone(),
            Self::Http(http) => {
                let host = reqwest::Url::parse(&http.address).ok();
                host.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_else(|| "http".to_owned())
            }
            Self::Stream(_) => "stream".to_owned(),
        }
    }

    /// Whether a lost connection may be made again.
    pub(super) fn is_repeatable(&self) -> bool {
        matches!(self, Self::Http(_))
    }

    /// The access that was asked for, where this server may want one.
    pub(super) async fn access(&self) -> Result<Option<&Access>> {
        match self {
            Self::Http(http) => http.access().await,
            _ => Ok(None),
        }
    }

    /// Connects and shakes hands.
    pub(super) async fn connect(
        &self,
        runtime: &Runtime,
        config: &McpConfig,
        inbound: &Arc<Inbound>,
    ) -> Result<Link> {
        match self {
            Self::Process { command, arguments, env } => {
                let (mut child, stdout, stdin) = Child::start(runtime, command, arguments, env).await?;
                match over_streams(stdout, stdin, config, inbound).await {
                    Ok(service) => Ok(Link { service, child: Some(child) }),
                    Err(err) => {
                        let status = child.status(runtime.clock().as_ref()).await;
                        child.close(runtime.clock().as_ref(), std::time::Duration::ZERO).await;
                        Err(match status {
                            Some(status) => err.with("status", status),
                            None => err,
                        })
                    }
                }
            }
            Self::Http(http) => {
                Ok(Link { service: Box::pin(http.connect(config, inbound)).await?, child: None })
            }
            Self::Stream(streams) => {
                let streams = streams.lock().unwrap_or_else(PoisonError::into_inner).take();
                let (reader, writer) = streams.ok_or_else(|| {
                    Error::new(ErrorKind::Unavailable, OPERATION, "the streams of this session have served")
                })?;
                Ok(Link { service: over_streams(reader, writer, config, inbound).await?, child: None })
            }
        }
    }
}

/// Boxed, because the compiler cannot tell that the handshake may go to another thread.
async fn over_streams(
    reader: impl AsyncRead + Send + Unpin + 'static,
    writer: impl AsyncWrite + Send + Unpin + 'static,
    config: &McpConfig,
    inbound: &Arc<Inbound>,
) -> Result<RunningService<RoleClient, Arc<Inbound>>> {
    let transport =
        AsyncRwTransport::new_client(reader, writer).with_max_line_length(config.max_message_bytes);
    serve_client(Arc::clone(inbound), transport).boxed().await.map_err(|err| of_handshake(&err, OPERATION))
}

impl HttpEndpoint {
    async fn access(&self) -> Result<Option<&Access>> {
        let Some(auth) = &self.auth else { return Ok(None) };
        let made = self.access.get_or_try_init(|| async {
            let (_, client) = self.http.reach(&self.address)?;
            Access::new(&self.address, self.http.clone(), client, auth.clone()).await
        });
        made.await.map(Some)
    }

    async fn connect(
        &self,
        config: &McpConfig,
        inbound: &Arc<Inbound>,
    ) -> Result<RunningService<RoleClient, Arc<Inbound>>> {
        let mut settings = StreamableHttpClientTransportConfig::with_uri(self.address.as_str())
            .max_sse_event_size(config.max_message_bytes)
            .max_concurrent_requests(config.max_parallel);
        settings.custom_headers = self.headers()?;
        let access = Box::pin(self.access()).await?;
        let mut challenges = 0;
        loop {
            let made = match access {
                Some(access) => {
                    let transport =
                        StreamableHttpClientTransport::with_client(access.client(), settings.clone());
                    serve_client(Arc::clone(inbound), transport).boxed().await
                }
                None => {
                    let (_, client) = self.http.reach(&self.address)?;
                    let transport = StreamableHttpClientTransport::with_client(client, settings.clone());
                    serve_client(Arc::clone(inbound), transport).boxed().await
                }
            };
            let err = match made {
                Ok(service) => return Ok(service),
                Err(err) => err,
            };
            match (access, asked(&err)) {
                (Some(access), Some(asked)) if challenges < MAX_CHALLENGES => {
                    challenges += 1;
                    Box::pin(access.obtain(inbound.handler(), &asked)).await?;
                }
                _ => return Err(of_handshake(&err, OPERATION).with("server", self.host())),
            }
        }
    }

    fn host(&self) -> String {
        let url = reqwest::Url::parse(&self.address).ok();
        url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
    }

    fn headers(&self) -> Result<HashMap<HeaderName, HeaderValue>> {
        let pairs = self.headers.iter().map(|(name, value)| {
            let wrong = |message: &'static str| {
                Error::new(ErrorKind::InvalidInput, OPERATION, message).with("header", name)
            };
            let key =
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("not the name of a header"))?;
            let mut value = HeaderValue::from_str(value.expose())
                .map_err(|_| wrong("not the value of a header; expected visible ASCII"))?;
            value.set_sensitive(true);
            Ok((key, value))
        });
        pairs.collect()
    }
}

fn asked(err: &ClientInitializeError) -> Option<Challenge> {
    match err {
        ClientInitializeError::TransportError { error, .. } => challenge(error),
        _ => None,
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.shown()).finish()
    }
}
