//! rig on the works of `speed.py`: a call over the wire, a turn of an agent, a turn with a tool, many agents.

use std::{
    convert::Infallible,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use raptorflow_meter::{Counting, Meter, asked};
use rig_agent::prelude::*;
use rig_core::{
    completion::{AssistantContent, CompletionRequest, CompletionResponse, Usage},
    driver::{Exchange, Opened, Opening, Transport},
    error::ProviderError,
    http_client::{self, DynHttpClient, HttpClientExt, LazyBody, MultipartForm},
    message::{Origin, ToolCall, ToolFunction, ToolName},
    providers::openai::OpenAIConfig,
    test_utils::{MOCK_API, MOCK_PROVIDER, MockFrame, MockScript},
    tool::PortableTool,
};
use serde::Deserialize;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BODY: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}"#;

/// Answers at once; with `calls`, every other answer is a call of `add`.
#[derive(Clone)]
struct Silent {
    answers: Arc<AtomicUsize>,
    calls: bool,
}

impl Transport<MockScript> for Silent {
    fn send(&self, _request: CompletionRequest, _exchange: Exchange) -> Opening<MockFrame> {
        let asks = self.answers.fetch_add(1, Relaxed).is_multiple_of(2) && self.calls;
        let content = if asks {
            let name = ToolName::new("add").expect("a name");
            let function = ToolFunction::new(name, json!({"left": 1, "right": 2}));
            AssistantContent::ToolCall(ToolCall::from_wire("call_1", function))
        } else {
            AssistantContent::text("hello")
        };
        let origin = Origin::new(MOCK_API, MOCK_PROVIDER, "");
        let answer = CompletionResponse::new(vec![content], Usage::default(), origin, Value::Null);
        let frame: Result<MockFrame, ProviderError> = Ok(MockFrame::Response(Box::new(answer)));
        Opening::ready(Opened::new(futures::stream::iter([frame])).with_document(Value::Null))
    }
}

fn silent(calls: bool) -> Model<MockScript, Silent> {
    Model::new(MockScript::default(), Silent { answers: Arc::default(), calls })
}

/// Answers every request with the same body.
#[derive(Clone, Default)]
struct Canned;

impl HttpClientExt for Canned {
    fn send<T, U>(
        &self,
        _request: http::Request<T>,
    ) -> impl Future<Output = http_client::Result<http::Response<LazyBody<U>>>> + Send + 'static
    where
        T: Into<bytes::Bytes> + Send,
        U: From<bytes::Bytes> + Send + 'static,
    {
        async move {
            let body: LazyBody<U> =
                Box::pin(async { Ok(U::from(bytes::Bytes::from_static(BODY.as_bytes()))) });
            Ok(http::Response::builder().header("content-type", "application/json").body(body)?)
        }
    }

    fn send_multipart<U>(
        &self,
        _request: http::Request<MultipartForm>,
    ) -> impl Future<Output = http_client::Result<http::Response<LazyBody<U>>>> + Send + 'static
    where
        U: From<bytes::Bytes> + Send + 'static,
    {
        async { Err(http_client::Error::StreamEnded) }
    }

    fn send_streaming<T>(
        &self,
        _request: http::Request<T>,
    ) -> impl Future<Output = http_client::Result<http_client::StreamingResponse>> + Send
    where
        T: Into<bytes::Bytes> + Send,
    {
        async { Err(http_client::Error::StreamEnded) }
    }
}

#[derive(Deserialize)]
struct Numbers {
    left: i64,
    right: i64,
}

struct Add;

impl PortableTool for Add {
    const NAME: &'static str = "add";
    type Args = Numbers;
    type Output = i64;
    type Error = Infallible;

    fn description(&self) -> String {
        "Adds two numbers.".into()
    }

    fn parameters(&self) -> Value {
        json!({"type": "object", "required": ["left", "right"],
            "properties": {"left": {"type": "integer"}, "right": {"type": "integer"}}})
    }

    async fn call(&self, numbers: Numbers) -> Result<i64, Infallible> {
        Ok(numbers.left + numbers.right)
    }
}

async fn run(work: &str, rounds: usize) {
    let meter = |work| Meter { work, system: "rig", rounds };
    match work {
        "wire" => {
            let config = OpenAIConfig::new("key").with_base_url("http://127.0.0.1:1/v1");
            let model = config.connect(DynHttpClient::new(Canned)).chat("gpt-4o");
            meter("wire").each(async || drop(model.call("hello").await.expect("an answer"))).await;
        }
        "turn" => {
            let agent = AgentBuilder::new(silent(false)).preamble("Answer in one sentence.").build();
            meter("turn").each(async || drop(agent.prompt("hello").await.expect("an answer"))).await;
        }
        "tool" => {
            let agent = AgentBuilder::new(silent(true)).preamble("Answer in one sentence.").tool(Add);
            let agent = agent.default_max_turns(4).build();
            meter("tool").each(async || drop(agent.prompt("hello").await.expect("an answer"))).await;
        }
        "agents" => {
            let model: DynModel<rig_core::operation::Completion> = silent(false).erase();
            let make = |index| {
                let agent = AgentBuilder::new(model.clone()).name(format!("agent-{index}"));
                agent.preamble("Answer in one sentence.").build()
            };
            let call = async |agent: &_| prompt(agent).await;
            meter("agents").agents(make, call).await;
        }
        other => panic!("there is no work `{other}`"),
    }
}

async fn prompt(agent: &Agent) {
    agent.prompt("hello").await.expect("an answer");
}

fn main() {
    let (work, rounds) = asked();
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
    tokio.expect("a Tokio runtime").block_on(run(&work, rounds));
}
