//! The remote models against servers that others wrote: `mock-ai-api`, which speaks OpenAI's wire and Anthropic's, and
//! the `litellm` proxy before it, which translates between them.
//!
//! `cargo xtask test` installs the first and names its folder in `RAPTORFLOW_MOCK_AI_API`.
//! The second takes half a gigabyte: `cargo xtask third-party` installs it and names its Python in `RAPTORFLOW_LITELLM`.
//! Without them the trials are ignored.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, OnceLock},
};

use libtest_mimic::{Completion, Failed, Trial};
use raptorflow_core::{
    Agent, Engine, ErrorKind, Retry,
    model::{
        AnthropicConfig, AnthropicModel, ChatModel, ChatRequest, ChatResponse, ChatStream, EmbeddingConfig,
        FinishReason, HttpEmbeddingModel, Model, ModelInfo, OpenAiConfig, OpenAiModel, ReqwestClient,
    },
    rag::{Embedder as _, ModelEmbedder},
    runtime::{Context, Runtime},
    security::Secret,
    tool::FunctionTool,
    types::{Message, Role, Schema, ToolSpec},
};
use serde_json::{Value, json};

use crate::backends::block_on;

/// The names in `RAPTORFLOW_REQUIRE`.
pub(crate) const NAMES: [&str; 2] = ["mock-ai-api", "litellm"];
/// The variable that names the folder with the server's packages.
const FOLDER: &str = "RAPTORFLOW_MOCK_AI_API";
/// The variable that names a Python with the proxy.
const PROXY: &str = "RAPTORFLOW_LITELLM";

pub(crate) fn trials(required: &str) -> Vec<Trial> {
    let [mut trials, proxied] = NAMES.map(|server| {
        let must = required.split(',').any(|name| name.trim() == server);
        let (cases, shared): (_, fn() -> _) = match server {
            "litellm" => (proxied(), Server::proxy),
            _ => (direct(), Server::shared),
        };
        let trial = |(name, run)| {
            let name = format!("third_party::{}::{name}", server.replace('-', "_"));
            Trial::ignorable_test(name, move || check(shared(), must, run))
        };
        cases.into_iter().map(trial).collect::<Vec<_>>()
    });
    trials.extend(proxied);
    trials
}

type Run = fn(&Server);

fn direct() -> Vec<(&'static str, Run)> {
    let trial = |name: &'static str, run: Run| (name, run);
    vec![
        trial("openai_answers_in_text", |server| says(&server.openai("gpt-4.1:mock-text"))),
        trial("anthropic_answers_in_text", |server| {
            says(&server.anthropic("claude-sonnet-4-5:mock-anthropic-stream"));
        }),
        trial("openai_calls_a_tool_and_goes_on", |server| {
            chats(server.openai("gpt-4.1:mock-tool-stream"), server.openai("gpt-4.1:mock-text"));
        }),
        trial("anthropic_calls_a_tool_and_goes_on", |server| {
            let calls = server.anthropic("claude-sonnet-4-5:mock-tool-stream");
            chats(calls, server.anthropic("claude-sonnet-4-5:mock-text"));
        }),
        trial("refusals_have_their_kinds_on_both_wires", refuses),
        trial("an_error_in_a_stream_is_one", |server| {
            let model = server.anthropic("claude-sonnet-4-5:mock-stream-error");
            let err = block_on(ask(&model, &question())).unwrap_err();
            assert_eq!((err.kind(), err.retry()), (ErrorKind::Unavailable, Retry::Soon), "{err}");
        }),
        trial("openai_embeds", embeds),
    ]
}

