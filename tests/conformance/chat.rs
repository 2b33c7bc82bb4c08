//! The chat models, each with what lies behind it made to answer, break off, hang or refuse.

use std::{future, sync::Arc, time::Duration};

use raptorflow_core::{
    error::{Error, ErrorKind, Result, Retry},
    model::{
        Ability, AnthropicConfig, AnthropicModel, CircuitBreakerLayer, FallbackLayer, Layers, Model,
        ModelInfo, ModelProfile, OfflineModel, OpenAiConfig, OpenAiModel, RateLimitLayer, RedactLayer,
        ReqwestClient, RetryLayer, Structured, TimeoutLayer, TraceLayer,
    },
    runtime::Runtime,
    security::Secret,
    testing::{
        ProviderServer, Reply, ScriptedModel, ServerReply,
        conformance::{ChatPlace, ChatSubject, Situation},
    },
    types::Usage,
};
use serde_json::{Value, json};

#[cfg(feature = "genai")]
use raptorflow_core::model::{GenaiConfig, GenaiModel, GenaiProvider};

use crate::backends::Backend;

const REMOTE: &[&str] = &["breaks_off", "hangs", "notices", "asks_to_wait"];

pub(crate) fn backends() -> Vec<Backend<ChatSubject>> {
    let backend = |name, fresh| Backend { contract: "chat", name, fresh };
    vec![
        #[cfg(feature = "genai")]
        backend("gemini", || {
            Ok(ChatSubject::new(REMOTE, |runtime, situation| async move {
                let said = |text: &str, reason: Option<&str>| {
                    json!({"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": reason}],
                        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 3}})
                };
                let begin = ServerReply::data([said("It is ", None)]);
                let whole = ServerReply::data([said("It is ", None), said("true.", Some("STOP"))]);
                let server = server(&runtime, situation, whole, begin).await?;
                let config = GenaiConfig::new(GenaiProvider::Gemini, "gemini-test").at(server.url());
                let model = GenaiModel::new(config, Secret::new("key"), &ReqwestClient::default())?;
                Ok(place(Model::new(model), server))
            }))
        }),
        backend("offline", || Ok(ChatSubject::new(&["limited"], |_, _| async { Ok(offline()) }))),
        backend("scripted", || {
            let offers = &["breaks_off", "hangs", "asks_to_wait", "limited"];
            Ok(ChatSubject::new(offers, |_, situation| async move { Ok(scripted(situation)) }))
        }),
        backend("layered", || {
            let offers = &["breaks_off", "hangs", "asks_to_wait", "limited"];
            Ok(ChatSubject::new(offers, |_, situation| async move {
                let ChatPlace { model, calls, stopped } = scripted(situation);
                Ok(ChatPlace { model: layers().wrap(model), calls, stopped })
            }))
        }),
        backend("openai", || {
            let offers = &["breaks_off", "hangs", "notices", "asks_to_wait", "limited"];
            Ok(ChatSubject::new(offers, |runtime, situation| async move {
                let events = [
                    json!({"choices": [{"index": 0, "delta": {"content": "It is "}}]}).to_string(),
                    json!({"choices": [{"index": 0, "delta": {"content": "true."}, "finish_reason": "stop"}]}).to_string(),
                    json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}).to_string(),
                    "[DONE]".to_owned(),
                ];
                let begin = ServerReply::data(&events[..1]);
                let server = server(&runtime, situation, ServerReply::data(events), begin).await?;
                let mut config = OpenAiConfig::new("test").at(server.url());
                if situation == Situation::Limited {
                    config.structured = Structured::None;
                    config = config.with_profile(ModelProfile::named("*").cannot([Ability::Tools]));
                }
                let model = OpenAiModel::new(config, None, ReqwestClient::default())?;
                Ok(place(Model::new(model), server))
            }))
        }),
        backend("anthropic", || {
            Ok(ChatSubject::new(REMOTE, |runtime, situation| async move {
                let text = |text: &str| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
                let begin: Vec<Value> = vec![
                    json!({"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}}),
                    json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
                    text("It is "),
                ];
                let end = [
                    text("true."),
                    json!({"type": "content_block_stop", "index": 0}),
                    json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}),
                    json!({"type": "message_stop"}),
                ];
                let whole = ServerReply::events(begin.iter().cloned().chain(end));
                let server = server(&runtime, situation, whole, ServerReply::events(begin)).await?;
                let config = AnthropicConfig::new("test").at(server.url());
                let model = AnthropicModel::new(config, Secret::new("key"), ReqwestClient::default())?;
                Ok(place(Model::new(model), server))
            }))
        }),
    ]
}

fn offline() -> ChatPlace {
    ChatPlace {
        model: Model::new(OfflineModel::default()),
        calls: Box::new(|| 0),
        stopped: Box::pin(future::pending()),
    }
}

fn scripted(situation: Situation) -> ChatPlace {
    let answer = Reply::text("It is true.").in_pieces(6).with_usage(Usage::new(9, 3));
    let slow_down = Error::new(ErrorKind::RateLimited, "model.stream", "the script asks to slow down")
        .retryable(Retry::After(Duration::from_secs(7)));
    let reply = match situation {
        Situation::Answers | Situation::Limited => answer,
        Situation::BreaksOff => answer.cut_after(1),
        Situation::Hangs => answer.silent_after(1),
        Situation::AsksToWait => Reply::error(slow_down),
    };
    let mut script = ScriptedModel::new([reply]);
    if situation == Situation::Limited {
        script = script.with_info(ModelInfo::new("scripted:limited"));
    }
    let model = Model::new(script.clone());
    ChatPlace {
        model,
        calls: Box::new(move || script.requests().len()),
        stopped: Box::pin(future::pending()),
    }
}

/// Every layer that gives on what a model says as it comes; a pause of seven seconds is too long for the retry.
fn layers() -> Layers {
    Layers::new()
        .with(TraceLayer)
        .with(RedactLayer::default())
        .with(FallbackLayer::new().remembering(1).when(|_| false))
        .with(RetryLayer::default().with_longest_pause(Duration::from_secs(6)))
        .with(CircuitBreakerLayer::default())
        .with(RateLimitLayer::default())
        .with(TimeoutLayer::default())
}

async fn server(
    runtime: &Runtime,
    situation: Situation,
    whole: ServerReply,
    begin: ServerReply,
) -> Result<ProviderServer> {
    let reply = match situation {
        Situation::Answers | Situation::Limited => whole.in_pieces(5),
        Situation::BreaksOff => begin.cut_after(usize::MAX),
        Situation::Hangs => begin.silent_after(usize::MAX),
        Situation::AsksToWait => ServerReply::json(429, &json!({})).with_header("retry-after", "7"),
    };
    ProviderServer::start(runtime, [reply]).await
}

fn place(model: Model, server: ProviderServer) -> ChatPlace {
    let server = Arc::new(server);
    let watched = Arc::clone(&server);
    ChatPlace {
        model,
        calls: Box::new(move || server.requests().len()),
        stopped: Box::pin(async move { watched.client_gone().await }),
    }
}
