//! `McpServer`: a registry of tools for the clients of others.

use std::{fmt, sync::Arc};

use rmcp::{
    ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, ErrorCode, ErrorData, Implementation, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool as RemoteSpec, ToolAnnotations,
    },
    service::{RequestContext, RoleServer, ServerInitializeError, serve_server},
    transport::async_rw::AsyncRwTransport,
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
};

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::Context,
    tool::{DispatchConfig, ToolRegistry, dispatch, mcp::content::from_result},
    types::{Effects, ToolCall, ToolSpec},
};

/// How many tools one page of the list has.
const PAGE: usize = 100;
/// The largest message that is read from a stream, in bytes.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// A registry of tools for the clients of others; cloning shares it.
///
/// Each call takes the one path of [`dispatch`]: its arguments are checked, its time and the size of its answer
/// bounded.
/// In one session calls that only read run at the same time, any other alone.
/// It runs in the context that it is served with: that one's tenant and principal are the callers', and its deadline
/// and cancellation hold for all of them.
///
/// ```
/// use raptorflow_core::{
///     runtime::{Context, Runtime},
///     tool::{FunctionTool, ToolRegistry, mcp::{McpClient, McpHttpConfig, McpServer}},
///     types::{Schema, ToolSpec},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let ctx = Context::new(&Runtime::current()?);
/// let mut tools = ToolRegistry::new();
/// let spec = ToolSpec::new("echo", "Returns what it was given.", Schema::any_object());
/// tools.register(FunctionTool::new(spec, async |_ctx, arguments| Ok(arguments)))?;
/// let server = McpServer::new("demo", tools).instructions("Echoes.");
/// let listener = server.serve_http(&ctx, ([127, 0, 0, 1], 0).into(), McpHttpConfig::default()).await?;
/// let client = McpClient::http(format!("http://{}/mcp", listener.address())).connect(&ctx).await?;
/// assert_eq!(client.tools().len(), 1);
/// client.close().await;
/// listener.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct McpServer(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    name: String,
    version: String,
    instructions: Option<String>,
    tools: ToolRegistry,
    dispatch: DispatchConfig,
}

impl McpServer {
    /// Offers these tools under a name.
    pub fn new(name: impl Into<String>, tools: ToolRegistry) -> Self {
        Self(Arc::new(Inner {
            name: name.into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instructions: None,
            tools,
            dispatch: DispatchConfig::default(),
        }))
    }

    /// The version that clients see; that of this library by default.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).version = version.into();
        self
    }

    /// How to use the tools, for the models of clients.
    #[must_use]
    pub fn instructions(mut self, instructions: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).instructions = Some(instructions.into());
        self
    }

    /// Other bounds of a call.
    #[must_use]
    pub fn dispatch_config(mut self, config: DispatchConfig) -> Self {
        Arc::make_mut(&mut self.0).dispatch = config;
        self
    }

    /// Serves one client over two streams, until it goes or the context is cancelled.
    ///
    /// # Errors
    /// `InvalidInput` when the client does not speak MCP; `Timeout` and `Cancelled`.
    ///
    /// # Cancellation
    /// Calls that run are dropped.
    pub async fn serve(
        &self,
        ctx: &Context,
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Result<()> {
        let transport = AsyncRwTransport::new_server(reader, writer).with_max_line_length(MAX_MESSAGE);
        let served =
            async {
                match Box::pin(serve_server(self.outbound(ctx), transport)).await {
                    Ok(running) => match running.waiting().await {
                        Ok(_) => Ok(()),
                        Err(err) => Err(Error::new(ErrorKind::Internal, "mcp.serve", "the session panicked")
                            .caused_by(err)),
                    },
                    // A client that goes before it says anything wanted nothing.
                    Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
                    Err(err) => {
                        Err(Error::new(ErrorKind::InvalidInput, "mcp.serve", "the client broke the protocol")
                            .caused_by(err))
                    }
                }
            };
        ctx.bound("mcp.serve", served).await.flatten()
    }

    /// Serves the process that started this one, over standard input and output.
    ///
    /// Nothing else may write to standard output meanwhile.
    ///
    /// # Errors
    /// As [`McpServer::serve`].
    pub async fn serve_stdio(&self, ctx: &Context) -> Result<()> {
        self.serve(ctx, tokio::io::stdin(), tokio::io::stdout()).await
    }

    pub(super) fn outbound(&self, ctx: &Context) -> Outbound {
        let turns = self.0.dispatch.max_parallel.clamp(1, Semaphore::MAX_PERMITS);
        Outbound { server: Arc::clone(&self.0), ctx: ctx.clone(), turns: Semaphore::new(turns) }
    }
}

