//! Pictures and files on the wires of both providers, and what a model cannot be asked.

use raptorflow_core::{
    ErrorKind,
    model::{
        Ability, AnthropicConfig, AnthropicModel, ChatRequest, Effort, Model, ModelProfile, OpenAiConfig,
        OpenAiModel, Reasoning, ReqwestClient,
    },
    security::Secret,
    testing::{ProviderServer, ServerReply},
    types::{Document, Media, Message, Part, Role, Schema, ToolCall, ToolResult, ToolSpec},
};
use serde_json::{Value, json};

use crate::{KEY, ctx, question, server};

fn openai(server: &ProviderServer, model: &str) -> Model {
    // The names of OpenAI's models say what they can do wherever they are served.
    let config = OpenAiConfig::new(model).at(server.url());
    Model::new(OpenAiModel::new(config, None, ReqwestClient::default()).unwrap())
}

fn anthropic(server: &ProviderServer, model: &str) -> Model {
    let config = AnthropicConfig::new(model).at(server.url());
    Model::new(AnthropicModel::new(config, Secret::new(KEY), ReqwestClient::default()).unwrap())
}

fn openai_reply() -> ServerReply {
    ServerReply::data([
        json!({"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}]}),
    ])
}

fn anthropic_reply() -> ServerReply {
    ServerReply::events([
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
        json!({"type": "message_stop"}),
    ])
}

fn image() -> Part {
    Part::Image(Media::bytes("image/png", b"PNG").unwrap())
}

fn linked_image() -> Part {
    Part::Image(Media::url("https://host/a.png").unwrap())
}

fn file(kind: &str, name: Option<&str>) -> Part {
    let media = Media::bytes(kind, b"%PDF").unwrap();
    Part::Document(Document { media, name: name.map(str::to_owned) })
}

/// A question with pictures and files, and a tool that answers with a picture.
fn conversation() -> ChatRequest {
    let message = |role, parts| Message { role, parts };
    let call = ToolCall { id: "c".into(), name: "look".into(), arguments: json!({}) };
    let result = ToolResult {
        id: "c".into(),
        name: "look".into(),
        content: json!("seen"),
        is_error: false,
        cost: None,
    };
    ChatRequest::new(vec![
        message(
            Role::User,
            vec![
                Part::text("Compare"),
                image(),
                Part::text("and"),
                linked_image(),
                file("application/pdf", Some("a.pdf")),
                file("text/plain", Some("b.txt")),
            ],
        ),
        message(Role::Assistant, vec![Part::ToolCall(call)]),
        message(Role::Tool, vec![Part::ToolResult(result), image()]),
    ])
}

async fn sent(server: &ProviderServer, model: &Model, request: &ChatRequest) -> Value {
    model.complete(&ctx(), request).await.unwrap();
    server.requests().pop().unwrap().body
}

#[tokio::test]
async fn chat_completions_carry_pictures_and_files_beside_text() {
    let server = server([openai_reply()]).await;
    let body = sent(&server, &openai(&server, "gpt-4o"), &conversation()).await;
    let png = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,UE5H"}});
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": [
                {"type": "text", "text": "Compare"},
                png,
                {"type": "text", "text": "and"},
                {"type": "image_url", "image_url": {"url": "https://host/a.png"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
                {"type": "text", "text": "<document name=\"b.txt\">\n%PDF\n</document>"}]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "seen"},
            {"role": "user", "content": [png]}])
    );
}

#[tokio::test]
async fn messages_carry_pictures_and_files_and_put_them_into_the_results_they_belong_to() {
    let server = server([anthropic_reply()]).await;
    let body = sent(&server, &anthropic(&server, "claude-test"), &conversation()).await;
    let base64 = |kind: &str, data: &str| json!({"type": "base64", "media_type": kind, "data": data});
    let png = json!({"type": "image", "source": base64("image/png", "UE5H")});
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": [
                {"type": "text", "text": "Compare"},
                png,
                {"type": "text", "text": "and"},
                {"type": "image", "source": {"type": "url", "url": "https://host/a.png"}},
                {"type": "document", "source": base64("application/pdf", "JVBERg=="), "title": "a.pdf"},
                {"type": "text", "text": "<document name=\"b.txt\">\n%PDF\n</document>"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "look", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c",
                "content": [{"type": "text", "text": "seen"}, png]}]}])
    );
}

