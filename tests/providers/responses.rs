//! OpenAI's responses: items, encrypted thoughts, events, and which wire is spoken.

use raptorflow_core::{
    ErrorKind, Retry,
    model::{
        ChatRequest, Effort, FinishReason, KeepPrompt, Model, ModelRegistry, OpenAiApi, OpenAiConfig,
        OpenAiModel, Output, PartialAnswer, ProviderSettings, Reasoning, ReqwestClient, ToolChoice,
    },
    security::{EnvSecrets, Secret},
    testing::{ProviderServer, ServerReply},
    types::{Document, Media, Message, Part, Role, Schema, ToolCall, ToolResult, ToolSpec, Usage},
};
use serde_json::{Value, json};

use crate::{KEY, ctx, question, server};

fn model(server: &ProviderServer, name: &str) -> Model {
    let config = OpenAiConfig::new(name).at(format!("{}/v1", server.url())).over(OpenAiApi::Responses);
    Model::new(OpenAiModel::new(config, Some(Secret::new(KEY)), ReqwestClient::default()).unwrap())
}

#[allow(clippy::needless_pass_by_value, reason = "literals read better without a borrow")]
fn over(kind: &str, response: Value) -> Value {
    let mut response = response;
    response["usage"] = json!({"input_tokens": 30, "output_tokens": 12, "total_tokens": 42,
        "input_tokens_details": {"cached_tokens": 20}, "output_tokens_details": {"reasoning_tokens": 7}});
    json!({"type": kind, "sequence_number": 9, "response": response})
}

fn text(delta: &str) -> Value {
    json!({"type": "response.output_text.delta", "item_id": "m", "output_index": 1, "content_index": 0, "delta": delta})
}

fn reply(events: Vec<Value>) -> ServerReply {
    let begun = [
        json!({"type": "response.created", "response": {"id": "r", "status": "in_progress", "usage": null}}),
        json!({"type": "response.of_the_future", "anything": [1]}),
    ];
    ServerReply::events(begun.into_iter().chain(events))
}

#[tokio::test]
async fn an_answer_is_streamed_with_usage_in_pieces_of_any_size() {
    for size in [1, 7, 4096] {
        let events =
            vec![text("₹100 "), text("with GST"), over("response.completed", json!({"status": "completed"}))];
        let server = server([reply(events).in_pieces(size)]).await;
        let answer = model(&server, "gpt-5-mini").complete(&ctx(), &question()).await.unwrap();
        assert_eq!((answer.message.text().as_str(), answer.finish), ("₹100 with GST", FinishReason::Stop));
        let usage = Usage { input_tokens: 30, output_tokens: 12, cached_tokens: 20, reasoning_tokens: 7 };
        assert_eq!(answer.usage, usage);
        let request = &server.requests()[0];
        assert_eq!(request.line, "POST /v1/responses");
        assert_eq!(request.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
        assert_eq!(
            request.body,
            json!({"model": "gpt-5-mini", "store": false, "stream": true,
                "include": ["reasoning.encrypted_content"],
                "input": [{"role": "user", "content": "The secret prompt of a test about elephants."}]})
        );
    }
}

#[tokio::test]
async fn thoughts_and_parallel_calls_make_the_round_trip() {
    let call = |at: usize, id: &str, name: &str, arguments: &str| {
        json!({"output_index": at, "item": {"type": "function_call", "id": format!("fc_{id}"), "call_id": id,
            "name": name, "arguments": arguments}})
    };
    let typed = |kind: &str, mut event: Value| {
        event["type"] = json!(kind);
        event
    };
    let delta = |at: usize, delta: &str| json!({"type": "response.function_call_arguments.delta", "output_index": at, "delta": delta});
    let thought = json!({"type": "response.output_item.done", "output_index": 0, "item":
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "enc"}});
    let events = vec![
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "id": "rs_1"}}),
        json!({"type": "response.reasoning_summary_part.added", "output_index": 0, "summary_index": 0}),
        json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "let me"}),
        json!({"type": "response.reasoning_summary_part.added", "output_index": 0, "summary_index": 1}),
        json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "see"}),
        thought,
        typed("response.output_item.added", call(1, "a", "add", "")),
        typed("response.output_item.added", call(2, "b", "sub", "")),
        delta(2, "{\"n\":"),
        delta(1, "{\"n\":1}"),
        delta(2, "2}"),
        typed("response.output_item.done", call(1, "a", "add", "{\"n\":1}")),
        typed("response.output_item.done", call(2, "b", "sub", "{\"n\":2}")),
        typed("response.output_item.done", call(3, "c", "now", "{}")),
        over("response.completed", json!({"status": "completed"})),
    ];
    let server =
        server([reply(events), reply(vec![over("response.completed", json!({"status": "completed"}))])])
            .await;
    let model = model(&server, "gpt-5-mini");
    let tools = ["add", "sub", "now"].map(|name| ToolSpec::new(name, "Counts.", Schema::any_object()));
    let mut request = question().with_tools(tools);
    let answer = model.complete(&ctx(), &request).await.unwrap();
    assert_eq!(answer.finish, FinishReason::ToolCalls);
    let calls: Vec<_> = answer.message.tool_calls().map(|call| (&*call.id, &call.arguments)).collect();
    assert_eq!(calls, [("a", &json!({"n": 1})), ("b", &json!({"n": 2})), ("c", &json!({}))]);
    // The journal keeps the thoughts as they are.
    let stored = serde_json::to_string(&answer.message).unwrap();
    request.messages.push(serde_json::from_str(&stored).unwrap());
    let result = |is_error| ToolResult {
        id: "a".into(),
        name: "add".into(),
        content: json!("no"),
        is_error,
        cost: None,
    };
    let image = Part::Image(Media::bytes("image/png", b"PNG").unwrap());
    let parts = vec![Part::ToolResult(result(true)), Part::ToolResult(result(false)), image];
    request.messages.push(Message { role: Role::Tool, parts });
    model.complete(&ctx(), &request).await.unwrap();
    let sent = &server.requests()[1].body;
    assert_eq!(
        sent["input"].as_array().unwrap()[1..],
        [
            json!({"type": "reasoning", "id": "rs_1", "encrypted_content": "enc",
                "summary": [{"type": "summary_text", "text": "let me\n\nsee"}]}),
            json!({"type": "function_call", "call_id": "a", "name": "add", "arguments": "{\"n\":1}"}),
            json!({"type": "function_call", "call_id": "b", "name": "sub", "arguments": "{\"n\":2}"}),
            json!({"type": "function_call", "call_id": "c", "name": "now", "arguments": "{}"}),
            json!({"type": "function_call_output", "call_id": "a", "output": "{\"error\":\"no\"}"}),
            json!({"type": "function_call_output", "call_id": "a", "output": [
                {"type": "input_text", "text": "no"},
                {"type": "input_image", "image_url": "data:image/png;base64,UE5H"}]}),
        ]
    );
    assert_eq!(
        sent["tools"][0],
        json!({"type": "function", "name": "add", "description": "Counts.", "parameters": {"type": "object"},
            "strict": false})
    );
}

