//! A call over a provider's wire without a network: the request made, the answer read, with allocations.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]

use divan::{AllocProfiler, Bencher, black_box};
use raptorflow_benches::{
    Bench,
    canned::{ANTHROPIC, Canned, OPENAI_CHAT, OPENAI_RESPONSES},
};
use raptorflow_core::{
    model::{AnthropicConfig, AnthropicModel, ChatRequest, Model, OpenAiApi, OpenAiConfig, OpenAiModel},
    security::Secret,
    types::{Message, Schema, ToolSpec},
};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
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
    complete(bencher, &openai("gpt-4o", OpenAiApi::Chat, OPENAI_CHAT), &asked());
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
    complete(bencher, &openai("gpt-4o", OpenAiApi::Chat, OPENAI_CHAT), &request);
}

#[divan::bench]
fn openai_responses(bencher: Bencher<'_, '_>) {
    complete(bencher, &openai("gpt-5", OpenAiApi::Responses, OPENAI_RESPONSES), &asked());
}

#[divan::bench]
fn anthropic_messages(bencher: Bencher<'_, '_>) {
    let config = AnthropicConfig::new("claude-sonnet-4-5");
    let model = AnthropicModel::new(config, Secret::new("key"), Canned(ANTHROPIC)).expect("a model");
    complete(bencher, &Model::new(model), &asked());
}
