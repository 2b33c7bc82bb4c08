//! Counts and ends: what breaks off keeps its usage, what is no count is an error, nothing is charged twice.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use raptorflow_core::{
    ErrorKind, Retry,
    economics::{BudgetConfig, Budgets, Price, PriceBook},
    model::{BudgetLayer, FinishReason, Layers, Model, PartialAnswer, RetryLayer, StreamPart},
    runtime::{Backoff, Context, Runtime, Tasks},
    storage::Storage,
    testing::{ManualClock, ServerReply},
    types::{Currency, Schema, Timestamp, ToolSpec, Usage},
};
use serde_json::{Value, json};

use crate::{anthropic, both, ctx, openai, question, server};

fn no_pause() -> Backoff {
    Backoff { base: Duration::ZERO, ..Backoff::default() }
}

fn chat(choice: &Value, usage: &Value) -> Value {
    json!({"choices": [choice], "usage": usage})
}

/// The events of an answer of Anthropic's, up to its text.
fn begun(usage: &Value, text: &str) -> Vec<Value> {
    vec![
        json!({"type": "message_start", "message": {"usage": usage}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
    ]
}

fn ended(reason: &str, usage: &Value) -> Vec<Value> {
    vec![
        json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}),
        json!({"type": "message_stop"}),
    ]
}

#[tokio::test]
async fn an_answer_that_breaks_off_keeps_the_usage_so_far() {
    let usage = json!({"input_tokens": 4, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 6,
        "output_tokens": 1});
    let text = "x".repeat(400);
    let overloaded = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let whole = ServerReply::events(begun(&usage, &text));
    let failed = ServerReply::events(begun(&usage, &text).into_iter().chain([overloaded]));
    for reply in [whole.clone(), whole.cut_after(usize::MAX), failed] {
        let server = server([reply]).await;
        let err = anthropic(&server).complete(&ctx(), &question()).await.unwrap_err();
        assert_eq!((err.kind(), err.retry()), (ErrorKind::Unavailable, Retry::Soon), "{err}");
        let partial = err.cause::<PartialAnswer>().unwrap();
        assert_eq!(partial.text, text);
        // The API tells what it wrote at the end; four hundred letters are at least a hundred tokens.
        let kept = Usage { input_tokens: 12, output_tokens: 100, cached_tokens: 6, reasoning_tokens: 0 };
        assert_eq!(partial.usage, kept);
    }
    let chunk = chat(
        &json!({"index": 0, "delta": {"content": "x"}}),
        &json!({"prompt_tokens": 9, "completion_tokens": 3}),
    );
    let server = server([ServerReply::data([chunk])]).await;
    let err = openai(&server).complete(&ctx(), &question()).await.unwrap_err();
    assert_eq!(err.cause::<PartialAnswer>().unwrap().usage, Usage::new(9, 3));
}

#[tokio::test]
async fn a_negative_count_is_named_and_not_believed() {
    let stop = json!({"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"});
    let negative = ServerReply::data([chat(&stop, &json!({"prompt_tokens": -5, "completion_tokens": 3}))]);
    let mut events = begun(&json!({"input_tokens": 4}), "x");
    events.extend(ended("end_turn", &json!({"output_tokens": -9})));
    for (model, reply, field) in [
        ("openai", negative, "usage.prompt_tokens"),
        ("anthropic", ServerReply::events(events), "usage.output_tokens"),
    ] {
        let server = server([reply]).await;
        let model = if model == "openai" { openai(&server) } else { anthropic(&server) };
        let err = model.complete(&ctx(), &question()).await.unwrap_err();
        assert_eq!((err.kind(), err.retry()), (ErrorKind::InvalidOutput, Retry::Never), "{err}");
        assert_eq!(err.get("field"), Some(field));
        assert_eq!(err.cause::<PartialAnswer>().unwrap().text, "x");
    }
}

#[tokio::test]
async fn an_unknown_reason_for_the_end_is_told_as_it_is() {
    let stop = json!({"index": 0, "delta": {"content": "x"}, "finish_reason": "boredom"});
    let server = server([
        ServerReply::data([chat(&stop, &Value::Null)]),
        ServerReply::events(begun(&json!({}), "x").into_iter().chain(ended("boredom", &json!({})))),
        ServerReply::events(begun(&json!({}), "x").into_iter().chain(ended("pause_turn", &json!({})))),
        ServerReply::events(begun(&json!({}), "x").into_iter().chain(ended("refusal", &json!({})))),
    ])
    .await;
    let answer = openai(&server).complete(&ctx(), &question()).await.unwrap();
    assert_eq!((answer.finish, answer.usage), (FinishReason::Other("boredom".into()), Usage::default()));
    for finish in [
        FinishReason::Other("boredom".into()),
        FinishReason::Other("pause_turn".into()),
        FinishReason::ContentFilter,
    ] {
        assert_eq!(anthropic(&server).complete(&ctx(), &question()).await.unwrap().finish, finish);
    }
}

