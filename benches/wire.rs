//! A call over a provider's wire without a network: the request made, the answer read, with allocations.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]

use async_trait::async_trait;
use bytes::Bytes;
use divan::{AllocProfiler, Bencher, black_box};
use futures_util::stream;
use raptorflow_benches::Bench;
use raptorflow_core::{
    Result,
    model::{
        AnthropicConfig, AnthropicModel, ChatRequest, HttpClient, HttpRequest, HttpResponse, Model,
        OpenAiApi, OpenAiConfig, OpenAiModel,
    },
    runtime::Context,
    security::Secret,
    types::{Message, Schema, ToolSpec},
};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// An answer of chat completions as OpenAI streams it.
const CHAT: &str = concat!(
    r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-4o","service_tier":"default","system_fingerprint":"fp","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null}"#,
    "\n\n",
    r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-4o","service_tier":"default","system_fingerprint":"fp","choices":[{"index":0,"delta":{"content":"hello"},"logprobs":null,"finish_reason":null}],"usage":null}"#,
    "\n\n",
    r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-4o","service_tier":"default","system_fingerprint":"fp","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null}"#,
    "\n\n",
    r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-4o","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}"#,
    "\n\ndata: [DONE]\n\n",
);

const RESPONSES: &str = concat!(
    r#"event: response.created"#,
    "\n",
    r#"data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","model":"gpt-5","output":[],"usage":null}}"#,
    "\n\nevent: response.output_text.delta\n",
    r#"data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"hello","logprobs":[]}"#,
    "\n\nevent: response.completed\n",
    r#"data: {"type":"response.completed","sequence_number":8,"response":{"id":"resp_1","object":"response","status":"completed","model":"gpt-5","output":[],"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":0},"output_tokens":1,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":10}}}"#,
    "\n\n",
);

const MESSAGES: &str = concat!(
    "event: message_start\n",
    r#"data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[],"stop_reason":null,"usage":{"input_tokens":9,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}}"#,
    "\n\nevent: content_block_start\n",
    r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    "\n\nevent: content_block_delta\n",
    r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hello"}}"#,
    "\n\nevent: content_block_stop\n",
    r#"data: {"type":"content_block_stop","index":0}"#,
    "\n\nevent: message_delta\n",
    r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":1}}"#,
    "\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

fn main() {
    divan::main();
}

/// Answers every request with the same body.
#[derive(Debug)]
struct Canned(&'static str);

#[async_trait]
impl HttpClient for Canned {
    async fn post(&self, _ctx: &Context, request: HttpRequest) -> Result<HttpResponse> {
        black_box(request);
        let headers = vec![("content-type".to_owned(), "text/event-stream".to_owned())];
        let body = Box::pin(stream::iter([Ok(Bytes::from_static(self.0.as_bytes()))]));
        Ok(HttpResponse { status: 200, headers, body })
    }
}

fn openai(model: &str, api: OpenAiApi, body: &'static str) -> Model {
    let config = OpenAiConfig::new(model).over(api);
    Model::new(OpenAiModel::new(config, Some(Secret::new("key")), Canned(body)).expect("a model"))
}

fn complete(bencher: Bencher<'_, '_>, model: &Model, request: &ChatRequest) {
    let bench = Bench::new();
    bencher.bench_local(|| {
        let answer = bench.now(model.complete(&bench.ctx, black_box(request))).expect("an answer");
        assert_eq!(answer.message.text(), "hello");
    });
}

fn asked() -> ChatRequest {
    ChatRequest::new(vec![Message::user("hello")])
}

#[divan::bench]
fn openai_chat(bencher: Bencher<'_, '_>) {
    complete(bencher, &openai("gpt-4o", OpenAiApi::Chat, CHAT), &asked());
}

/// With instructions, a conversation of twenty turns and four tools.
#[divan::bench]
fn openai_chat_of_an_agent(bencher: Bencher<'_, '_>) {
    let schema = json!({"type": "object", "required": ["left", "right"],
        "properties": {"left": {"type": "integer"}, "right": {"type": "integer"}}});
    let schema = Schema::new(schema).expect("a schema");
    let tools: Vec<ToolSpec> =
        ["add", "sub", "mul", "div"].map(|name| ToolSpec::new(name, "Counts.", schema.clone())).into();
    let mut messages = vec![Message::system("You are a careful accountant who answers briefly.")];
    for _ in 0..10 {
        messages.push(Message::user("What is the price of one hundred with GST?"));
        messages.push(Message::assistant("It is one hundred and eighteen."));
    }
    let request = ChatRequest::new(messages).with_tools(tools);
    complete(bencher, &openai("gpt-4o", OpenAiApi::Chat, CHAT), &request);
}

#[divan::bench]
fn openai_responses(bencher: Bencher<'_, '_>) {
    complete(bencher, &openai("gpt-5", OpenAiApi::Responses, RESPONSES), &asked());
}

#[divan::bench]
fn anthropic_messages(bencher: Bencher<'_, '_>) {
    let config = AnthropicConfig::new("claude-sonnet-4-5");
    let model = AnthropicModel::new(config, Secret::new("key"), Canned(MESSAGES)).expect("a model");
    complete(bencher, &Model::new(model), &asked());
}
