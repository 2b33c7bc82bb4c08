//! `McpClient`: the tools, resources and prompts of an MCP server.

use std::{collections::BTreeMap, fmt, sync::Arc};

use rmcp::model::{GetPromptRequestParams, ReadResourceRequestParams};
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    error::Result,
    model::{HttpConfig, ReqwestClient},
    runtime::Context,
    security::Secret,
    tool::{
        Tool,
        mcp::{
            auth::McpAuth,
            config::McpConfig,
            content::to_json,
            endpoint::{Endpoint, HttpEndpoint},
            handler::{McpHandler, Silent},
            listing::{McpSkipped, all},
            remote::RemoteTool,
            session::{Session, Stage},
        },
    },
};

/// How a session with a server is begun.
pub struct McpBuilder {
    endpoint: Endpoint,
    config: McpConfig,
    prefix: String,
    handler: Arc<dyn McpHandler>,
}

impl McpBuilder {
    /// Stands before the name of each of its tools, so that those of several servers stay apart.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Other bounds.
    #[must_use]
    pub fn config(mut self, config: McpConfig) -> Self {
        self.config = config;
        self
    }

    /// Who answers the server's questions.
    #[must_use]
    pub fn handler(self, handler: impl McpHandler) -> Self {
        self.shared_handler(Arc::new(handler))
    }

    /// Who answers the server's questions, shared with others.
    #[must_use]
    pub fn shared_handler(mut self, handler: Arc<dyn McpHandler>) -> Self {
        self.handler = handler;
        self
    }

    /// One more header of every request; without effect on a process.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: Secret) -> Self {
        if let Endpoint::Http(http) = &mut self.endpoint {
            http.headers.insert(name.into(), value);
        }
        self
    }

    /// A token in the header `authorization`; without effect on a process.
    #[must_use]
    pub fn bearer(self, token: &Secret) -> Self {
        self.header("authorization", Secret::new(format!("Bearer {}", token.expose())))
    }

    /// Asks for access by OAuth where the server wants it; without effect on a process.
    #[must_use]
    pub fn auth(mut self, auth: McpAuth) -> Self {
        if let Endpoint::Http(http) = &mut self.endpoint {
            http.auth = Some(auth);
        }
        self
    }

    /// How long requests wait, and through whom; without effect on a process.
    #[must_use]
    pub fn http_config(mut self, config: HttpConfig) -> Self {
        if let Endpoint::Http(http) = &mut self.endpoint {
            http.http = ReqwestClient::new(config);
        }
        self
    }

    /// Starts the server or finds it, shakes hands, and reads the list of its tools.
    ///
    /// # Errors
    /// `Unavailable` when the server cannot be started or reached, or ends; `InvalidOutput` when it does not speak MCP;
    /// `Unauthenticated` when it wants credentials; `LimitExceeded` when it lists too much; `Timeout` and `Cancelled`.
    ///
    /// # Cancellation
    /// A server that was started is killed.
    pub async fn connect(self, ctx: &Context) -> Result<McpClient> {
        let session = Session::open(ctx, self.endpoint, self.config, self.prefix, self.handler).await?;
        Ok(McpClient(Arc::new(session)))
    }
}

impl fmt::Debug for McpBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpBuilder")
            .field("endpoint", &self.endpoint)
            .field("config", &self.config)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// A session with an MCP server; cloning shares it.