#[tokio::test]
async fn forms_files_and_options_have_the_names_of_the_wire() {
    let done = || reply(vec![text("{}"), over("response.completed", json!({"status": "completed"}))]);
    let server = server([done(), done()]).await;
    let file = |media| Part::Document(Document { media, name: Some("a.pdf".into()) });
    let parts = vec![
        Part::text("Read"),
        file(Media::bytes("application/pdf", b"%PDF").unwrap()),
        file(Media::url("https://host/a.pdf").unwrap()),
    ];
    let schema = json!({"type": "object", "additionalProperties": false, "required": [], "properties": {}});
    let output = Output::Json { name: "thing".into(), schema: Schema::new(schema.clone()).unwrap() };
    let request = ChatRequest {
        tool_choice: ToolChoice::Tool("add".into()),
        reasoning: Some(Reasoning::Effort(Effort::Minimal)),
        parallel_tool_calls: Some(false),
        keep_prompt: Some(KeepPrompt::Hours),
        max_output_tokens: Some(99),
        ..ChatRequest::new(vec![Message::system("Be brief."), Message { role: Role::User, parts }])
            .with_tools([ToolSpec::new("add", "Adds.", Schema::any_object())])
            .with_output(output)
    };
    model(&server, "gpt-5-mini").complete(&ctx(), &request).await.unwrap();
    let body = &server.requests()[0].body;
    assert_eq!(
        body["input"],
        json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": [
            {"type": "input_text", "text": "Read"},
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="},
            {"type": "input_file", "file_url": "https://host/a.pdf"}]}])
    );
    assert_eq!(
        body["text"],
        json!({"format": {"type": "json_schema", "name": "thing", "schema": schema, "strict": true}})
    );
    assert_eq!(body["tool_choice"], json!({"type": "function", "name": "add"}));
    assert_eq!(body["reasoning"], json!({"effort": "minimal"}));
    assert_eq!((&body["parallel_tool_calls"], &body["max_output_tokens"]), (&json!(false), &json!(99)));
    // Only OpenAI itself knows that field.
    assert_eq!(body["prompt_cache_retention"], Value::Null);
    // A model that does not think is not asked for thoughts, and the rest is unsupported here.
    model(&server, "gpt-4o").complete(&ctx(), &question()).await.unwrap();
    assert_eq!(server.requests()[1].body["include"], Value::Null);
    for request in
        [ChatRequest { stop: vec!["x".into()], ..question() }, ChatRequest { seed: Some(1), ..question() }]
    {
        let err = model(&server, "gpt-4o").complete(&ctx(), &request).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Unsupported, "{err}");
    }
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn ends_refusals_and_failures_are_told() {
    let refusal = json!({"type": "response.refusal.delta", "output_index": 0, "delta": "I cannot."});
    let incomplete = |reason: &str| {
        over("response.incomplete", json!({"status": "incomplete", "incomplete_details": {"reason": reason}}))
    };
    let completed = over("response.completed", json!({"status": "completed", "incomplete_details": null}));
    for (events, finish) in [
        (vec![refusal, completed], FinishReason::ContentFilter),
        (vec![text("x"), incomplete("max_output_tokens")], FinishReason::Length),
        (vec![text("x"), incomplete("content_filter")], FinishReason::ContentFilter),
        (vec![text("x"), incomplete("boredom")], FinishReason::Other("boredom".into())),
    ] {
        let server = server([reply(events)]).await;
        let answer = model(&server, "gpt-5-mini").complete(&ctx(), &question()).await.unwrap();
        assert_eq!(answer.finish, finish);
    }
    let failed = over(
        "response.failed",
        json!({"status": "failed", "error": {"code": "server_error", "message": "We are sorry."}}),
    );
    let limited =
        json!({"type": "error", "code": "rate_limit_exceeded", "message": "Slow down.", "param": null});
    let nested = json!({"type": "error", "error": {"code": "insufficient_quota", "message": "Pay."}});
    for (last, kind, retry) in [
        (failed, ErrorKind::Unavailable, Retry::Soon),
        (limited, ErrorKind::RateLimited, Retry::Soon),
        (nested, ErrorKind::RateLimited, Retry::Never),
    ] {
        let server = server([reply(vec![text("partly"), last])]).await;
        let err = model(&server, "gpt-5-mini").complete(&ctx(), &question()).await.unwrap_err();
        assert_eq!((err.kind(), err.retry()), (kind, retry), "{err}");
        assert_eq!(err.cause::<PartialAnswer>().unwrap().text, "partly");
    }
    let server = server([reply(vec![text("partly")])]).await;
    let err = model(&server, "gpt-5-mini").complete(&ctx(), &question()).await.unwrap_err();
    assert_eq!((err.kind(), err.retry()), (ErrorKind::Unavailable, Retry::Soon), "{err}");
}

