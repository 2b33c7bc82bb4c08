//! Anthropic's wire.

use raptorflow_core::{
    ErrorKind, Retry,
    model::{
        AnthropicConfig, AnthropicModel, ChatRequest, Effort, FinishReason, KeepPrompt, Model, Output,
        Reasoning, ReqwestClient, ToolChoice,
    },
    security::Secret,
    testing::{ProviderServer, ServerReply},
    types::{Message, Part, Schema, ToolSpec, Usage},
};
use serde_json::{Value, json};

use crate::{KEY, anthropic, ctx, question, server};

fn start() -> Value {
    json!({"type": "message_start", "message": {"id": "m", "role": "assistant", "content": [], "usage":
        {"input_tokens": 4, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 6, "output_tokens": 1}}})
}

fn block(index: usize, begun: &Value, deltas: Vec<Value>) -> Vec<Value> {
    let delta = |delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let mut events = vec![json!({"type": "content_block_start", "index": index, "content_block": begun})];
    events.extend(deltas.into_iter().map(delta));
    events.push(json!({"type": "content_block_stop", "index": index}));
    events
}

fn end(reason: &str) -> Vec<Value> {
    vec![
        json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 9}}),
        json!({"type": "message_stop"}),
    ]
}

fn reply(blocks: Vec<Vec<Value>>, reason: &str) -> ServerReply {
    let events = [start(), json!({"type": "ping"}), json!({"type": "of_the_future"})];
    ServerReply::events(events.into_iter().chain(blocks.into_iter().flatten()).chain(end(reason)))
}

fn text(index: usize, pieces: &[&str]) -> Vec<Value> {
    let deltas = pieces.iter().map(|text| json!({"type": "text_delta", "text": text})).collect();
    block(index, &json!({"type": "text", "text": ""}), deltas)
}

fn tool_use(index: usize, id: &str, name: &str, pieces: &[&str]) -> Vec<Value> {
    let deltas =
        pieces.iter().map(|json| json!({"type": "input_json_delta", "partial_json": json})).collect();
    block(index, &json!({"type": "tool_use", "id": id, "name": name, "input": {}}), deltas)
}

#[tokio::test]
async fn an_answer_is_streamed_with_usage_in_pieces_of_any_size() {
    for size in [1, 7, 4096] {
        let server = server([reply(vec![text(0, &["₹100 ", "with GST"])], "end_turn").in_pieces(size)]).await;
        let answer = anthropic(&server).complete(&ctx(), &question()).await.unwrap();
        assert_eq!(answer.message.text(), "₹100 with GST");
        assert_eq!((&*answer.model, &answer.finish), ("anthropic:claude-test", &FinishReason::Stop));
        assert_eq!(
            answer.usage,
            Usage { input_tokens: 12, output_tokens: 9, cached_tokens: 6, reasoning_tokens: 0 }
        );
        let request = &server.requests()[0];
        assert_eq!(request.line, "POST /v1/messages");
        assert_eq!(
            (request.header("x-api-key"), request.header("anthropic-version")),
            (Some(KEY), Some("2023-06-01"))
        );
        assert_eq!(request.header("authorization"), None);
    }
}

#[tokio::test]
async fn thinking_and_tool_calls_make_the_round_trip() {
    let thinking = block(
        0,
        &json!({"type": "thinking", "thinking": ""}),
        vec![
            json!({"type": "thinking_delta", "thinking": "let me "}),
            json!({"type": "thinking_delta", "thinking": "see"}),
            json!({"type": "signature_delta", "signature": "sig"}),
        ],
    );
    let redacted = block(1, &json!({"type": "redacted_thinking", "data": "enc"}), vec![]);
    let calls = tool_use(2, "toolu_1", "add", &["", "{\"n\": ", "1}"]);
    let empty = tool_use(3, "toolu_2", "now", &[]);
    let server = server([
        reply(vec![thinking, redacted, calls, empty], "tool_use"),
        reply(vec![text(0, &["Done."])], "end_turn"),
    ])
    .await;
    let model = anthropic(&server);
    let tools = ["add", "now"].map(|name| ToolSpec::new(name, "Counts.", Schema::any_object()));
    let mut request = question().with_tools(tools);
    let answer = model.complete(&ctx(), &request).await.unwrap();
    assert_eq!(answer.finish, FinishReason::ToolCalls);
    let calls: Vec<_> = answer.message.tool_calls().map(|call| (&*call.id, &call.arguments)).collect();
    assert_eq!(calls, [("toolu_1", &json!({"n": 1})), ("toolu_2", &json!({}))]);
    assert!(matches!(&answer.message.parts[0], Part::Reasoning { text, .. } if text == "let me see"));
    request.messages.push(answer.message);
    model.complete(&ctx(), &request).await.unwrap();
    assert_eq!(
        server.requests()[1].body["messages"][1]["content"],
        json!([
            {"type": "thinking", "thinking": "let me see", "signature": "sig"},
            {"type": "redacted_thinking", "data": "enc"},
            {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"n": 1}},
            {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}}])
    );
}

#[tokio::test]
async fn a_structured_answer_is_text_and_no_tool_call() {
    let ask = |schema: Value| {
        question().with_output(Output::Json { name: "x".into(), schema: Schema::new(schema).unwrap() })
    };
    let server = server([
        reply(vec![tool_use(0, "t", "final_answer", &["{\"a\":", "1}"])], "tool_use"),
        reply(vec![tool_use(0, "t", "final_answer", &["{\"value\":", "[1, 2]}"])], "tool_use"),
    ])
    .await;
    let model = anthropic(&server);
    let object = model.complete(&ctx(), &ask(json!({"type": "object"}))).await.unwrap();
    assert_eq!(object.message, Message::assistant("{\"a\":1}"));
    assert_eq!(object.finish, FinishReason::Stop);
    let list = model.complete(&ctx(), &ask(json!({"type": "array"}))).await.unwrap();
    assert_eq!(list.message, Message::assistant("[1,2]"));
}

