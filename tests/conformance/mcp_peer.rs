//! This binary started again as a client or a server of MCP, for the suite and for clients that others wrote.

use std::{
    env,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::ExitCode,
};

use async_trait::async_trait;
use raptorflow_core::{
    Error, ErrorKind, Result,
    runtime::{Context, Runtime},
    security::Secret,
    tool::{
        FunctionTool, ToolRegistry,
        mcp::{
            McpAnswer, McpAuth, McpClient, McpHandler, McpHttpConfig, McpListener, McpOffers, McpQuestion,
            McpServer,
        },
    },
    types::{Effects, Schema, ToolSpec},
};
use serde_json::{Map, Value, json};

use crate::backends::block_on;

/// The first argument of a client; the suite appends the address of its server.
pub(crate) const CLIENT: &str = "mcp-client";
/// The first argument of a server on standard input and output.
pub(crate) const SERVER: &str = "mcp-server";
/// A pixel and a tick.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const WAV: &str = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=";

/// What this process is.
pub(crate) enum Peer {
    Client(String),
    Server,
}

impl Peer {
    /// The peer, if this process is one.
    pub(crate) fn of_this_process() -> Option<Self> {
        let mut arguments = env::args().skip(1);
        match arguments.next()?.as_str() {
            CLIENT => Some(Self::Client(arguments.next()?)),
            SERVER => Some(Self::Server),
            _ => None,
        }
    }

    pub(crate) fn run(self) -> ExitCode {
        let done = block_on(async {
            let ctx = Context::new(&Runtime::current()?);
            match self {
                Self::Client(address) => visit(&ctx, &address).await,
                Self::Server => McpServer::new("raptorflow-tests", tools()?).serve_stdio(&ctx).await,
            }
        });
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(err) => {
                eprintln!("{err:#}");
                ExitCode::FAILURE
            }
        }
    }
}

/// Does what every scenario of the suite wants of a client: connects, and calls each tool once.
async fn visit(ctx: &Context, address: &str) -> Result<()> {
    let scenario = env::var("MCP_CONFORMANCE_SCENARIO").unwrap_or_default();
    let known: Value =
        serde_json::from_str(&env::var("MCP_CONFORMANCE_CONTEXT").unwrap_or_default()).unwrap_or_default();
    let mut builder = McpClient::http(address).handler(User);
    if scenario.starts_with("auth/") {
        let mut auth = McpAuth::new("http://localhost:3000/callback");
        auth.client_name = "raptorflow-tests".to_owned();
        auth.client_metadata_url = Some("https://conformance-test.local/client-metadata.json".to_owned());
        auth.client_id = known["client_id"].as_str().map(str::to_owned);
        auth.client_secret = known["client_secret"].as_str().map(Secret::new);
        builder = builder.auth(auth);
    }
    let client = builder.connect(ctx).await?;
    for tool in client.tools() {
        match tool.call(ctx, arguments(&tool.spec().parameters)).await {
            Ok(value) => eprintln!("{}: {value}", tool.spec().name),
            // A server that refuses for ever is what one scenario is about.
            Err(err) => eprintln!("{}: {err:#}", tool.spec().name),
        }
    }
    client.close().await;
    Ok(())
}

/// A value for each argument.
fn arguments(schema: &Schema) -> Value {
    let fields = schema.as_value()["properties"].as_object().cloned().unwrap_or_default();
    let fields = fields.into_iter().map(|(name, field)| {
        let value = match field["type"].as_str() {
            Some("number" | "integer") => json!(5),
            Some("boolean") => json!(true),
            _ => json!("test"),
        };
        (name, value)
    });
    Value::Object(fields.collect::<Map<_, _>>())
}

/// Accepts every form as it is suggested, and allows every access.
#[derive(Debug)]
struct User;

#[async_trait]
impl McpHandler for User {
    fn offers(&self) -> McpOffers {
        McpOffers { elicitation: true, ..McpOffers::default() }
    }

    async fn elicit(&self, _question: McpQuestion) -> Result<McpAnswer> {
        Ok(McpAnswer::Accept(json!({})))
    }

    async fn authorize(&self, address: &str) -> Result<String> {
        let broken = |err: std::io::Error| {
            Error::new(ErrorKind::Unavailable, "test.authorize", "no answer").caused_by(err)
        };
        let rest = address.strip_prefix("http://").unwrap_or(address);
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut stream = TcpStream::connect(host).map_err(broken)?;
        write!(stream, "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")
            .map_err(broken)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(broken)?;
        let mut lines = answer.lines().filter_map(|line| line.split_once(": "));
        let location = lines.find(|(name, _)| name.eq_ignore_ascii_case("location"));
        let (_, location) = location.ok_or_else(|| {
            Error::new(ErrorKind::InvalidOutput, "test.authorize", "the browser was sent nowhere")
        })?;
        Ok(location.to_owned())
    }
}

/// The tools that the suite calls, as far as a server of tools has them.
fn tools() -> Result<ToolRegistry> {
    let mut tools = ToolRegistry::new();
    let image = json!({"type": "image", "data": PNG, "mimeType": "image/png"});
    let resource = |uri: &str, kind: &str, text: &str| json!({"type": "resource", "resource": {"uri": uri, "mimeType": kind, "text": text}});
    let fixed = [
        ("test_simple_text", json!("This is a simple text response for testing.")),
        ("test_image_content", image.clone()),
        ("test_audio_content", json!({"type": "audio", "data": WAV, "mimeType": "audio/wav"})),
        (
            "test_embedded_resource",
            resource("test://embedded-resource", "text/plain", "This is an embedded resource content."),
        ),
        (
            "test_multiple_content_types",
            json!([
                "Multiple content types test:",
                image,
                resource(
                    "test://mixed-content-resource",
                    "application/json",
                    "{\"test\":\"data\",\"value\":123}"
                ),
            ]),
        ),
    ];
    for (name, value) in fixed {
        let spec = ToolSpec::new(name, "Gives what the suite expects.", Schema::any_object());
        let tool = FunctionTool::new(spec, move |_ctx, _arguments| {
            let value = value.clone();
            async move { Ok(value) }
        });
        tools.register(tool.with_effects(Effects::Read))?;
    }
    let spec = ToolSpec::new("test_error_handling", "Fails.", Schema::any_object());
    tools.register(FunctionTool::new(spec, async |_ctx, _arguments| {
        Err(Error::new(
            ErrorKind::Callback,
            "test.fail",
            "This tool intentionally returns an error for testing",
        ))
    }))?;
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": {"type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}},
        "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
        "additionalProperties": false,
    });
    let spec = ToolSpec::new(
        "json_schema_2020_12_tool",
        "Tool with JSON Schema 2020-12 features",
        Schema::new(schema)?,
    );
    tools.register(FunctionTool::new(spec, async |_ctx, arguments| Ok(arguments)))?;
    Ok(tools)
}

/// A server on a free port of this machine.
pub(crate) async fn listen(ctx: &Context) -> Result<McpListener> {
    let server = McpServer::new("raptorflow-tests", tools()?);
    server.serve_http(ctx, ([127, 0, 0, 1], 0).into(), McpHttpConfig::default()).await
}
