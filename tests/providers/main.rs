//! The remote models and tools against scripted servers on this machine: wire format, streams and failures.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails loudly"
)]

mod anthropic;
mod cassette;
mod embeddings;
mod failures;
#[cfg(target_os = "linux")]
mod fetch;
#[cfg(feature = "genai")]
mod genai;
mod media;
mod network;
mod openai;
mod rerank;
mod responses;
mod search;
mod usage;

use raptorflow_core::{
    Error,
    model::{
        AnthropicConfig, AnthropicModel, ChatRequest, ChatResponse, Model, OpenAiConfig, OpenAiModel,
        ReqwestClient,
    },
    runtime::{Context, Runtime},
    security::Secret,
    testing::{ProviderServer, ServerReply},
    types::Message,
};

/// A key that must never show.
pub(crate) const KEY: &str = "sk-test-never-shown-0123456789";

pub(crate) fn ctx() -> Context {
    Context::new(&Runtime::current().unwrap())
}

pub(crate) async fn server(replies: impl IntoIterator<Item = ServerReply>) -> ProviderServer {
    ProviderServer::start(ctx().runtime(), replies).await.unwrap()
}

pub(crate) fn openai(server: &ProviderServer) -> Model {
    let config = OpenAiConfig::new("gpt-test").at(format!("{}/v1", server.url()));
    Model::new(OpenAiModel::new(config, Some(Secret::new(KEY)), ReqwestClient::default()).unwrap())
}

pub(crate) fn anthropic(server: &ProviderServer) -> Model {
    let config = AnthropicConfig::new("claude-test").at(server.url());
    Model::new(AnthropicModel::new(config, Secret::new(KEY), ReqwestClient::default()).unwrap())
}

pub(crate) fn question() -> ChatRequest {
    ChatRequest::new(vec![Message::user("The secret prompt of a test about elephants.")])
}

/// What each of the two providers makes of one reply.
pub(crate) async fn both(reply: ServerReply) -> [Result<ChatResponse, Error>; 2] {
    let server = server([reply.clone(), reply]).await;
    [
        openai(&server).complete(&ctx(), &question()).await,
        anthropic(&server).complete(&ctx(), &question()).await,
    ]
}
