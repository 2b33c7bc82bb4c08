//! Tools over MCP: sessions with servers of our own and with scripted ones that misbehave.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use raptorflow_core::{
    Error, ErrorKind, Result,
    agent::AgentBuilder,
    runtime::{Context, Runtime, Task},
    testing::{Reply, ScriptedModel},
    tool::{
        FunctionTool, Tool, ToolRegistry,
        mcp::{
            McpAnswer, McpBuilder, McpClient, McpConfig, McpHandler, McpOffers, McpProgress, McpQuestion,
            McpServer, McpState,
        },
    },
    types::{Effects, Schema, ToolSpec},
};
use serde_json::{Value, json};
use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf,
        duplex, split,
    },
    sync::Notify,
};

use crate::support::{agent, calls, engine, settle, standing_still};

fn ctx() -> Context {
    Context::new(&Runtime::current().unwrap())
}

fn registry(tools: impl IntoIterator<Item = FunctionTool>) -> ToolRegistry {
    let mut registry = ToolRegistry::new();
    for tool in tools {
        registry.register(tool).unwrap();
    }
    registry
}

fn tool<F, Fut>(name: &str, effects: Effects, work: F) -> FunctionTool
where
    F: Fn(Context, Value) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value>> + Send + 'static,
{
    FunctionTool::new(ToolSpec::new(name, "Does something.", Schema::any_object()), work)
        .with_effects(effects)
}

/// A client of a server of ours with these tools.
async fn served(ctx: &Context, tools: ToolRegistry) -> (McpClient, Task<Result<()>>) {
    let (ours, theirs) = duplex(64 * 1024);
    let (reader, writer) = split(theirs);
    let server = {
        let ctx = ctx.clone();
        async move { McpServer::new("test", tools).serve(&ctx, reader, writer).await }
    };
    let server = ctx.runtime().tasks().spawn("server", server);
    let (reader, writer) = split(ours);
    (McpClient::stream(reader, writer).prefix("t_").connect(ctx).await.unwrap(), server)
}

fn find(client: &McpClient, name: &str) -> Arc<dyn Tool> {
    client.tools().into_iter().find(|tool| tool.spec().name == name).unwrap()
}

/// The server's end of a session, written by hand.
struct Script {
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    writer: WriteHalf<DuplexStream>,
}

impl Script {
    fn new() -> (McpBuilder, Self) {
        let (ours, theirs) = duplex(1024 * 1024);
        let (reader, writer) = split(theirs);
        let script = Self { lines: BufReader::new(reader).lines(), writer };
        let (reader, writer) = split(ours);
        (McpClient::stream(reader, writer), script)
    }

    async fn read(&mut self) -> Value {
        serde_json::from_str(&self.lines.next_line().await.unwrap().unwrap()).unwrap()
    }

    async fn write(&mut self, line: &str) {
        self.writer.write_all(line.as_bytes()).await.unwrap();
        self.writer.write_all(b"\n").await.unwrap();
    }

    async fn send(&mut self, message: Value) {
        self.write(&message.to_string()).await;
    }

    /// Reads until a request of this method, and gives its id and parameters.
    async fn asked(&mut self, method: &str) -> (Value, Value) {
        loop {
            let message = self.read().await;
            if message["method"] == method {
                return (message["id"].clone(), message["params"].clone());
            }
        }
    }

    async fn answer(&mut self, id: Value, result: Value) {
        self.send(json!({"jsonrpc": "2.0", "id": id, "result": result})).await;
    }

    async fn greets(&mut self) {
        let (id, _) = self.asked("initialize").await;
        let capabilities = json!({"tools": {"listChanged": true}});
        let info = json!({"name": "script", "version": "1"});
        let result =
            json!({"protocolVersion": "2025-06-18", "capabilities": capabilities, "serverInfo": info});
        self.answer(id, result).await;
    }

    async fn lists(&mut self, names: &[&str]) {
        let (id, _) = self.asked("tools/list").await;
        let tools: Vec<Value> =
            names.iter().map(|name| json!({"name": name, "inputSchema": {"type": "object"}})).collect();
        self.answer(id, json!({ "tools": tools })).await;
    }

    /// A session whose server has greeted and listed one tool.
    async fn open(ctx: &Context, change: impl FnOnce(McpBuilder) -> McpBuilder) -> (McpClient, Self) {
        let (builder, mut script) = Self::new();
        let (client, ()) = tokio::join!(change(builder).connect(ctx), async {
            script.greets().await;
            script.lists(&["wait"]).await;
        });
        (client.unwrap(), script)
    }
}

