//! `McpHttp` and `McpListener`: a server over streamable HTTP, mounted by the host or on a port of this machine.

use std::{
    convert::Infallible,
    fmt,
    net::SocketAddr,
    sync::Arc,
    task::{self, Poll},
};

use bytes::Bytes;
use futures_util::{FutureExt as _, future::BoxFuture};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{Method, Request, Response, StatusCode, body::Body, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    runtime::{Context, Task},
    tool::mcp::server::{McpServer, Outbound},
};

/// Where a listener serves.
const PATH: &str = "/mcp";
/// How many connections of a listener are open at the same time; further ones wait.
const MAX_CONNECTIONS: usize = 256;

/// The body of an answer.
pub type McpBody = BoxBody<Bytes, Infallible>;

/// Who may speak to a server over HTTP, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct McpHttpConfig {
    /// The names of the server that a request may name in `Host`, with or without a port; this machine by default.
    ///
    /// Without the check a web page could reach a server on this machine under a name of its own.
    pub allowed_hosts: Vec<String>,
    /// The web pages that may speak to it, like `https://app.example.com:443`; those of this machine by default.
    /// Requests without `Origin`, which browsers do not send, pass.
    pub allowed_origins: Vec<String>,
    /// The largest request, in bytes; 4 MiB by default.
    pub max_body_bytes: usize,
    /// How many clients have a session at the same time; 1,000 by default. A session ends after five minutes of silence.
    pub max_sessions: usize,
}

impl Default for McpHttpConfig {
    fn default() -> Self {
        let local = ["localhost", "127.0.0.1", "[::1]"];
        let pages = |scheme: &'static str| local.map(|host| format!("{scheme}://{host}:*"));
        Self {
            allowed_hosts: ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec(),
            allowed_origins: pages("http").into_iter().chain(pages("https")).collect(),
            max_body_bytes: 4 * 1024 * 1024,
            max_sessions: 1000,
        }
    }
}

/// A server as a service of `tower`, for the HTTP server of the host; cloning shares its sessions.
///
/// It answers under every path that it is mounted at, and does no TLS and no authentication: the host does.
/// Its sessions run as tasks of the SDK until they are silent for five minutes or the context is cancelled.
#[derive(Clone)]
pub struct McpHttp {
    service: StreamableHttpService<Outbound, LocalSessionManager>,
    sessions: Arc<LocalSessionManager>,
    max_sessions: usize,
}

impl McpHttp {
    /// Answers one request.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<McpBody>
    where
        B: Body + Send + 'static,
        B::Error: fmt::Display,
    {
        let is_new = request.method() == Method::POST && !request.headers().contains_key("mcp-session-id");
        if is_new && self.sessions.sessions.read().await.len() >= self.max_sessions {
            return plain(StatusCode::SERVICE_UNAVAILABLE);
        }
        self.service.handle(request).await
    }
}

impl<B> tower_service::Service<Request<B>> for McpHttp
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: fmt::Display,
{
    type Response = Response<McpBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, std::result::Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut task::Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        async move { Ok(service.handle(request).await) }.boxed()
    }
}

impl fmt::Debug for McpHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpHttp").field("max_sessions", &self.max_sessions).finish_non_exhaustive()
    }
}

/// A server that listens on a port of this machine, until it is closed or dropped, or the tasks are shut down.
#[derive(Debug)]
pub struct McpListener {
    address: SocketAddr,
    stop: CancellationToken,
    task: Option<Task<()>>,
}

impl McpListener {
    /// Where it listens; clients connect to `http://ADDRESS/mcp`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening and ends all sessions.
    pub async fn close(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            // It only ends early when the runtime does.
            let _ = task.await;
        }
    }
}

impl Drop for McpListener {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl McpServer {
    /// Makes a service that the host mounts in its HTTP server.
    #[must_use]
    pub fn http(&self, ctx: &Context, config: McpHttpConfig) -> McpHttp {
        self.http_until(ctx, config, CancellationToken::new())
    }

    fn http_until(&self, ctx: &Context, config: McpHttpConfig, stop: CancellationToken) -> McpHttp {
        let settings = StreamableHttpServerConfig::default()
            .with_allowed_hosts(config.allowed_hosts)
            .with_allowed_origins(config.allowed_origins)
            .enforce_origin_validation()
            .with_max_request_body_bytes(config.max_body_bytes)
            .with_cancellation_token(stop);
        let sessions = Arc::new(LocalSessionManager::default());
        let (server, ctx) = (self.clone(), ctx.clone());
        let service =
            StreamableHttpService::new(move || Ok(server.outbound(&ctx)), Arc::clone(&sessions), settings);
        McpHttp { service, sessions, max_sessions: config.max_sessions }
    }

    /// Listens on a port of this machine, at the path `/mcp`; port 0 takes a free one.
    ///
    /// # Errors
    /// `InvalidInput` when the address is not of this machine alone, since there is no TLS and no authentication;
    /// `Unavailable` when the port is taken.
    pub async fn serve_http(
        &self,
        ctx: &Context,
        address: SocketAddr,
        config: McpHttpConfig,
    ) -> Result<McpListener> {
        if !address.ip().is_loopback() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "mcp.listen",
                "expected an address of this machine",
            )
            .with("address", address));
        }
        let failed = |err: std::io::Error| {
            Error::new(ErrorKind::Unavailable, "mcp.listen", "cannot listen")
                .with("address", address)
                .retryable(Retry::Soon)
                .caused_by(err)
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let stop = CancellationToken::new();
        let service = self.http_until(ctx, config, stop.clone());
        let (ctx, until) = (ctx.clone(), stop.clone());
        let task = ctx.runtime().tasks().clone().spawn("mcp.listen", async move {
            tokio::select! {
                () = accept(&ctx, listener, service, &until) => {}
                () = until.cancelled() => {}
                () = ctx.cancel().cancelled() => {}
                () = ctx.runtime().tasks().cancel().cancelled() => {}
            }
            until.cancel();
        });
        Ok(McpListener { address, stop, task: Some(task) })
    }
}

async fn accept(ctx: &Context, listener: TcpListener, service: McpHttp, stop: &CancellationToken) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(err) => {
                // Too many open files pass; a connection that broke while it was made concerns nobody.
                tracing::debug!(error = %err, "mcp.listen");
                ctx.runtime().clock().sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        let (service, stop) = (service.clone(), stop.clone());
        let answer = service_fn(move |request| {
            let service = service.clone();
            async move { Ok::<_, Infallible>(routed(&service, request).await) }
        });
        let served =
            http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), answer);
        drop(ctx.runtime().tasks().spawn("mcp.connection", async move {
            tokio::select! {
                // A client that breaks off has its reasons.
                _ = served => {}
                () = stop.cancelled() => {}
            }
            drop(place);
        }));
    }
}

async fn routed(service: &McpHttp, request: Request<hyper::body::Incoming>) -> Response<McpBody> {
    match request.uri().path() {
        PATH => service.handle(request).await,
        _ => plain(StatusCode::NOT_FOUND),
    }
}

fn plain(status: StatusCode) -> Response<McpBody> {
    let mut response = Response::new(Full::new(Bytes::new()).boxed());
    *response.status_mut() = status;
    response
}