/// Each wire with models of both, so that the proxy translates too.
fn proxied() -> Vec<(&'static str, Run)> {
    let trial = |name: &'static str, run: Run| (name, run);
    vec![
        trial("openai_answers_in_text", |server| {
            let answer = block_on(ask(&server.openai("mocked"), &question())).unwrap();
            assert_eq!((answer.message.text().as_str(), answer.finish), ("It is true.", FinishReason::Stop));
        }),
        trial("openai_calls_a_tool_and_goes_on", |server| {
            chats(server.openai("calls"), server.openai("says"));
        }),
        trial("openai_calls_a_tool_of_claude_and_goes_on", |server| {
            chats(server.openai("claude-calls"), server.openai("claude-says"));
        }),
        trial("anthropic_calls_a_tool_and_goes_on", |server| {
            chats(server.anthropic("claude-calls"), server.anthropic("claude-says"));
        }),
        trial("an_unknown_model_is_named_by_the_proxy", |server| {
            let err = block_on(ask(&server.openai("nobody"), &question())).unwrap_err();
            assert_eq!((err.kind(), err.retry()), (ErrorKind::InvalidInput, Retry::Never), "{err}");
        }),
    ]
}

fn check(shared: Result<&'static Server, String>, must: bool, run: Run) -> Result<Completion, Failed> {
    match shared {
        Ok(server) => {
            run(server);
            Ok(Completion::Completed)
        }
        Err(absent) if must => Err(format!("required, but absent: {absent}").into()),
        Err(absent) => Ok(Completion::ignored_with(absent)),
    }
}

/// One server for the process, which ends with it.
struct Server {
    openai: String,
    anthropic: String,
    _child: Child,
}

impl Server {
    fn shared() -> Result<&'static Self, String> {
        static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
        SERVER.get_or_init(Self::start).as_ref().map_err(Clone::clone)
    }

    fn start() -> Result<Self, String> {
        let folder = env::var_os(FOLDER).ok_or_else(|| format!("{FOLDER} is not set"))?;
        let mut python = Command::new("python3");
        let (child, [openai, anthropic]) =
            serve(python.arg(script("mock_ai_api.py")).env("PYTHONPATH", folder))?;
        Ok(Self { openai: format!("{openai}/v1"), anthropic, _child: child })
    }

    /// The proxy before that server.
    fn proxy() -> Result<&'static Self, String> {
        static PROXIED: OnceLock<Result<Server, String>> = OnceLock::new();
        let start = || {
            let python = env::var_os(PROXY).ok_or_else(|| format!("{PROXY} is not set"))?;
            let upstream = Self::shared()?;
            let mut python = Command::new(python);
            python.arg(script("litellm_proxy.py")).args([&upstream.openai, &upstream.anthropic]);
            // It writes down at length that it does not know the price of a model.
            let (child, [address]) = serve(python.stderr(Stdio::null()))?;
            Ok(Self { openai: format!("{address}/v1"), anthropic: address, _child: child })
        };
        PROXIED.get_or_init(start).as_ref().map_err(Clone::clone)
    }

    fn openai(&self, model: &str) -> Model {
        let config = OpenAiConfig::new(model).at(&self.openai);
        Model::new(OpenAiModel::new(config, Some(Secret::new("key")), ReqwestClient::default()).unwrap())
    }

    fn anthropic(&self, model: &str) -> Model {
        let config = AnthropicConfig::new(model).at(&self.anthropic);
        Model::new(AnthropicModel::new(config, Secret::new("key"), ReqwestClient::default()).unwrap())
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("third_party").join(name)
}

/// Starts a server that prints its ports, and gives their addresses; it ends when its input does, thus with us.
fn serve<const PORTS: usize>(command: &mut Command) -> Result<(Child, [String; PORTS]), String> {
    let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = started.map_err(|err| format!("Python does not start: {err}"))?;
    let output = child.stdout.take().ok_or("the server has no output")?;
    // A banner may stand before the ports.
    let lines = BufReader::new(output).lines().map_while(Result::ok);
    let ports = lines.filter(|line| line.parse::<u16>().is_ok()).take(PORTS);
    let addresses: Vec<String> = ports.map(|port| format!("http://127.0.0.1:{port}")).collect();
    Ok((child, addresses.try_into().map_err(|_| "the server said no port")?))
}