#[tokio::test]
async fn an_agent_uses_the_tools_of_a_server() {
    let echo = tool("echo", Effects::Read, async |_ctx, arguments| Ok(arguments));
    let (client, _server) = served(&ctx(), registry([echo])).await;
    let call = calls(&[("1", "t_echo", json!({"a": 1}))]);
    let script = ScriptedModel::new([call, Reply::text("done")]);
    let engine = engine(&script).await;
    let builder = client.tools().into_iter().fold(agent("user"), AgentBuilder::shared_tool);
    engine.register(builder.build().unwrap()).unwrap();
    let outcome = engine.run("user", "Echo.").await.unwrap();
    assert_eq!(outcome.text(), "done");
    let told = format!("{:?}", script.requests().last().unwrap().messages);
    assert!(told.contains("\"a\": Number(1)"), "{told}");
}

#[tokio::test]
async fn effects_and_schemas_cross_the_wire() {
    let spec = |name: &str| {
        let schema = json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}});
        ToolSpec::new(name, "Counts.", Schema::new(schema).unwrap())
    };
    let all = [Effects::Read, Effects::Write, Effects::External];
    let named = all.map(|effects| {
        let name = format!("{effects:?}");
        FunctionTool::new(spec(&name), async |_ctx, arguments| Ok(arguments)).with_effects(effects)
    });
    let ctx = ctx();
    let (client, _server) = served(&ctx, registry(named)).await;
    let seen: Vec<_> = client.tools().iter().map(|tool| tool.spec().effects).collect();
    assert_eq!(seen, all);
    let read = find(&client, "t_Read");
    assert_eq!(read.spec().parameters.as_value()["required"], json!(["n"]));
    assert_eq!(read.call(&ctx, json!({"n": 1})).await.unwrap(), json!({"n": 1}));
    let err = read.call(&ctx, json!({"n": "one"})).await.unwrap_err();
    assert_eq!((err.kind(), err.get("tool")), (ErrorKind::Callback, Some("Read")));
    assert!(err.get("reason").unwrap().contains("/n"), "{err}");
}

#[tokio::test]
async fn long_lists_are_read_page_by_page() {
    let many =
        (0..250).map(|n| tool(&format!("tool_{n}"), Effects::Read, async |_ctx, arguments| Ok(arguments)));
    let (client, _server) = served(&ctx(), registry(many)).await;
    let names: Vec<_> = client.tools().iter().map(|tool| tool.spec().name.clone()).collect();
    assert_eq!((names.len(), names[249].as_str()), (250, "t_tool_249"));
}

#[tokio::test]
async fn a_server_runs_reads_together_and_writes_alone() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new([0_usize; 2])));
    let counting = |name: &str, place: usize, effects| {
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        tool(name, effects, move |_ctx, _arguments| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            async move {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                {
                    let mut seen = most.lock().unwrap();
                    seen[place] = seen[place].max(now);
                }
                settle().await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(Value::Null)
            }
        })
    };
    let ctx = ctx();
    let tools = registry([counting("read", 0, Effects::Read), counting("write", 1, Effects::Write)]);
    let (client, _server) = served(&ctx, tools).await;
    for name in ["t_read", "t_write"] {
        let tool = find(&client, name);
        let many = (0..4).map(|_| tool.call(&ctx, json!({})));
        futures_util::future::try_join_all(many).await.unwrap();
    }
    assert_eq!(*most.lock().unwrap(), [4, 1]);
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_cancelled_on_both_sides() {
    /// Says when it is dropped.
    struct Dropped(Arc<Notify>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let (begun, dropped) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, drops) = (Arc::clone(&begun), Arc::clone(&dropped));
    let hang = tool("hang", Effects::Read, move |_ctx, _arguments| {
        let (begins, guard) = (Arc::clone(&begins), Dropped(Arc::clone(&drops)));
        async move {
            begins.notify_one();
            std::future::pending::<()>().await;
            drop(guard);
            Ok(Value::Null)
        }
    });
    let ctx = ctx();
    let (client, _server) = served(&ctx, registry([hang])).await;
    let hang = find(&client, "t_hang");
    tokio::select! {
        answer = hang.call(&ctx, json!({})) => unreachable!("{answer:?}"),
        () = begun.notified() => {}
    }
    dropped.notified().await;
    assert_eq!(client.state(), McpState::Open);
}

