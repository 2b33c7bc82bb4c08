//! MCP against the conformance suite of its makers, and against servers and a client that others wrote.
//!
//! `cargo xtask test` installs them and names their folder in `RAPTORFLOW_MCP_SUITE`; without it the trials are ignored.

use std::{
    collections::{BTreeMap, HashMap},
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use libtest_mimic::{Completion, Failed, Trial};
use raptorflow_core::{
    runtime::{Context, Runtime},
    security::Secret,
    tool::mcp::{McpBuilder, McpClient, McpState},
};
use serde_json::{Map, Value, json};

use crate::{
    backends::block_on,
    mcp_peer::{CLIENT, SERVER, listen},
};

/// The name in `RAPTORFLOW_REQUIRE`.
pub(crate) const NAME: &str = "mcp-suite";
/// The variable that names the folder with the suite, its Node and the servers.
const FOLDER: &str = "RAPTORFLOW_MCP_SUITE";

/// Everything in the suite's core for clients.
const CLIENT_CORE: [&str; 18] = [
    "initialize",
    "tools_call",
    "elicitation-sep1034-client-defaults",
    "sse-retry",
    "auth/metadata-default",
    "auth/metadata-var1",
    "auth/metadata-var2",
    "auth/metadata-var3",
    "auth/basic-cimd",
    "auth/scope-from-www-authenticate",
    "auth/scope-from-scopes-supported",
    "auth/scope-omitted-when-undefined",
    "auth/scope-step-up",
    "auth/scope-retry-limit",
    "auth/token-endpoint-auth-basic",
    "auth/token-endpoint-auth-post",
    "auth/token-endpoint-auth-none",
    "auth/pre-registration",
];
/// What the suite asks of a server of tools; the rest is about resources, prompts, logging, and tools that ask back.
const SERVER_OF_TOOLS: [&str; 12] = [
    "server-initialize",
    "ping",
    "tools-list",
    "tools-call-simple-text",
    "tools-call-image",
    "tools-call-audio",
    "tools-call-embedded-resource",
    "tools-call-mixed-content",
    "tools-call-error",
    "json-schema-2020-12",
    "server-sse-multiple-streams",
    "dns-rebinding-protection",
];

pub(crate) fn trials(required: &str) -> Vec<Trial> {
    let must = required.split(',').any(|name| name.trim() == NAME);
    let trial = |name: String, run: Box<dyn Fn(&Path) + Send>| {
        Trial::ignorable_test(name, move || check(must, run.as_ref()))
    };
    let clients = CLIENT_CORE.into_iter().map(|scenario| {
        let name = format!("mcp::client::{}", scenario.replace(['-', '/'], "_"));
        let run = move |folder: &Path| match scenario {
            RETRIES => retries_after_the_pause(folder),
            _ => passed(client_suite(folder), scenario),
        };
        trial(name, Box::new(run))
    });
    let servers = SERVER_OF_TOOLS.into_iter().map(|scenario| {
        let name = format!("mcp::server::{}", scenario.replace('-', "_"));
        trial(name, Box::new(move |folder| passed(server_suite(folder), scenario)))
    });
    let other = |name: &str, run: fn(&Path)| trial(format!("mcp::third_party::{name}"), Box::new(run));
    let others = [
        other("everything_over_stdio", everything_over_stdio),
        other("everything_over_http", everything_over_http),
        other("python_server", python_server),
        other("python_client", python_client),
    ];
    clients.chain(servers).chain(others).collect()
}

fn check(must: bool, run: &dyn Fn(&Path)) -> Result<Completion, Failed> {
    match env::var_os(FOLDER).map(PathBuf::from) {
        Some(folder) if folder.is_dir() => {
            run(&folder);
            Ok(Completion::Completed)
        }
        _ if must => Err(format!("required, but absent: {FOLDER} names no folder").into()),
        _ => Ok(Completion::ignored_with(format!("{FOLDER} is not set"))),
    }
}

/// What the suite said of each scenario: a line `✓ name: 3 passed, 0 failed`.
type Report = HashMap<String, String>;

fn passed(report: &Report, scenario: &str) {
    let line = report.get(scenario).expect("the suite runs the scenario");
    assert!(line.starts_with('✓') && !line.contains(": 0 passed"), "{line}");
}

/// The scenario that takes the time.
const RETRIES: &str = "sse-retry";
/// How often it may say that it saw something else.
const MAX_READINGS: usize = 10;

/// One clean reading counts. A client that waits too short or too long never gives one; a busy machine spoils
/// some: the suite takes any GET for the one that it times, also the stream for the server's own messages where
/// that is opened late.
fn retries_after_the_pause(folder: &Path) {
    let mut said = Vec::new();
    for _ in 0..MAX_READINGS {
        let results = tempfile::tempdir().unwrap();
        let command = as_a_client();
        run_suite(folder, results.path(), &["client", "--scenario", RETRIES, "--command", &command]);
        let checks = checks(results.path());
        assert!(checks.iter().any(|check| check["id"] == "client-sse-retry-timing"), "{checks:?}");
        let is_spoiled = |check: &Value| check["status"] == "FAILURE" || check["status"] == "WARNING";
        said = checks.into_iter().filter(is_spoiled).collect();
        if said.is_empty() {
            return;
        }
    }
    assert!(said.is_empty(), "{said:#?}");
}

/// What the suite wrote of its one scenario.
fn checks(results: &Path) -> Vec<Value> {
    let folder = fs::read_dir(results).unwrap().next().expect("the suite writes its checks").unwrap();
    serde_json::from_slice(&fs::read(folder.path().join("checks.json")).unwrap()).unwrap()
}

fn as_a_client() -> String {
    format!("{} {CLIENT}", env::current_exe().unwrap().to_str().unwrap())
}

fn client_suite(folder: &Path) -> &'static Report {
    static REPORT: OnceLock<Report> = OnceLock::new();
    REPORT.get_or_init(|| suite(folder, &["client", "--suite", "core", "--command", &as_a_client()]))
}