fn ctx() -> Context {
    Context::new(&Runtime::current().unwrap())
}

fn question() -> ChatRequest {
    ChatRequest::new(vec![Message::user("Write a file.")])
}

async fn ask(model: &Model, request: &ChatRequest) -> raptorflow_core::Result<ChatResponse> {
    model.complete(&ctx(), request).await
}

fn says(model: &Model) {
    let answer = block_on(ask(model, &question())).unwrap();
    assert_eq!(answer.message.text(), "Hello. It's nice to meet you.");
    assert_eq!(answer.finish, FinishReason::Stop);
    assert!(answer.usage.input_tokens > 0 && answer.usage.output_tokens > 0, "{:?}", answer.usage);
}

/// Asks one model first, and another once a tool has answered: the server's models do one thing each.
#[derive(Debug)]
struct Turns {
    calls: Model,
    goes_on: Model,
}

#[async_trait::async_trait]
impl ChatModel for Turns {
    fn info(&self) -> &ModelInfo {
        self.calls.info()
    }

    async fn stream(&self, ctx: &Context, request: &ChatRequest) -> raptorflow_core::Result<ChatStream> {
        let answered = request.messages.last().is_some_and(|message| message.role == Role::Tool);
        if answered { &self.goes_on } else { &self.calls }.stream(ctx, request).await
    }
}

/// An agent's whole turn: the model asks for the tool, the tool runs, and the model reads what it said.
fn chats(calls: Model, goes_on: Model) {
    let written = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&written);
    let spec = ToolSpec::new("Write", "Writes a file.", Schema::any_object());
    let write = FunctionTool::new(spec, move |_ctx, arguments: Value| {
        noted.lock().unwrap().push(arguments);
        std::future::ready(Ok(json!({"written": true})))
    });
    let outcome = block_on(async {
        let agent = Agent::builder("clerk").model_instance(Model::new(Turns { calls, goes_on })).tool(write);
        let engine = Engine::builder().build().await.unwrap();
        engine.register(agent.build().unwrap()).unwrap();
        engine.run("clerk", "Write a file.").await.unwrap()
    });
    assert_eq!(outcome.text(), "Hello. It's nice to meet you.");
    assert!(outcome.usage.output_tokens > 0, "{:?}", outcome.usage);
    let arguments = json!({"path": "tmp/mock-file.txt", "contents": "mock output"});
    assert_eq!(*written.lock().unwrap(), [arguments]);
}

fn refuses(server: &Server) {
    for (status, kind, retry) in [
        (400, ErrorKind::InvalidInput, Retry::Never),
        (401, ErrorKind::Unauthenticated, Retry::Never),
        (429, ErrorKind::RateLimited, Retry::Soon),
        (500, ErrorKind::Unavailable, Retry::Soon),
        (503, ErrorKind::Unavailable, Retry::Soon),
    ] {
        let openai = server.openai(&format!("gpt-4.1:mock-{status}"));
        for model in [openai, server.anthropic(&format!("claude-sonnet-4-5:mock-{status}"))] {
            let err = block_on(ask(&model, &question())).unwrap_err();
            assert_eq!((err.kind(), err.retry()), (kind, retry), "{err}");
        }
    }
}

fn embeds(server: &Server) {
    let config = EmbeddingConfig::openai("text-embedding-3-small").unwrap().at(&server.openai);
    let model = HttpEmbeddingModel::new(config, None, ReqwestClient::default()).unwrap();
    let embedder = ModelEmbedder::new(model).unwrap();
    let vectors = block_on(async { embedder.embed_documents(&ctx(), &["one", "two"]).await.unwrap() });
    assert_eq!(vectors.iter().map(Vec::len).collect::<Vec<_>>(), [1536, 1536]);
    assert!(embedder.usage().input_tokens > 0);
}