#[tokio::test]
async fn a_call_that_takes_too_long_times_out_and_the_server_is_told() {
    let (clock, runtime) = standing_still();
    let ctx = Context::new(&runtime);
    let mut config = McpConfig::default();
    config.call_timeout = Duration::from_secs(5);
    let (client, mut script) = Script::open(&ctx, |builder| builder.config(config)).await;
    let wait = find(&client, "wait");
    let call = async { wait.call(&ctx, json!({})).await.unwrap_err() };
    let (err, (asked, told)) = tokio::join!(call, async {
        let (id, params) = script.asked("tools/call").await;
        assert_eq!(params["name"], "wait");
        clock.advance(Duration::from_secs(6));
        (id, script.asked("notifications/cancelled").await.1)
    });
    assert_eq!(err.kind(), ErrorKind::Timeout);
    assert_eq!(told["requestId"], asked);
}

#[tokio::test]
async fn a_server_that_hangs_up_fails_every_call_that_waits_and_all_later_ones() {
    let ctx = ctx();
    let (client, mut script) = Script::open(&ctx, |builder| builder).await;
    let wait = find(&client, "wait");
    let calls = futures_util::future::join_all((0..3).map(|_| wait.call(&ctx, json!({}))));
    let (answers, ()) = tokio::join!(calls, async {
        for _ in 0..3 {
            script.asked("tools/call").await;
        }
        drop(script);
    });
    for answer in answers {
        let err = answer.unwrap_err();
        assert_eq!((err.kind(), err.get("server")), (ErrorKind::Unavailable, Some("stream")), "{err}");
    }
    assert_eq!(client.state(), McpState::Closed);
    let err = wait.call(&ctx, json!({})).await.unwrap_err();
    assert_eq!((err.kind(), err.message()), (ErrorKind::Unavailable, "the server closed the connection"));
    client.close().await;
}

#[tokio::test]
async fn a_line_that_is_no_json_or_too_long_is_skipped() {
    let ctx = ctx();
    let mut config = McpConfig::default();
    config.max_message_bytes = 10_000;
    let (client, mut script) = Script::open(&ctx, |builder| builder.config(config)).await;
    let wait = find(&client, "wait");
    let (answer, ()) = tokio::join!(wait.call(&ctx, json!({})), async {
        let (id, _) = script.asked("tools/call").await;
        script.write("Listening on nothing at all!").await;
        script.write(&"x".repeat(100_000)).await;
        script.answer(id, json!({"content": [{"type": "text", "text": "fine"}]})).await;
    });
    assert_eq!(answer.unwrap(), json!("fine"));
}

#[tokio::test]
async fn a_server_that_speaks_no_mcp_is_an_error() {
    let ctx = ctx();
    let (builder, mut script) = Script::new();
    let (client, ()) = tokio::join!(builder.connect(&ctx), async {
        script.read().await;
        script.write("220 mail.example.com ESMTP").await;
        drop(script);
    });
    assert_eq!(client.unwrap_err().kind(), ErrorKind::Unavailable);
    let (builder, mut script) = Script::new();
    let (client, ()) = tokio::join!(builder.connect(&ctx), async {
        let (id, _) = script.asked("initialize").await;
        script.answer(id, json!({"protocolVersion": "2025-06-18"})).await;
        script.lines.next_line().await.unwrap();
    });
    assert_eq!(client.unwrap_err().kind(), ErrorKind::InvalidOutput);
}

#[tokio::test]
async fn a_list_that_goes_in_circles_is_an_error() {
    let ctx = ctx();
    let (builder, mut script) = Script::new();
    let (client, ()) = tokio::join!(builder.connect(&ctx), async {
        script.greets().await;
        for _ in 0..2 {
            let (id, _) = script.asked("tools/list").await;
            script.answer(id, json!({"tools": [], "nextCursor": "again"})).await;
        }
    });
    let err = client.unwrap_err();
    assert_eq!((err.kind(), err.get("list")), (ErrorKind::InvalidOutput, Some("tools")));
}

#[tokio::test]
async fn of_two_tools_of_one_name_the_second_is_left_out_and_named() {
    let ctx = ctx();
    let (builder, mut script) = Script::new();
    let (client, ()) = tokio::join!(builder.connect(&ctx), async {
        script.greets().await;
        script.lists(&["a", "b", "a"]).await;
    });
    let client = client.unwrap();
    assert_eq!(client.tools().len(), 2);
    assert_eq!(client.skipped().iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(), ["a"]);
}