fn server_suite(folder: &Path) -> &'static Report {
    static REPORT: OnceLock<Report> = OnceLock::new();
    REPORT.get_or_init(|| {
        block_on(async {
            let listener = listen(&ctx()).await.unwrap();
            let address = format!("http://{}/mcp", listener.address());
            let folder = folder.to_owned();
            let suite = tokio::task::spawn_blocking(move || {
                suite(&folder, &["server", "--suite", "all", "--url", &address])
            });
            let report = suite.await.unwrap();
            listener.close().await;
            report
        })
    })
}

fn suite(folder: &Path, arguments: &[&str]) -> Report {
    let results = tempfile::tempdir().unwrap();
    let text = run_suite(folder, results.path(), arguments);
    let lines = text.lines().filter(|line| line.starts_with(['✓', '✗']));
    let named = lines.filter_map(|line| {
        let name = line.trim_start_matches(['✓', '✗', ' ']).split_once(": ")?.0;
        Some((name.to_owned(), line.to_owned()))
    });
    let report: Report = named.collect();
    assert!(!report.is_empty(), "the suite said nothing: {text}");
    report
}

fn run_suite(folder: &Path, results: &Path, arguments: &[&str]) -> String {
    let script = folder.join("node_modules/@modelcontextprotocol/conformance/dist/index.js");
    let output = node(folder)
        .arg(script)
        .args(arguments)
        .arg("--output-dir")
        .arg(results)
        .stdin(Stdio::null())
        .output()
        .expect("Node starts");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn node(folder: &Path) -> Command {
    Command::new(folder.join("node_modules/node/bin/node"))
}

fn ctx() -> Context {
    Context::new(&Runtime::current().unwrap())
}

const NONE: [(&str, Secret); 0] = [];

fn everything_over_stdio(folder: &Path) {
    let script = folder.join("node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    let node = folder.join("node_modules/node/bin/node");
    let arguments = [script.to_str().unwrap(), "stdio"];
    block_on(everything(McpClient::stdio(node.to_str().unwrap(), arguments, NONE)));
}

fn everything_over_http(folder: &Path) {
    // The server takes a port by its number; a free one of a moment ago will do.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let script = folder.join("node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    let mut server = node(folder)
        .arg(script)
        .arg("streamableHttp")
        .env("PORT", port.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("Node starts");
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(server.try_wait().unwrap().is_none(), "the server ended");
        std::thread::yield_now();
    }
    block_on(everything(McpClient::http(format!("http://127.0.0.1:{port}/mcp"))));
    server.kill().unwrap();
    server.wait().unwrap();
}

/// Uses what the reference server has of everything.
async fn everything(builder: McpBuilder) {
    let ctx = ctx();
    let client = builder.prefix("every_").connect(&ctx).await.unwrap();
    assert_eq!(client.state(), McpState::Open);
    assert!(client.skipped().is_empty(), "{:?}", client.skipped());
    let tools: BTreeMap<String, _> =
        client.tools().into_iter().map(|tool| (tool.spec().name.clone(), tool)).collect();
    let echo = tools["every_echo"].call(&ctx, json!({"message": "hi"})).await.unwrap();
    assert_eq!(echo, json!("Echo: hi"));
    let image = tools["every_get-tiny-image"].call(&ctx, json!({})).await.unwrap();
    let parts = image.as_array().unwrap();
    assert!(parts.iter().any(|part| part["type"] == "image"), "{image}");
    let resources = client.resources(&ctx).await.unwrap();
    let first = resources[0]["uri"].as_str().unwrap();
    assert!(!client.read_resource(&ctx, first).await.unwrap().is_empty());
    assert!(!client.resource_templates(&ctx).await.unwrap().is_empty());
    let prompts = client.prompts(&ctx).await.unwrap();
    let simple = prompts.iter().find(|prompt| prompt["arguments"].as_array().is_none_or(Vec::is_empty));
    let name = simple.unwrap()["name"].as_str().unwrap();
    assert!(!client.prompt(&ctx, name, Map::new()).await.unwrap().is_empty());
    client.close().await;
    assert_eq!(client.state(), McpState::Closed);
}

fn script(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("third_party").join(name);
    path.to_str().unwrap().to_owned()
}

fn python_server(folder: &Path) {
    let packages = folder.join("python");
    let env = [("PYTHONPATH", Secret::new(packages.to_str().unwrap()))];
    block_on(async {
        let ctx = ctx();
        let client = McpClient::stdio("python3", [script("mcp/server.py")], env).connect(&ctx).await.unwrap();
        let tools = client.tools();
        let add = tools.iter().find(|tool| tool.spec().name == "add").unwrap();
        assert_eq!(add.call(&ctx, json!({"a": 2, "b": 3})).await.unwrap(), json!({"result": 5}));
        let fail = tools.iter().find(|tool| tool.spec().name == "fail").unwrap();
        let err = fail.call(&ctx, json!({})).await.unwrap_err();
        assert!(err.get("reason").unwrap().contains("not today"), "{err}");
        assert_eq!(client.read_resource(&ctx, "note://a").await.unwrap()[0]["text"], "note a");
        client.close().await;
    });
}

fn python_client(folder: &Path) {
    let output = Command::new("python3")
        .args([
            script("mcp/client.py"),
            env::current_exe().unwrap().to_str().unwrap().to_owned(),
            SERVER.to_owned(),
        ])
        .env("PYTHONPATH", folder.join("python"))
        .stdin(Stdio::null())
        .output()
        .expect("Python starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    let seen: Value = serde_json::from_slice(&output.stdout).expect(&errors);
    assert_eq!(seen["tools"], 7);
    assert_eq!(seen["text"], "This is a simple text response for testing.");
    assert_eq!(seen["failed"], true);
}