#[tokio::test]
async fn an_arguments_text_that_is_told_as_a_whole_is_kept() {
    let added = json!({"type": "response.output_item.added", "output_index": 0, "item":
        {"type": "function_call", "call_id": "a", "name": "add", "arguments": ""}});
    let done = json!({"type": "response.output_item.done", "output_index": 0, "item":
        {"type": "function_call", "call_id": "a", "name": "add", "arguments": "{\"n\":1}"}});
    let server = server([reply(vec![added, done, over("response.completed", json!({}))])]).await;
    let answer = model(&server, "gpt-5-mini").complete(&ctx(), &question()).await.unwrap();
    let expected = ToolCall { id: "a".into(), name: "add".into(), arguments: json!({"n": 1}) };
    assert_eq!(answer.message.tool_calls().collect::<Vec<_>>(), [&expected]);
}

#[tokio::test]
async fn settings_choose_the_wire_the_address_and_its_parameters() {
    let chat = || {
        ServerReply::data([
            json!({"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}]}),
        ])
    };
    let responses = || reply(vec![text("x"), over("response.completed", json!({"status": "completed"}))]);
    let server = server([chat(), responses(), chat(), chat()]).await;
    let secrets = std::sync::Arc::new(EnvSecrets::from_lookup(|_| Some(KEY.to_owned())));
    let models = ModelRegistry::default().with_secrets(secrets);
    let open = async |settings: ProviderSettings| {
        let models = models.clone().with_settings("openai", settings);
        models.open("openai:gpt-5-mini").await
    };
    let at = |path: &str| ProviderSettings::default().with_base_url(format!("{}{path}", server.url()));
    let mut spoken = at("/openai/v1?api-version=1");
    spoken.api = Some("responses".into());
    let mut azure = at("/deployments/a/").with_query("api-version", "2026-01-01 x");
    azure.headers.insert("Authorization".into(), "other".into());
    let whole = at("/v2/chat/completions");
    for settings in [at(""), spoken, azure, whole] {
        open(settings).await.unwrap().complete(&ctx(), &question()).await.unwrap();
    }
    let requests = server.requests();
    let lines: Vec<&str> = requests.iter().map(|request| request.line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "POST /chat/completions",
            "POST /openai/v1/responses?api-version=1",
            "POST /deployments/a/chat/completions?api-version=2026-01-01%20x",
            "POST /v2/chat/completions",
        ]
    );
    // A header of the host takes the place of ours.
    assert_eq!(requests[2].headers.iter().filter(|(name, _)| name == "authorization").count(), 1);
    assert_eq!(requests[2].header("authorization"), Some("other"));
    let mut unknown = at("");
    unknown.api = Some("morse".into());
    assert_eq!(open(unknown).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let shown = format!("{:?}", open(at("/x?key=canary")).await.unwrap());
    assert!(!shown.contains("canary") && !shown.contains(KEY), "{shown}");
}