#[tokio::test]
async fn arguments_that_are_not_json_stay_a_text_for_the_check_to_refuse() {
    let call = json!({"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "c", "function":
        {"name": "add", "arguments": "{\"n\": "}}]}, "finish_reason": "tool_calls"});
    let server = server([
        ServerReply::data([chat(&call, &Value::Null)]),
        ServerReply::events(
            [
                json!({"type": "content_block_start", "index": 0, "content_block":
                    {"type": "tool_use", "id": "c", "name": "add", "input": {}}}),
                json!({"type": "content_block_delta", "index": 0, "delta":
                    {"type": "input_json_delta", "partial_json": "{\"n\": "}}),
                json!({"type": "content_block_stop", "index": 0}),
            ]
            .into_iter()
            .chain(ended("tool_use", &json!({}))),
        ),
    ])
    .await;
    let asked = question().with_tools([ToolSpec::new("add", "Adds.", Schema::any_object())]);
    for model in [openai(&server), anthropic(&server)] {
        let answer = model.complete(&ctx(), &asked).await.unwrap();
        let call = answer.message.tool_calls().next().unwrap();
        assert_eq!((&call.arguments, &answer.finish), (&json!("{\"n\": "), &FinishReason::ToolCalls));
    }
}

#[tokio::test]
async fn parts_are_given_on_as_they_arrive() {
    let first = chat(&json!({"index": 0, "delta": {"content": "first"}}), &Value::Null);
    let last =
        chat(&json!({"index": 0, "delta": {"content": " last"}, "finish_reason": "stop"}), &Value::Null);
    let length = format!("data: {first}\n\n").len();
    let server = server([ServerReply::data([first, last]).paused_after(length)]).await;
    let mut parts = openai(&server).stream(&ctx(), &question()).await.unwrap();
    assert_eq!(parts.next().await.unwrap().unwrap(), StreamPart::text("first"));
    server.go_on();
    let rest: Vec<_> = parts.map(Result::unwrap).collect().await;
    assert_eq!(rest, [StreamPart::text(" last"), StreamPart::Finish { reason: FinishReason::Stop }]);
}

#[tokio::test]
async fn a_call_that_is_tried_again_is_charged_for_what_each_try_took() {
    let stop = json!({"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"});
    let told = json!({"prompt_tokens": 40, "completion_tokens": 2});
    let whole = ServerReply::data([chat(&stop, &told)]);
    let busy = ServerReply::json(429, &json!({})).with_header("retry-after", "0");
    let cut = ServerReply::data([chat(&json!({"index": 0, "delta": {"content": "x"}}), &told)]);
    let refused = ServerReply::json(401, &json!({"error": {"message": "No.", "code": "invalid_api_key"}}));
    let overloaded = ServerReply::json(529, &json!({})).with_header("retry-after", "0");
    for (replies, requests, charged) in [
        (vec![busy, overloaded.clone(), whole.clone()], 3, Some((40, 2))),
        (vec![cut.clone(), whole], 2, Some((80, 4))),
        (vec![cut.clone(), cut.clone(), cut.clone()], 3, Some((120, 6))),
        (vec![cut, overloaded.clone(), overloaded], 3, Some((40, 2))),
        (vec![refused], 1, None),
    ] {
        let runtime = Runtime::new(Arc::new(ManualClock::new()), Tasks::current().unwrap());
        let ctx = Context::new(&runtime);
        let server = server(replies).await;
        let budgets = Budgets::new(Storage::memory(), runtime, BudgetConfig::default()).unwrap();
        let mut prices = PriceBook::empty();
        let valid_from = Timestamp::default();
        let price = Price { currency: Currency::USD, input: 1, output: 1, cached: 0, valid_from };
        prices.insert("openai:gpt-test", price);
        let budget = BudgetLayer::new(budgets.clone(), prices);
        let layers = Layers::new().with(budget).with(RetryLayer::new(no_pause()));
        let model: Model = layers.wrap(openai(&server));
        let answer = model.complete(&ctx, &question()).await;
        assert_eq!(server.requests().len(), requests, "{answer:?}");
        let spent = budgets.spendings(&ctx, None, None).await.unwrap();
        let usages: Vec<Usage> = spent.iter().map(|spending| spending.usage).collect();
        let expected: Vec<Usage> =
            charged.into_iter().map(|(input, output)| Usage::new(input, output)).collect();
        assert_eq!(usages, expected, "{answer:?}");
    }
    let errors = both(ServerReply::json(529, &json!({}))).await;
    assert!(errors.into_iter().all(|err| err.unwrap_err().retry() == Retry::Soon));
}