///
/// One task owns the connection.
/// It ends, and a process that was started is killed with its whole group, at [`McpClient::close`], when the last
/// clone and the last of its tools are gone, or when the engine's tasks are shut down.
/// Everything that a server says is untrusted.
///
/// ```
/// use raptorflow_core::{
///     runtime::{Context, Runtime},
///     tool::{FunctionTool, ToolRegistry, mcp::{McpClient, McpServer}},
///     types::{Schema, ToolSpec},
/// };
/// use serde_json::json;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let ctx = Context::new(&Runtime::current()?);
/// let mut tools = ToolRegistry::new();
/// let spec = ToolSpec::new("echo", "Returns what it was given.", Schema::any_object());
/// tools.register(FunctionTool::new(spec, async |_ctx, arguments| Ok(arguments)))?;
///
/// // A server of our own at the other end of two pipes; `McpClient::stdio` starts one as a process.
/// let (ours, theirs) = tokio::io::duplex(4096);
/// let (reader, writer) = tokio::io::split(theirs);
/// let (server, host) = (McpServer::new("demo", tools), ctx.clone());
/// let serving = async move { server.serve(&host, reader, writer).await };
/// drop(ctx.runtime().tasks().spawn("server", serving));
/// let (reader, writer) = tokio::io::split(ours);
/// let client = McpClient::stream(reader, writer).prefix("demo_").connect(&ctx).await?;
///
/// let echo = client.tools().remove(0);
/// assert_eq!(echo.spec().name, "demo_echo");
/// assert_eq!(echo.call(&ctx, json!({"a": 1})).await?, json!({"a": 1}));
/// client.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct McpClient(Arc<Session>);

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum McpState {
    /// The server answers.
    Open,
    /// The connection broke and is made again; calls wait.
    Reconnecting,
    /// It is over; every call fails with the reason.
    Closed,
}

/// What a server says about itself; untrusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct McpServerInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of the protocol that is spoken.
    pub protocol: String,
    /// How to use its tools.
    pub instructions: Option<String>,
}

impl McpClient {
    /// A server that is started as a process and spoken to over its standard input and output.
    ///
    /// It sees `PATH`, `HOME` and a few more variables of ours, and those of `env`.
    /// What it logs to its standard error goes to `tracing` at debug level, without the values of `env`.
    pub fn stdio<A: Into<String>, N: Into<String>>(
        command: impl Into<String>,
        arguments: impl IntoIterator<Item = A>,
        env: impl IntoIterator<Item = (N, Secret)>,
    ) -> McpBuilder {
        builder(Endpoint::Process {
            command: command.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            env: env.into_iter().map(|(name, value)| (name.into(), value)).collect(),
        })
    }

    /// A server behind an address, spoken to over streamable HTTP.
    ///
    /// Redirects are not followed, so that headers reach no other address.
    pub fn http(address: impl Into<String>) -> McpBuilder {
        builder(Endpoint::Http(Box::new(HttpEndpoint {
            address: address.into(),
            headers: BTreeMap::new(),
            http: ReqwestClient::default(),
            auth: None,
            access: tokio::sync::OnceCell::new(),
        })))
    }