impl fmt::Debug for McpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpServer")
            .field("name", &self.0.name)
            .field("tools", &self.0.tools.len())
            .finish_non_exhaustive()
    }
}

/// One session with a client.
pub(super) struct Outbound {
    server: Arc<Inner>,
    ctx: Context,
    /// A call that only reads takes one, any other all of them.
    turns: Semaphore,
}

impl Outbound {
    async fn called(
        &self,
        request: CallToolRequestParams,
        id: String,
    ) -> std::result::Result<CallToolResponse, ErrorData> {
        let Some(tool) = self.server.tools.find(&request.name) else {
            let text = format!("no tool of the name {}", request.name.chars().take(64).collect::<String>());
            return Err(ErrorData::new(ErrorCode::INVALID_PARAMS, text, None));
        };
        let all = self.server.dispatch.max_parallel.clamp(1, Semaphore::MAX_PERMITS);
        let share = if tool.spec().effects == Effects::Read { 1 } else { all };
        let _turn = self.turns.acquire_many(u32::try_from(share).unwrap_or(u32::MAX)).await;
        // The ids of clients are theirs alone, so that each call is given a key of its own.
        let key = self.ctx.runtime().ids().run().to_string();
        let ctx = self.ctx.with_cancel(self.ctx.cancel().child()).with_idempotency_key(key);
        let arguments = request.arguments.map_or(Value::Null, Value::Object);
        let call = ToolCall { id, name: request.name.into_owned(), arguments };
        match dispatch(&ctx, &self.server.tools, &call, &self.server.dispatch).await {
            Ok(result) => Ok(from_result(result).into()),
            Err(err) => {
                tracing::debug!(error = %err, "mcp.serve");
                Err(ErrorData::new(ErrorCode::INTERNAL_ERROR, err.kind().code(), None))
            }
        }
    }

    fn listed(
        &self,
        request: Option<PaginatedRequestParams>,
    ) -> std::result::Result<ListToolsResult, ErrorData> {
        let specs = self.server.tools.specs();
        let start = match request.and_then(|request| request.cursor) {
            None => 0,
            Some(cursor) => {
                cursor.parse::<usize>().ok().filter(|start| *start < specs.len()).ok_or_else(|| {
                    ErrorData::new(ErrorCode::INVALID_PARAMS, "not a cursor of this list", None)
                })?
            }
        };
        let end = start.saturating_add(PAGE);
        let page = specs.iter().skip(start).take(PAGE).map(remote_spec).collect();
        let mut answer = ListToolsResult::with_all_items(page);
        answer.next_cursor = (end < specs.len()).then(|| end.to_string());
        Ok(answer)
    }
}

fn remote_spec(spec: &ToolSpec) -> RemoteSpec {
    let schema = spec.parameters.as_value().as_object().cloned().unwrap_or_default();
    let hints = ToolAnnotations::new().read_only(spec.effects == Effects::Read);
    let hints = match spec.effects {
        Effects::Read => hints,
        Effects::Write => hints.open_world(false),
        Effects::External => hints.open_world(true),
    };
    RemoteSpec::new(spec.name.clone(), spec.description.clone(), schema).with_annotations(hints)
}

impl ServerHandler for Outbound {
    fn get_info(&self) -> ServerConfig {
        let info = ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new(&self.server.name, &self.server.version));
        match &self.server.instructions {
            Some(instructions) => info.with_instructions(instructions),
            None => info,
        }
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> std::result::Result<ListToolsResult, ErrorData> {
        self.listed(request)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> std::result::Result<CallToolResponse, ErrorData> {
        tokio::select! {
            answer = self.called(request, context.id.to_string()) => answer,
            // The client waits no more; dropping the call stops the tool.
            () = context.ct.cancelled() => Err(ErrorData::new(ErrorCode::INTERNAL_ERROR, "cancelled", None)),
        }
    }
}
