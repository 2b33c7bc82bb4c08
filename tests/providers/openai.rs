//! OpenAI's wire and the dialects of compatible hosts.

use raptorflow_core::{
    ErrorKind,
    model::{
        Ability, FinishReason, Model, ModelProfile, OpenAiConfig, OpenAiModel, Output, ReqwestClient,
        ToolChoice,
    },
    testing::ServerReply,
    types::{Part, Schema, ToolSpec, Usage},
};
use serde_json::{Value, json};

use crate::{KEY, ctx, openai, question, server};

#[allow(clippy::needless_pass_by_value, reason = "literals read better without a borrow")]
fn delta(delta: Value) -> String {
    json!({"id": "x", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]})
        .to_string()
}

fn end(reason: &str) -> String {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": null}).to_string()
}

fn usage() -> String {
    json!({"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 8}, "completion_tokens_details": {"reasoning_tokens": 2}}})
    .to_string()
}

fn done() -> String {
    "[DONE]".to_owned()
}

#[tokio::test]
async fn an_answer_is_streamed_with_usage_in_pieces_of_any_size() {
    for size in [1, 7, 4096] {
        let reply = ServerReply::data([
            delta(json!({"role": "assistant", "content": ""})),
            delta(json!({"content": "₹100 "})),
            delta(json!({"content": "with GST"})),
            end("stop"),
            usage(),
            done(),
        ]);
        let server = server([reply.in_pieces(size)]).await;
        let context = ctx().with_idempotency_key("run/1");
        let answer = openai(&server).complete(&context, &question()).await.unwrap();
        assert_eq!(answer.message.text(), "₹100 with GST");
        assert_eq!((&*answer.model, &answer.finish), ("openai:gpt-test", &FinishReason::Stop));
        let usage = Usage { input_tokens: 12, output_tokens: 5, cached_tokens: 8, reasoning_tokens: 2 };
        assert_eq!(answer.usage, usage);
        let request = &server.requests()[0];
        assert_eq!(request.line, "POST /v1/chat/completions");
        assert_eq!(request.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
        assert_eq!(request.header("idempotency-key"), Some("run/1"));
        assert_eq!(request.body["stream_options"], json!({"include_usage": true}));
    }
}

#[tokio::test]
async fn parallel_tool_calls_are_told_apart_by_index_or_by_id() {
    let call = |index: usize, id: Value, name: Value, arguments: &str| {
        delta(json!({"tool_calls": [{"index": index, "id": id, "type": "function",
            "function": {"name": name, "arguments": arguments}}]}))
    };
    let by_index = ServerReply::data([
        call(0, json!("a"), json!("add"), ""),
        call(1, json!("b"), json!("sub"), "{\"n\":"),
        call(0, Value::Null, Value::Null, "{\"n\":1}"),
        call(1, Value::Null, Value::Null, "2}"),
        end("tool_calls"),
        done(),
    ]);
    let by_id = ServerReply::data([
        call(0, json!("a"), json!("add"), "{\"n\":1}"),
        call(0, json!("b"), json!("sub"), "{\"n\":2}"),
        end("stop"),
        done(),
    ]);
    for reply in [by_index, by_id] {
        let server = server([reply]).await;
        let tools = ["add", "sub"].map(|name| ToolSpec::new(name, "Counts.", Schema::any_object()));
        let answer = openai(&server).complete(&ctx(), &question().with_tools(tools)).await.unwrap();
        let calls: Vec<_> =
            answer.message.tool_calls().map(|call| (&*call.id, &*call.name, &call.arguments)).collect();
        assert_eq!(calls, [("a", "add", &json!({"n": 1})), ("b", "sub", &json!({"n": 2}))]);
        assert_eq!(answer.finish, FinishReason::ToolCalls);
    }
}

#[tokio::test]
async fn a_schema_is_sent_strictly_where_it_can_be() {
    let schema = json!({"type": "object", "additionalProperties": false, "required": ["a"],
        "properties": {"a": {"type": "string"}}});
    let server =
        server([ServerReply::data([delta(json!({"content": "{\"a\":\"b\"}"})), end("stop"), done()])]).await;
    let output = Output::Json { name: "thing".into(), schema: Schema::new(schema.clone()).unwrap() };
    openai(&server).complete(&ctx(), &question().with_output(output)).await.unwrap();
    assert_eq!(
        server.requests()[0].body["response_format"],
        json!({"type": "json_schema", "json_schema": {"name": "thing", "schema": schema, "strict": true}})
    );
}

#[tokio::test]
async fn tools_are_sent_in_their_strict_form_where_they_have_one_and_the_model_can() {
    let schema = json!({"type": "object", "required": ["a"],
        "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}});
    let tools = [
        ToolSpec::new("add", "Adds.", Schema::new(schema.clone()).unwrap()),
        ToolSpec::new("any", "Takes anything.", Schema::any_object()),
    ];
    let answer = || ServerReply::data([delta(json!({"content": "ok"})), end("stop"), done()]);
    let server = server([answer(), answer()]).await;
    let request = question().with_tools(tools);
    openai(&server).complete(&ctx(), &request).await.unwrap();
    let weak = ModelProfile::named("*").cannot([Ability::Strict]);
    let config = OpenAiConfig::new("gpt-test").at(format!("{}/v1", server.url())).with_profile(weak);
    let weaker = OpenAiModel::new(config, None, ReqwestClient::default()).unwrap();
    Model::new(weaker).complete(&ctx(), &request).await.unwrap();
    let sent = |at: usize, tool: usize| server.requests()[at].body["tools"][tool]["function"].clone();
    assert_eq!(
        sent(0, 0),
        json!({"name": "add", "description": "Adds.", "strict": true, "parameters": {
            "type": "object", "required": ["a", "b"], "additionalProperties": false,
            "properties": {"a": {"type": "string"}, "b": {"type": ["integer", "null"]}}}})
    );
    assert_eq!(
        sent(0, 1),
        json!({"name": "any", "description": "Takes anything.", "parameters": {"type": "object"}})
    );
    assert_eq!(sent(1, 0), json!({"name": "add", "description": "Adds.", "parameters": schema}));
}

#[tokio::test]
async fn refusals_reasoning_and_limits_are_told() {
    let server = server([
        ServerReply::data([delta(json!({"refusal": "I cannot."})), end("stop"), done()]),
        ServerReply::data([
            delta(json!({"reasoning_content": "hm"})),
            delta(json!({"content": "x"})),
            end("length"),
        ]),
    ])
    .await;
    let refused = openai(&server).complete(&ctx(), &question()).await.unwrap();
    assert_eq!((refused.message.text().as_str(), refused.finish), ("I cannot.", FinishReason::ContentFilter));
    let cut = openai(&server).complete(&ctx(), &question()).await.unwrap();
    assert_eq!(cut.finish, FinishReason::Length);
    assert_eq!(cut.message.parts[0], Part::Reasoning { text: "hm".into(), opaque: None });
}

#[tokio::test]
async fn what_was_thought_in_signed_pieces_goes_back_as_it_came() {
    let piece = |more: Value| {
        let mut piece = json!({"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0});
        piece.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        delta(json!({"reasoning": more["text"], "reasoning_details": [piece]}))
    };
    let sealed = json!({"type": "reasoning.encrypted", "data": "c2VhbGVk", "id": "r1", "index": 1});
    let call = json!({"index": 0, "id": "a", "function": {"name": "add", "arguments": "{}"}});
    let server = server([
        ServerReply::data([
            piece(json!({"text": "Let me "})),
            piece(json!({"text": "see."})),
            piece(json!({"text": null, "signature": "c2lnbmVk"})),
            delta(json!({"reasoning_details": [sealed]})),
            delta(json!({"tool_calls": [call]})),
            end("tool_calls"),
            done(),
        ]),
        ServerReply::data([delta(json!({"content": "x"})), end("stop"), done()]),
    ])
    .await;
    let mut request = question().with_tools([ToolSpec::new("add", "Adds.", Schema::any_object())]);
    let answer = openai(&server).complete(&ctx(), &request).await.unwrap();
    assert!(matches!(&answer.message.parts[0], Part::Reasoning { text, .. } if text == "Let me see."));
    request.messages.push(answer.message);
    openai(&server).complete(&ctx(), &request).await.unwrap();
    let sent = server.requests()[1].body["messages"].as_array().unwrap().last().unwrap().clone();
    let signed = json!({"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0,
        "text": "Let me see.", "signature": "c2lnbmVk"});
    assert_eq!(sent["reasoning_details"], json!([signed, sealed]));
    assert_eq!(sent["tool_calls"][0]["id"], "a");
}

#[tokio::test]
async fn a_required_tool_that_is_not_offered_is_refused_before_anything_is_sent() {
    let server = server([]).await;
    for choice in [ToolChoice::Required, ToolChoice::Tool("add".into())] {
        let mut request = question();
        request.tool_choice = choice;
        let err = openai(&server).complete(&ctx(), &request).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::InvalidInput);
    }
    assert!(server.requests().is_empty());
}