    /// A server at the other end of two streams: one line of JSON a message.
    pub fn stream(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> McpBuilder {
        let streams: (Box<dyn AsyncRead + Send + Unpin>, Box<dyn AsyncWrite + Send + Unpin>) =
            (Box::new(reader), Box::new(writer));
        builder(Endpoint::Stream(std::sync::Mutex::new(Some(streams))))
    }

    /// Its tools of this moment, in its order.
    ///
    /// The list is read again when the server says that it changed; agents keep the tools that they were built with.
    #[must_use]
    pub fn tools(&self) -> Vec<Arc<dyn Tool>> {
        let listing = self.0.listing.borrow().clone();
        let tools = listing
            .tools
            .iter()
            .map(|listed| Arc::new(RemoteTool::new(listed.clone(), Arc::clone(&self.0))) as Arc<dyn Tool>);
        tools.collect()
    }

    /// The tools that are left out, and why.
    #[must_use]
    pub fn skipped(&self) -> Vec<McpSkipped> {
        self.0.listing.borrow().skipped.to_vec()
    }

    /// Waits until the list of tools was read again; `false` when the session is over.
    pub async fn changed(&self) -> bool {
        let mut listing = self.0.listing.clone();
        listing.mark_unchanged();
        listing.changed().await.is_ok()
    }

    /// Reads the list of tools again.
    ///
    /// # Errors
    /// `Unavailable` when the session is over; `Timeout` and `Cancelled`.
    pub async fn refresh(&self, ctx: &Context) -> Result<()> {
        self.0.list(ctx).await
    }

    /// Where the session is.
    #[must_use]
    pub fn state(&self) -> McpState {
        match &*self.0.stage.borrow() {
            Stage::Open { .. } => McpState::Open,
            Stage::Reconnecting => McpState::Reconnecting,
            Stage::Closed(_) => McpState::Closed,
        }
    }

    /// What the server says about itself; empty when the session is over.
    #[must_use]
    pub fn server(&self) -> McpServerInfo {
        let Stage::Open { peer, .. } = self.0.stage.borrow().clone() else { return McpServerInfo::default() };
        let Some(info) = peer.peer_info() else { return McpServerInfo::default() };
        let (name, version) =
            info.server_info.as_ref().map(|it| (it.name.clone(), it.version.clone())).unwrap_or_default();
        let protocol = info.protocol_version.as_str().to_owned();
        McpServerInfo { name, version, protocol, instructions: info.instructions.clone() }
    }

    /// Its resources, each as MCP writes it: `uri`, `name`, and what else it says.
    ///
    /// # Errors
    /// `Unsupported` when it has none, `LimitExceeded` for too many, and those of the connection.
    pub async fn resources(&self, ctx: &Context) -> Result<Vec<Value>> {
        let listed = all("resources", self.0.config.max_tools, |cursor| async move {
            let page = self.0.request(ctx, "mcp.resources", |peer| {
                let cursor = cursor.clone();
                async move { peer.list_resources(cursor).await }
            });
            let page = page.await?;
            Ok((page.resources, page.next_cursor))
        });
        listed.await?.iter().map(to_json).collect()
    }

    /// The patterns of its resources, each as MCP writes it: `uriTemplate`, `name`, and what else it says.
    ///
    /// # Errors
    /// As [`McpClient::resources`].
    pub async fn resource_templates(&self, ctx: &Context) -> Result<Vec<Value>> {
        let listed = all("templates", self.0.config.max_tools, |cursor| async move {
            let page = self.0.request(ctx, "mcp.templates", |peer| {
                let cursor = cursor.clone();
                async move { peer.list_resource_templates(cursor).await }
            });
            let page = page.await?;
            Ok((page.resource_templates, page.next_cursor))
        });
        listed.await?.iter().map(to_json).collect()
    }

    /// The parts of a resource, each as MCP writes it: `uri`, and `text` or `blob` in base64.
    ///
    /// # Errors
    /// `NotFound` when the server says so, and those of the connection.
    pub async fn read_resource(&self, ctx: &Context, uri: &str) -> Result<Vec<Value>> {
        let params = ReadResourceRequestParams::new(uri);
        let answer = self.0.request(ctx, "mcp.read", |peer| {
            let params = params.clone();
            async move { peer.read_resource(params).await }
        });
        let answer = answer.await?;
        answer.contents.iter().map(to_json).collect()
    }

    /// Its prompts, each as MCP writes it: `name`, `description` and `arguments`.
    ///
    /// # Errors
    /// As [`McpClient::resources`].
    pub async fn prompts(&self, ctx: &Context) -> Result<Vec<Value>> {
        let listed = all("prompts", self.0.config.max_tools, |cursor| async move {
            let page = self.0.request(ctx, "mcp.prompts", |peer| {
                let cursor = cursor.clone();
                async move { peer.list_prompts(cursor).await }
            });
            let page = page.await?;
            Ok((page.prompts, page.next_cursor))
        });
        listed.await?.iter().map(to_json).collect()
    }

    /// The messages of a prompt, each as MCP writes it: `role` and `content`.
    ///
    /// # Errors
    /// `InvalidInput` when the server refuses the arguments, and those of the connection.
    pub async fn prompt(
        &self,
        ctx: &Context,
        name: &str,
        arguments: Map<String, Value>,
    ) -> Result<Vec<Value>> {
        let params = GetPromptRequestParams::new(name).with_arguments(arguments);
        let answer = self.0.request(ctx, "mcp.prompt", |peer| {
            let params = params.clone();
            async move { peer.get_prompt(params).await }
        });
        let answer = answer.await?;
        answer.messages.iter().map(to_json).collect()
    }

    /// Ends the session and waits until its server is gone.
    ///
    /// Calls that wait fail with `Unavailable`.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

fn builder(endpoint: Endpoint) -> McpBuilder {
    McpBuilder { endpoint, config: McpConfig::default(), prefix: String::new(), handler: Arc::new(Silent) }
}
