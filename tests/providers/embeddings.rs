//! The wires of embedding models: what is sent, what is read, and what a bad answer becomes.

use std::sync::Arc;

use raptorflow_core::{
    ErrorKind, Result, Retry,
    model::{EmbeddingConfig, EmbeddingModel as _, EmbeddingPurpose, HttpEmbeddingModel, ReqwestClient},
    rag::{Document, Embedder, EmbedderRegistry, EmbedderSettings, KnowledgeBase, Mode, ModelEmbedder},
    security::{Secret, SecretStore},
    testing::ServerReply,
    types::Usage,
};
use serde_json::{Value, json};

use crate::{KEY, ctx, server};

fn model(config: EmbeddingConfig) -> HttpEmbeddingModel {
    HttpEmbeddingModel::new(config, Some(Secret::new(KEY)), ReqwestClient::default()).unwrap()
}

#[allow(clippy::needless_pass_by_value, reason = "literals read better without a borrow")]
fn openai_answer(embedding: Value) -> ServerReply {
    ServerReply::json(200, &json!({"data": [{"embedding": embedding}], "usage": {"prompt_tokens": 3}}))
}

#[tokio::test]
async fn openai_is_asked_for_base64_at_home_and_for_shorter_vectors_where_it_can() {
    let base64 = "AACAPwAAAMA="; // 1.0 and -2.0, little-endian.
    let server = server([openai_answer(json!(base64)), openai_answer(json!([1.0, -2.0]))]).await;
    let url = format!("{}/v1", server.url());
    let mut config = EmbeddingConfig::openai("text-embedding-3-small").unwrap().with_dimension(2);
    config.base_url.clone_from(&url);
    for config in [config.clone(), config.at(url)] {
        let context = ctx().with_idempotency_key("run/1");
        let answer = model(config).embed(&context, &["hello"], EmbeddingPurpose::Query).await.unwrap();
        assert_eq!((answer.vectors, answer.usage), (vec![vec![1.0, -2.0]], Usage::new(3, 0)));
    }
    let requests = server.requests();
    assert_eq!(requests[0].line, "POST /v1/embeddings");
    assert_eq!(requests[0].header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(requests[0].header("idempotency-key"), None);
    let asked = json!({"model": "text-embedding-3-small", "input": ["hello"], "dimensions": 2});
    assert_eq!(requests[1].body, asked);
    assert_eq!(requests[0].body["encoding_format"], "base64");
}

#[tokio::test]
async fn ollama_truncates_nothing_and_is_found_behind_its_other_address() {
    let server = server([ServerReply::json(200, &json!({"embeddings": [[1.0, 2.0]]}))]).await;
    let config =
        EmbeddingConfig::ollama("test").unwrap().at(format!("{}/v1/", server.url())).with_dimension(2);
    let answer = model(config).embed(&ctx(), &["hello"], EmbeddingPurpose::Query).await.unwrap();
    assert_eq!((answer.vectors, answer.usage), (vec![vec![1.0, 2.0]], Usage::default()));
    let request = &server.requests()[0];
    assert_eq!(request.line, "POST /api/embed");
    assert_eq!(request.body, json!({"model": "test", "input": ["hello"], "truncate": false}));
}

#[tokio::test]
async fn gemini_gets_its_key_in_a_header_and_the_purpose_as_a_task() {
    let reply = ServerReply::json(200, &json!({"embeddings": [{"values": [1.0, 2.0]}]}));
    let server = server([reply.clone(), reply]).await;
    let config = EmbeddingConfig::gemini("gemini-embedding-001").unwrap().at(server.url()).with_dimension(2);
    let model = model(config);
    for purpose in [EmbeddingPurpose::Document, EmbeddingPurpose::Query] {
        model.embed(&ctx(), &["hello"], purpose).await.unwrap();
    }
    for (request, task) in server.requests().iter().zip(["RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"]) {
        assert_eq!(request.line, "POST /models/gemini-embedding-001:batchEmbedContents");
        assert_eq!(request.header("x-goog-api-key"), Some(KEY));
        let one = json!({"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "hello"}]},
            "taskType": task, "outputDimensionality": 2});
        assert_eq!(request.body, json!({"requests": [one]}));
    }
}

#[tokio::test]
async fn an_unusable_answer_is_invalid_output_and_shows_nothing_of_the_text() {
    let page = ServerReply::new(200, "text/html", "<!doctype html><title>The elephants</title>");
    let list = ServerReply::json(200, &json!({"data": [{"index": 7, "embedding": [1.0]}]}));
    let short = openai_answer(json!("AACA"));
    let huge = openai_answer(json!([1e39, 1.0]));
    for reply in [page, list, short, huge] {
        let server = server([reply]).await;
        let config = EmbeddingConfig::openai("test").unwrap().at(server.url()).with_dimension(2);
        let embedder = ModelEmbedder::new(model(config)).unwrap();
        let err = embedder.embed_documents(&ctx(), &["The elephants in the secret text."]).await.unwrap_err();
        assert_eq!((err.kind(), err.retry()), (ErrorKind::InvalidOutput, Retry::Never), "{err}");
        let shown = format!("{err:#} {err:?}");
        assert!(!shown.contains("elephants") && !shown.contains(KEY), "{shown}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_like_that_of_a_chat_model() {
    let told = json!({"error": {"message": format!("Incorrect API key provided: {KEY}"), "code": "invalid_api_key"}});
    let server = server([ServerReply::json(401, &told)]).await;
    let config = EmbeddingConfig::openai("test").unwrap().at(server.url()).with_dimension(2);
    let err = model(config).embed(&ctx(), &["x"], EmbeddingPurpose::Query).await.unwrap_err();
    assert_eq!((err.kind(), err.operation()), (ErrorKind::Unauthenticated, "embedding.embed"));
    assert_eq!(err.get("provider_code"), Some("invalid_api_key"));
    assert!(!format!("{err:?}").contains(KEY));
}

/// No key at all.
#[derive(Debug)]
struct NoKeys;

#[async_trait::async_trait]
impl SecretStore for NoKeys {
    async fn get(&self, _name: &str) -> Result<Option<Secret>> {
        Ok(None)
    }
}

#[tokio::test]
async fn a_missing_key_is_named_before_anything_is_sent() {
    let embedders = EmbedderRegistry::default().with_secrets(Arc::new(NoKeys));
    for (name, secret) in [
        ("openai:text-embedding-3-small", "OPENAI_API_KEY"),
        ("gemini:gemini-embedding-001", "GEMINI_API_KEY"),
    ] {
        let err = embedders.open(&ctx(), name).await.unwrap_err();
        assert_eq!((err.kind(), err.get("secret")), (ErrorKind::Unauthenticated, Some(secret)));
    }
    assert_eq!(embedders.open(&ctx(), "ollama:nomic-embed-text").await.unwrap().dimension(), 768);
}

#[tokio::test]
async fn without_a_probe_nothing_is_sent_and_a_dimension_is_wanted() {
    let server = server([]).await;
    let settings = EmbedderSettings::default().with_base_url(server.url()).without_probe();
    let embedders = EmbedderRegistry::default().with_settings("ollama", settings);
    let err = embedders.open(&ctx(), "ollama:own").await.unwrap_err();
    assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, Some("dimension")));
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_knowledge_base_searches_by_the_vectors_of_a_remote_model() {
    let item = |x: f32, y: f32| json!({"embedding": [x, y]});
    let server = server([
        ServerReply::json(200, &json!({"data": [item(1.0, 0.0), item(0.0, 1.0)]})),
        ServerReply::json(200, &json!({"data": [item(0.1, 0.9)]})),
    ])
    .await;
    let settings = EmbedderSettings::default().with_base_url(server.url()).with_dimension(2);
    let embedders = EmbedderRegistry::default().with_settings("openai", settings);
    let kb = KnowledgeBase::in_memory(embedders.open(&ctx(), "openai:own").await.unwrap()).await.unwrap();
    kb.add([Document::new("cats", "Cats purr."), Document::new("dogs", "Dogs bark.")]).await.unwrap();
    let hits = kb.search("What barks?").k(1).mode(Mode::Dense).await.unwrap();
    assert_eq!(&*hits[0].document, "dogs");
    assert_eq!(server.requests().len(), 2);
}