#[tokio::test]
async fn options_are_sent_under_the_names_of_the_wire() {
    let tools = [ToolSpec::new("look", "Looks.", Schema::any_object())];
    let options = ChatRequest {
        top_p: Some(0.5),
        stop: vec!["END".into()],
        parallel_tool_calls: Some(false),
        ..question().with_tools(tools)
    };
    let server = server([openai_reply(), openai_reply(), anthropic_reply(), anthropic_reply()]).await;
    let body =
        sent(&server, &openai(&server, "gpt-4o"), &ChatRequest { seed: Some(7), ..options.clone() }).await;
    assert_eq!(
        [&body["top_p"], &body["stop"], &body["seed"], &body["parallel_tool_calls"]],
        [&json!(0.5), &json!(["END"]), &json!(7), &json!(false)]
    );
    let thinking = ChatRequest { reasoning: Some(Reasoning::Effort(Effort::Low)), ..question() };
    assert_eq!(sent(&server, &openai(&server, "gpt-5-mini"), &thinking).await["reasoning_effort"], "low");
    let body = sent(&server, &anthropic(&server, "claude-test"), &options).await;
    assert_eq!([&body["top_p"], &body["stop_sequences"]], [&json!(0.5), &json!(["END"])]);
    assert_eq!(body["tool_choice"], json!({"type": "auto", "disable_parallel_tool_use": true}));
    let thinking = ChatRequest { reasoning: Some(Reasoning::Budget(2048)), ..question() };
    let body = sent(&server, &anthropic(&server, "claude-sonnet-4-5"), &thinking).await;
    assert_eq!(body["thinking"], json!({"type": "enabled", "budget_tokens": 2048}));
}

#[tokio::test]
async fn what_a_model_is_not_known_to_do_is_unsupported_before_anything_is_sent() {
    let shown = |part| ChatRequest::new(vec![Message { role: Role::User, parts: vec![part] }]);
    let server = server([openai_reply()]).await;
    let blind = openai(&server, "gpt-3.5-turbo");
    let thinker = openai(&server, "o3-mini");
    let seeing = openai(&server, "gpt-4o");
    let claude = anthropic(&server, "claude-3-5-haiku-latest");
    let linked = Document { media: Media::url("https://host/a.pdf").unwrap(), name: None };
    for (model, request) in [
        (&blind, shown(image())),
        (&blind, shown(file("application/pdf", None))),
        (&seeing, shown(Part::Document(linked))),
        (&thinker, ChatRequest { temperature: Some(0.1), ..question() }),
        (&thinker, ChatRequest { stop: vec!["x".into()], ..question() }),
        (&thinker, ChatRequest { reasoning: Some(Reasoning::Budget(1024)), ..question() }),
        (&blind, ChatRequest { max_output_tokens: Some(4097), ..question() }),
        (&claude, ChatRequest { seed: Some(1), ..question() }),
        (&claude, ChatRequest { reasoning: Some(Reasoning::Effort(Effort::High)), ..question() }),
    ] {
        let err = model.complete(&ctx(), &request).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Unsupported, "{err}");
    }
    let misplaced = Message { role: Role::Assistant, parts: vec![image()] };
    let err = seeing.complete(&ctx(), &ChatRequest::new(vec![misplaced])).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::InvalidInput, "{err}");
    assert!(server.requests().is_empty());
    let stated = OpenAiConfig::new("gpt-3.5-turbo")
        .at(server.url())
        .with_profile(ModelProfile::named("gpt-*").can([Ability::Images]));
    let told = Model::new(OpenAiModel::new(stated, None, ReqwestClient::default()).unwrap());
    sent(&server, &told, &shown(image())).await;
}
