//! MCP over processes and over HTTP: what a server sees of us, what is left of it, and who may speak to ours.

use std::collections::BTreeMap;

use raptorflow_core::{
    ErrorKind,
    runtime::{Context, Runtime},
    security::Secret,
    tool::{
        FunctionTool, ToolRegistry,
        mcp::{McpClient, McpHttpConfig, McpListener, McpServer, McpState},
    },
    types::{Schema, ToolSpec},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

fn ctx() -> Context {
    Context::new(&Runtime::current().unwrap())
}

const NONE: [(&str, Secret); 0] = [];

/// A server in shell that greets with `instructions`, lists no tools, and then does `rest`.
fn shell(instructions: &str, rest: &str) -> String {
    format!(
        r#"read line; printf '{{"jsonrpc":"2.0","id":0,"result":{{"protocolVersion":"2025-06-18","capabilities":{{}},"serverInfo":{{"name":"sh","version":"1"}},"instructions":"%s"}}}}\n' "{instructions}"; {rest}"#
    )
}

#[tokio::test]
async fn a_process_sees_what_it_is_given_and_little_else() {
    // Cargo gives this one to every test.
    assert!(std::env::var("CARGO_MANIFEST_DIR").is_ok());
    let script = shell("$(env | cut -d= -f1 | sort | tr '\\n' ' ')", "cat > /dev/null");
    let ctx = ctx();
    let given = [("GIVEN", Secret::new("value-of-it"))];
    let client = McpClient::stdio("sh", ["-c", &script], given).connect(&ctx).await.unwrap();
    let seen = client.server().instructions.unwrap();
    let names: Vec<_> = seen.split_whitespace().collect();
    assert!(names.contains(&"GIVEN") && names.contains(&"PATH"), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("CARGO") || name.starts_with("RUST")), "{names:?}");
    client.close().await;
    assert_eq!(client.state(), McpState::Closed);
}

#[tokio::test]
async fn a_process_is_killed_with_all_that_it_started() {
    let script = shell("$$", "sleep 1000 & sleep 1000");
    let ctx = ctx();
    let mut builder = McpClient::stdio("sh", ["-c", &script], NONE);
    let mut config = raptorflow_core::tool::mcp::McpConfig::default();
    config.close_timeout = std::time::Duration::from_millis(1);
    builder = builder.config(config);
    let client = builder.connect(&ctx).await.unwrap();
    let group = client.server().instructions.unwrap();
    assert!(lives(&group).await, "{group}");
    client.close().await;
    assert!(!lives(&group).await, "{group}");
}

