//! The providers that are reached through the crate `genai`: what is sent, and what its events become.

use raptorflow_core::{
    ErrorKind, Result, Retry,
    model::{
        FinishReason, GenaiConfig, GenaiModel, GenaiProvider, Model, ModelRegistry, Output, ReqwestClient,
    },
    security::{Secret, SecretStore},
    testing::{ProviderServer, ServerReply},
    types::{Message, Part, Role, Schema, ToolResult, ToolSpec, Usage},
};
use serde_json::{Value, json};

use crate::{KEY, ctx, question, server};

fn model(provider: GenaiProvider, name: &str, server: &ProviderServer) -> Model {
    let config = GenaiConfig::new(provider, name).at(format!("{}/v1", server.url()));
    Model::new(GenaiModel::new(config, Secret::new(KEY), &ReqwestClient::default()).unwrap())
}

fn gemini(server: &ProviderServer) -> Model {
    model(GenaiProvider::Gemini, "gemini-2.5-flash", server)
}

#[allow(clippy::needless_pass_by_value, reason = "literals read better without a borrow")]
fn said(parts: Value, reason: Option<&str>) -> Value {
    let usage = json!({"promptTokenCount": 12, "candidatesTokenCount": 5, "thoughtsTokenCount": 2, "totalTokenCount": 19});
    json!({"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": reason}], "usageMetadata": usage})
}

#[tokio::test]
async fn a_call_of_gemini_and_its_signature_go_back_as_they_came() {
    let call = json!([{"functionCall": {"name": "add", "args": {"n": 1}}, "thoughtSignature": "sealed"}]);
    let server = server([
        ServerReply::data([
            said(json!([{"text": "I add.", "thought": true}]), None),
            said(call, Some("STOP")),
        ]),
        ServerReply::data([said(json!([{"text": "It is 1."}]), Some("STOP"))]).in_pieces(7),
    ])
    .await;
    let model = gemini(&server);
    let mut request = question().with_tools([ToolSpec::new("add", "Adds.", Schema::any_object())]);
    request.temperature = Some(0.2);
    let answer = model.complete(&ctx(), &request).await.unwrap();
    assert_eq!(answer.finish, FinishReason::ToolCalls);
    assert_eq!(
        answer.usage,
        Usage { input_tokens: 12, output_tokens: 7, cached_tokens: 0, reasoning_tokens: 2 }
    );
    let asked = answer.message.tool_calls().next().unwrap().clone();
    assert_eq!((asked.name.as_str(), &asked.arguments), ("add", &json!({"n": 1})));
    request.messages.push(answer.message);
    let result =
        ToolResult { id: asked.id, name: "add".into(), content: json!("1"), is_error: false, cost: None };
    request.messages.push(Message { role: Role::Tool, parts: vec![Part::ToolResult(result)] });
    assert_eq!(model.complete(&ctx(), &request).await.unwrap().message.text(), "It is 1.");
    let sent = &server.requests()[1];
    assert_eq!(sent.line, "POST /v1/models/gemini-2.5-flash:streamGenerateContent?alt=sse");
    assert_eq!(sent.header("x-goog-api-key"), Some(KEY));
    assert_eq!(sent.body["generationConfig"]["temperature"], 0.2);
    let contents = sent.body["contents"].to_string();
    for piece in ["\"thoughtSignature\":\"sealed\"", "functionCall", "functionResponse"] {
        assert!(contents.contains(piece), "{contents}");
    }
}

#[tokio::test]
async fn arguments_that_an_adapter_repeats_are_read_once() {
    let delta = |arguments: &str| {
        let function = json!({"name": "add", "arguments": arguments});
        let call = json!({"index": 0, "id": "c1", "type": "function", "function": function});
        json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}).to_string()
    };
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}).to_string();
    let server = server([ServerReply::data([delta("{\"n\":"), delta("1}"), end, "[DONE]".to_owned()])]).await;
    let request = question().with_tools([ToolSpec::new("add", "Adds.", Schema::any_object())]);
    let answer = model(GenaiProvider::Groq, "gpt-oss", &server).complete(&ctx(), &request).await.unwrap();
    let calls: Vec<_> = answer.message.tool_calls().map(|call| (&*call.id, &call.arguments)).collect();
    assert_eq!(calls, [("c1", &json!({"n": 1}))]);
    assert_eq!(server.requests()[0].line, "POST /v1/chat/completions");
}

#[tokio::test]
async fn refusals_have_their_kinds_and_show_neither_key_nor_prompt() {
    let told = |status: u16, message: String| {
        ServerReply::json(status, &json!({"error": {"code": status, "message": message, "status": "X"}}))
    };
    let server = server([
        told(400, format!("API key not valid: {KEY}")),
        told(429, "Slow down.".to_owned()).with_header("retry-after", "7"),
        told(503, "Flagged: 'The secret prompt of a test about elephants.'".to_owned()),
        ServerReply::data(["{\"candidates\": ["]),
    ])
    .await;
    for (kind, retry) in [
        (ErrorKind::InvalidInput, Retry::Never),
        (ErrorKind::RateLimited, Retry::After(std::time::Duration::from_secs(7))),
        (ErrorKind::Unavailable, Retry::Soon),
        (ErrorKind::InvalidOutput, Retry::Never),
    ] {
        let err = gemini(&server).complete(&ctx(), &question()).await.unwrap_err();
        assert_eq!((err.kind(), err.retry()), (kind, retry), "{err}");
        let shown = format!("{err:#} {err:?}");
        assert!(!shown.contains(KEY) && !shown.contains("elephants"), "{shown}");
    }
}

#[tokio::test]
async fn vertex_and_bedrock_are_found_behind_their_addresses() {
    let refusal = ServerReply::json(403, &json!({"message": "no"}));
    let server = server([refusal.clone(), refusal]).await;
    for (provider, name) in
        [(GenaiProvider::Vertex, "gemini-2.5-flash"), (GenaiProvider::Bedrock, "amazon.nova-pro-v1:0")]
    {
        let err = model(provider, name, &server).complete(&ctx(), &question()).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::PermissionDenied, "{err}");
        let homeless =
            GenaiModel::new(GenaiConfig::new(provider, name), Secret::new(KEY), &ReqwestClient::default());
        assert_eq!(homeless.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    let requests = server.requests();
    let vertex = "POST /v1/publishers/google/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
    assert_eq!(requests[0].line, vertex);
    assert_eq!(requests[1].line, "POST /v1/model/amazon.nova-pro-v1%3A0/converse-stream");
    for request in requests {
        assert_eq!(request.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    }
}

#[tokio::test]
async fn what_the_crate_would_drop_is_unsupported() {
    let server = server([]).await;
    let form = Output::Json { name: "x".into(), schema: Schema::any_object() };
    for provider in [GenaiProvider::Bedrock, GenaiProvider::Cohere] {
        let err =
            model(provider, "any", &server).complete(&ctx(), &question().with_output(form.clone())).await;
        assert_eq!(err.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    assert!(server.requests().is_empty());
}

/// One key for everything.
#[derive(Debug)]
struct OneKey;

#[async_trait::async_trait]
impl SecretStore for OneKey {
    async fn get(&self, _name: &str) -> Result<Option<Secret>> {
        Ok(Some(Secret::new(KEY)))
    }
}

#[tokio::test]
async fn the_registry_knows_the_providers_by_name() {
    let models = ModelRegistry::default().with_secrets(std::sync::Arc::new(OneKey));
    for name in ["gemini:gemini-2.5-flash", "cohere:command-r", "groq:gpt-oss"] {
        assert_eq!(&*models.open(name).await.unwrap().info().name, name);
    }
}