#[tokio::test]
async fn an_overload_inside_the_stream_is_worth_another_try() {
    let failed = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let server = server([ServerReply::events([start(), failed])]).await;
    let err = anthropic(&server).complete(&ctx(), &question()).await.unwrap_err();
    assert_eq!((err.kind(), err.retry()), (ErrorKind::Unavailable, Retry::Soon));
    assert_eq!(err.get("provider_code"), Some("overloaded_error"));
}

fn of(server: &ProviderServer, name: &str) -> Model {
    let config = AnthropicConfig::new(name).at(server.url());
    Model::new(AnthropicModel::new(config, Secret::new(KEY), ReqwestClient::default()).unwrap())
}

async fn sent(name: &str, request: &ChatRequest) -> Value {
    let server = server([reply(vec![text(0, &["{}"])], "end_turn")]).await;
    of(&server, name).complete(&ctx(), request).await.unwrap();
    server.requests().swap_remove(0).body
}

#[tokio::test]
async fn a_schema_is_enforced_by_models_that_can_and_emulated_elsewhere() {
    let ask = |schema: Value| {
        question().with_output(Output::Json { name: "x".into(), schema: Schema::new(schema).unwrap() })
    };
    let closed = json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}});
    let body = sent("claude-sonnet-4-5", &ask(closed.clone())).await;
    assert_eq!(
        body["output_config"],
        json!({"format": {"type": "json_schema", "schema": {"type": "object", "additionalProperties": false,
            "properties": {"n": {"type": "integer", "description": "(minimum: 1)"}}}}})
    );
    assert_eq!((&body["tools"], &body["tool_choice"]), (&Value::Null, &Value::Null));
    for (name, schema) in
        [("claude-3-7-sonnet-latest", closed), ("claude-sonnet-4-5", json!({"type": "array"}))]
    {
        let body = sent(name, &ask(schema)).await;
        assert_eq!(
            (&body["tools"][0]["name"], &body["output_config"]),
            (&json!("final_answer"), &Value::Null)
        );
        assert_eq!(body["tool_choice"], json!({"type": "tool", "name": "final_answer"}));
    }
}

#[tokio::test]
async fn an_effort_is_said_as_the_model_understands_it() {
    let effort = |effort| ChatRequest { reasoning: Some(Reasoning::Effort(effort)), ..question() };
    let body = sent("claude-opus-4-7", &effort(Effort::Medium)).await;
    assert_eq!(
        (&body["thinking"], &body["output_config"]),
        (&json!({"type": "adaptive"}), &json!({"effort": "medium"}))
    );
    assert_eq!(body["max_tokens"], 16_384);
    let body = sent("claude-sonnet-4-5", &effort(Effort::Low)).await;
    assert_eq!(body["thinking"], json!({"type": "enabled", "budget_tokens": 4096}));
    assert_eq!((&body["max_tokens"], &body["output_config"]), (&json!(12_288), &Value::Null));
    let server = server([]).await;
    let tools = [ToolSpec::new("add", "Adds.", Schema::any_object())];
    for request in [
        ChatRequest { temperature: Some(0.1), ..effort(Effort::Low) },
        ChatRequest { tool_choice: ToolChoice::Required, ..effort(Effort::Low).with_tools(tools) },
        ChatRequest { reasoning: Some(Reasoning::Budget(64_000)), ..question() },
    ] {
        let err = of(&server, "claude-sonnet-4-5").complete(&ctx(), &request).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Unsupported, "{err}");
    }
    let drawn = ChatRequest { top_p: Some(0.5), ..question() };
    let err = of(&server, "claude-opus-4-7").complete(&ctx(), &drawn).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Unsupported, "{err}");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_prompt_is_marked_to_be_kept_where_the_caller_asks_for_it() {
    let conversation = vec![Message::system("Be brief."), Message::user("One."), Message::user("Two.")];
    let tools = [ToolSpec::new("add", "Adds.", Schema::any_object())];
    let keep = |keep| ChatRequest { keep_prompt: Some(keep), ..ChatRequest::new(conversation.clone()) };
    let minutes = json!({"type": "ephemeral"});
    let body = sent("claude-sonnet-4-5", &keep(KeepPrompt::Minutes).with_tools(tools.clone())).await;
    assert_eq!(body["system"], json!([{"type": "text", "text": "Be brief.", "cache_control": minutes}]));
    assert_eq!(
        body["messages"][0]["content"],
        json!([{"type": "text", "text": "One."}, {"type": "text", "text": "Two.", "cache_control": minutes}])
    );
    assert_eq!(body["tools"][0]["cache_control"], Value::Null);
    let mut plain = keep(KeepPrompt::Hours).with_tools(tools);
    plain.messages.remove(0);
    let body = sent("claude-sonnet-4-5", &plain).await;
    assert_eq!(body["tools"][0]["cache_control"], json!({"type": "ephemeral", "ttl": "1h"}));
    let body = sent("claude-sonnet-4-5", &ChatRequest::new(conversation)).await;
    assert_eq!(body["system"], json!("Be brief."));
    assert!(!body.to_string().contains("cache_control"), "{body}");
}