/// Whether a group has a process that is more than a corpse.
async fn lives(group: &str) -> bool {
    let output = std::process::Command::new("ps").args(["-eo", "pgid=,stat="]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter_map(|line| line.trim().split_once(' '))
        .any(|(pgid, state)| pgid == group && !state.trim().starts_with('Z'))
}

#[tokio::test]
async fn a_process_that_ends_tells_its_status() {
    let ctx = ctx();
    let err = McpClient::stdio("sh", ["-c", "exit 3"], NONE).connect(&ctx).await.unwrap_err();
    assert_eq!((err.kind(), err.get("server")), (ErrorKind::Unavailable, Some("sh")), "{err}");
    assert!(err.get("status").unwrap().contains('3'), "{err}");
    let err = McpClient::stdio("/no/such/program", ["x"], NONE).connect(&ctx).await.unwrap_err();
    assert_eq!((err.kind(), err.get("command")), (ErrorKind::Unavailable, Some("/no/such/program")));
}

async fn listening(ctx: &Context, config: McpHttpConfig) -> McpListener {
    let mut tools = ToolRegistry::new();
    let spec = ToolSpec::new("echo", "Returns what it was given.", Schema::any_object());
    tools.register(FunctionTool::new(spec, async |_ctx, arguments| Ok(arguments))).unwrap();
    McpServer::new("test", tools).serve_http(ctx, ([127, 0, 0, 1], 0).into(), config).await.unwrap()
}

#[tokio::test]
async fn tools_are_called_over_http() {
    let ctx = ctx();
    let listener = listening(&ctx, McpHttpConfig::default()).await;
    let address = format!("http://{}/mcp", listener.address());
    let client = McpClient::http(&address).connect(&ctx).await.unwrap();
    let echo = client.tools().remove(0);
    assert_eq!(echo.call(&ctx, json!({"a": [1]})).await.unwrap(), json!({"a": [1]}));
    client.close().await;
    listener.close().await;
    let err = McpClient::http(&address).connect(&ctx).await.unwrap_err();
    assert_eq!((err.kind(), err.get("server")), (ErrorKind::Unavailable, Some("127.0.0.1")), "{err}");
}

/// The status of a handshake with these headers.
async fn status(listener: &McpListener, headers: &str) -> String {
    let info = json!({"name": "raw", "version": "1"});
    let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).to_string();
    let mut stream = TcpStream::connect(listener.address()).await.unwrap();
    let request = format!(
        "POST /mcp HTTP/1.1\r\n{headers}accept: application/json, text/event-stream\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[9..]).into_owned()
}

#[tokio::test]
async fn pages_and_names_from_elsewhere_are_refused() {
    let ctx = ctx();
    let mut config = McpHttpConfig::default();
    config.max_sessions = 2;
    let listener = listening(&ctx, config).await;
    for (headers, expected) in [
        ("host: evil.example.com\r\n", "403"),
        ("host: localhost\r\norigin: http://evil.example.com\r\n", "403"),
        ("host: localhost\r\norigin: null\r\n", "403"),
        ("host: localhost\r\norigin: http://localhost:6274\r\n", "200"),
        ("host: 127.0.0.1:9\r\n", "200"),
        ("host: localhost\r\n", "503"),
    ] {
        assert_eq!(status(&listener, headers).await, expected, "{headers}");
    }
    let server = McpServer::new("test", ToolRegistry::new());
    let err = server.serve_http(&ctx, ([0, 0, 0, 0], 0).into(), McpHttpConfig::default()).await.unwrap_err();
    assert_eq!((err.kind(), err.get("address")), (ErrorKind::InvalidInput, Some("0.0.0.0:0")));
}

/// A host that answers every request the same, and the headers of each request that it saw.
async fn host(answer: String) -> (std::net::SocketAddr, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, seen) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 8192];
            let count = stream.read(&mut request).await.unwrap_or(0);
            let _ = tell.send(String::from_utf8_lossy(&request[..count]).to_lowercase());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (address, seen)
}

#[tokio::test]
async fn a_redirect_takes_no_credentials_elsewhere() {
    let (elsewhere, mut stolen) = host("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
    let moved = format!(
        "HTTP/1.1 307 Moved\r\nlocation: http://{elsewhere}/mcp\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    let (address, mut seen) = host(moved).await;
    let ctx = ctx();
    let builder = McpClient::http(format!("http://{address}/mcp?key=sk-1"));
    let err = builder.bearer(&Secret::new("tok-1")).connect(&ctx).await.unwrap_err();
    assert_eq!((err.kind(), err.message()), (ErrorKind::Unsupported, "the server redirects elsewhere"));
    assert!(!format!("{err:#} {err:?}").contains("sk-1"), "{err:#}");
    assert!(seen.recv().await.unwrap().contains("authorization: bearer tok-1"));
    assert!(stolen.try_recv().is_err());
}

#[tokio::test]
async fn refusals_have_their_kinds() {
    let ctx = ctx();
    let kinds: BTreeMap<u16, ErrorKind> = BTreeMap::from([
        (400, ErrorKind::InvalidOutput),
        (401, ErrorKind::Unauthenticated),
        (403, ErrorKind::PermissionDenied),
        (404, ErrorKind::NotFound),
        (429, ErrorKind::RateLimited),
        (503, ErrorKind::Unavailable),
    ]);
    for (status, kind) in kinds {
        let (address, _seen) =
            host(format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")).await;
        let err = McpClient::http(format!("http://{address}/")).connect(&ctx).await.unwrap_err();
        assert_eq!(err.kind(), kind, "{err:#}");
    }
    let (address, _seen) = host("SSH-2.0-OpenSSH_9.6\r\n".to_owned()).await;
    let err = McpClient::http(format!("http://{address}/")).connect(&ctx).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Unavailable, "{err:#}");
}