#[tokio::test]
async fn a_list_that_changes_is_read_again() {
    let ctx = ctx();
    let (client, mut script) = Script::open(&ctx, |builder| builder).await;
    let (changed, ()) = tokio::join!(client.changed(), async {
        script.send(json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})).await;
        script.lists(&["wait", "new"]).await;
    });
    assert!(changed);
    assert_eq!(client.tools().len(), 2);
    let (refreshed, ()) = tokio::join!(client.refresh(&ctx), script.lists(&["only"]));
    refreshed.unwrap();
    assert_eq!(client.tools()[0].spec().name, "only");
}

/// Answers forms with a name and notes how far calls are.
#[derive(Debug, Default, Clone)]
struct User(Arc<Mutex<Vec<McpProgress>>>);

#[async_trait]
impl McpHandler for User {
    fn offers(&self) -> McpOffers {
        McpOffers { elicitation: true, sampling: true, ..McpOffers::default() }
    }

    async fn elicit(&self, question: McpQuestion) -> Result<McpAnswer> {
        match question {
            McpQuestion::Form { message, .. } if message == "wrong" => {
                Ok(McpAnswer::Accept(json!({"age": "old"})))
            }
            McpQuestion::Form { .. } => Ok(McpAnswer::Accept(json!({"age": 3}))),
            McpQuestion::Visit { .. } => Ok(McpAnswer::Decline),
        }
    }

    async fn sample(&self, request: Value) -> Result<Value> {
        match request["maxTokens"].as_u64() {
            Some(1) => Err(Error::new(ErrorKind::RateLimited, "test.sample", "the key sk-1 is used up")),
            _ => Ok(json!({"model": "m", "role": "assistant", "content": {"type": "text", "text": "hi"}})),
        }
    }

    fn progress(&self, progress: &McpProgress) {
        self.0.lock().unwrap().push(progress.clone());
    }
}

#[tokio::test]
async fn a_server_asks_the_user_and_a_model_and_learns_no_more_than_the_answer() {
    let ctx = ctx();
    let (_client, mut script) = Script::open(&ctx, |builder| builder.handler(User::default())).await;
    let form = |message: &str| {
        let schema = json!({"type": "object", "properties": {
            "age": {"type": "integer"}, "name": {"type": "string", "default": "Ada"}}});
        json!({"message": message, "requestedSchema": schema})
    };
    let sample = |tokens: u64| json!({"maxTokens": tokens, "messages": []});
    for (method, params, expected) in [
        ("elicitation/create", form("right"), Ok(json!({"age": 3, "name": "Ada"}))),
        ("elicitation/create", form("wrong"), Err("invalid_output")),
        ("sampling/createMessage", sample(9), Ok(json!("hi"))),
        ("sampling/createMessage", sample(1), Err("rate_limited")),
        ("roots/list", json!({}), Err("not offered")),
    ] {
        script.send(json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})).await;
        let answer = loop {
            let message = script.read().await;
            if message["id"] == 7 && message.get("method").is_none() {
                break message;
            }
        };
        match expected {
            Ok(value) if method == "elicitation/create" => assert_eq!(answer["result"]["content"], value),
            Ok(value) => assert_eq!(answer["result"]["content"]["text"], value, "{answer}"),
            Err(message) => assert_eq!(answer["error"]["message"], message, "{answer}"),
        }
    }
}

#[tokio::test]
async fn the_futures_of_a_client_leave_room_on_a_stack() {
    let ctx = ctx();
    let (client, _script) = Script::open(&ctx, |builder| builder).await;
    let sizes = [
        size_of_val(&McpClient::http("http://localhost/").connect(&ctx)),
        size_of_val(&client.resources(&ctx)),
        size_of_val(&client.read_resource(&ctx, "a")),
        size_of_val(&client.prompts(&ctx)),
        size_of_val(&client.prompt(&ctx, "a", serde_json::Map::new())),
    ];
    assert!(sizes.iter().all(|size| *size < 8 * 1024), "{sizes:?}");
}

#[tokio::test]
async fn progress_names_its_tool() {
    let ctx = ctx();
    let user = User::default();
    let (client, mut script) = Script::open(&ctx, |builder| builder.handler(user.clone())).await;
    let wait = find(&client, "wait");
    let (answer, ()) = tokio::join!(wait.call(&ctx, json!({})), async {
        let (id, params) = script.asked("tools/call").await;
        let token = &params["_meta"]["progressToken"];
        let told = json!({"progressToken": token, "progress": 1, "total": 2, "message": "half"});
        script.send(json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": told})).await;
        settle().await;
        script.answer(id, json!({"content": []})).await;
    });
    answer.unwrap();
    let seen = user.0.lock().unwrap().clone();
    assert_eq!((seen.len(), seen[0].tool.as_deref(), seen[0].total), (1, Some("wait"), Some(2.0)));
}
