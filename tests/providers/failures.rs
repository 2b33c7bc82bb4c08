//! What refusals, broken streams and silence become, the same for both providers.

use std::time::Duration;

use futures_util::StreamExt as _;
use raptorflow_core::{
    Error, ErrorKind, Retry,
    model::{HttpConfig, Model, OpenAiConfig, OpenAiModel, PartialAnswer, ReqwestClient},
    testing::ServerReply,
    types::Timestamp,
};
use serde_json::{Value, json};

use crate::{KEY, anthropic, both, ctx, openai, question, server};

fn openai_error(code: &str, message: &str) -> Value {
    json!({"error": {"message": message, "type": "some_type", "param": null, "code": code}})
}

async fn check(reply: ServerReply, kind: ErrorKind, retry: Retry) -> [Error; 2] {
    let errors = both(reply).await.map(|answer| answer.unwrap_err());
    for err in &errors {
        assert_eq!((err.kind(), err.retry()), (kind, retry), "{err}");
        let stored = serde_json::to_string(err).unwrap();
        let shown = format!("{err:#} {err:?} {stored}");
        assert!(!shown.contains(KEY) && !shown.contains("elephants"), "{shown}");
    }
    errors
}

#[tokio::test]
async fn each_status_has_its_kind_and_says_whether_to_try_again() {
    use ErrorKind as K;
    for (status, kind, retry) in [
        (400, K::InvalidInput, Retry::Never),
        (401, K::Unauthenticated, Retry::Never),
        (403, K::PermissionDenied, Retry::Never),
        (404, K::NotFound, Retry::Never),
        (407, K::Unauthenticated, Retry::Never),
        (408, K::Timeout, Retry::Soon),
        (409, K::Conflict, Retry::Soon),
        (413, K::LimitExceeded, Retry::Never),
        (422, K::InvalidInput, Retry::Never),
        (429, K::RateLimited, Retry::Soon),
        (500, K::Unavailable, Retry::Soon),
        (503, K::Unavailable, Retry::Soon),
        (504, K::Timeout, Retry::Soon),
        (529, K::Unavailable, Retry::Soon),
        (302, K::InvalidInput, Retry::Never),
    ] {
        let errors =
            check(ServerReply::json(status, &openai_error("a_code", "A message.")), kind, retry).await;
        for err in errors {
            assert_eq!(err.get("status"), Some(status.to_string().as_str()));
            assert_eq!(err.get("provider_code"), Some("a_code"));
            assert_eq!(err.get("provider_message"), Some("A message."));
        }
    }
}

#[tokio::test]
async fn the_pause_that_the_provider_names_is_kept() {
    let slow = |name: &str, value: &str| ServerReply::json(429, &json!({})).with_header(name, value);
    check(slow("retry-after", "7"), ErrorKind::RateLimited, Retry::After(Duration::from_secs(7))).await;
    check(slow("retry-after-ms", "250"), ErrorKind::RateLimited, Retry::After(Duration::from_millis(250)))
        .await;
    check(slow("retry-after", "soon"), ErrorKind::RateLimited, Retry::Soon).await;
    let past = "Wed, 21 Oct 2015 07:28:00 GMT";
    check(slow("retry-after", past), ErrorKind::RateLimited, Retry::After(Duration::ZERO)).await;
    let server = server([slow("retry-after", "Fri, 31 Dec 2100 23:59:59 GMT")]).await;
    let err = openai(&server).complete(&ctx(), &question()).await.unwrap_err();
    let until = "2100-12-31T23:59:59Z".parse::<Timestamp>().unwrap().since(ctx().now());
    let Retry::After(pause) = err.retry() else { panic!("{err}") };
    assert!(until.abs_diff(pause) < Duration::from_secs(60), "{pause:?}");
}

#[tokio::test]
async fn an_empty_account_and_a_full_window_are_not_tried_again() {
    let quota = ServerReply::json(429, &openai_error("insufficient_quota", "Check your plan."));
    check(quota, ErrorKind::RateLimited, Retry::Never).await;
    let long = ServerReply::json(400, &openai_error("context_length_exceeded", "Too long."));
    check(long, ErrorKind::LimitExceeded, Retry::Never).await;
}

#[tokio::test]
async fn what_the_provider_repeats_of_key_and_prompt_is_withheld() {
    let told = |message: &str| ServerReply::json(400, &openai_error("x", message));
    let key = format!("Incorrect API key provided: {KEY}. Also sk-proj-ab***yz.");
    let errors = check(told(&key), ErrorKind::InvalidInput, Retry::Never).await;
    assert_eq!(errors[0].get("provider_message"), Some("Incorrect API key provided: ***. Also ***"));
    let prompt = "Flagged: 'The secret prompt of a test about elephants.'";
    let errors = check(told(prompt), ErrorKind::InvalidInput, Retry::Never).await;
    assert_eq!(errors[0].get("provider_message"), Some("(repeats the request)"));
}

#[tokio::test]
async fn a_page_instead_of_json_is_named() {
    let page = |status| ServerReply::new(status, "text/html", "<!doctype html><title>Gateway</title>");
    let errors = check(page(502), ErrorKind::Unavailable, Retry::Soon).await;
    assert!(errors[0].get("body").unwrap().starts_with("HTML instead of JSON"));
    check(page(200), ErrorKind::InvalidOutput, Retry::Never).await;
    // As a wrong base URL is answered.
    let errors = check(page(404), ErrorKind::NotFound, Retry::Never).await;
    assert!(errors[0].get("body").unwrap().contains("is the base URL that of the API?"));
    let whole = ServerReply::json(200, &json!({"choices": [{"message": {"content": "not streamed"}}]}));
    check(whole, ErrorKind::InvalidOutput, Retry::Never).await;
}

#[tokio::test]
async fn what_is_no_event_of_the_wire_is_invalid_output() {
    for body in ["data: {\"choices\": [{]\n\n", "data: <html>\n\n", "event: x\ndata: [1]\n\n"] {
        check(ServerReply::new(200, "text/event-stream", body), ErrorKind::InvalidOutput, Retry::Never).await;
    }
    // Without any event there is only silence.
    check(ServerReply::new(200, "text/event-stream", "garbage"), ErrorKind::Unavailable, Retry::Soon).await;
    let endless = format!("data: {}", "x".repeat(10 << 20));
    check(ServerReply::new(200, "text/event-stream", endless), ErrorKind::LimitExceeded, Retry::Never).await;
    check(ServerReply::raw("SMTP ready"), ErrorKind::Unavailable, Retry::Soon).await;
}

#[tokio::test]
async fn an_error_inside_the_stream_has_the_kind_of_its_code() {
    let server = server([ServerReply::data([
        json!({"choices": [{"index": 0, "delta": {"content": "partly"}}]}),
        json!({"error": {"message": "Slow down.", "code": "rate_limit_exceeded"}}),
    ])])
    .await;
    let err = openai(&server).complete(&ctx(), &question()).await.unwrap_err();
    assert_eq!((err.kind(), err.retry()), (ErrorKind::RateLimited, Retry::Soon));
    assert_eq!(err.cause::<PartialAnswer>().unwrap().text, "partly");
}

#[tokio::test]
async fn a_cut_connection_keeps_what_arrived() {
    let chunk = json!({"choices": [{"index": 0, "delta": {"content": "kept"}}]});
    let reply = ServerReply::data([&chunk, &chunk]);
    let server = server([reply.clone().cut_after(90), reply]).await;
    for arrived in ["kept", "keptkept"] {
        let err = openai(&server).complete(&ctx(), &question()).await.unwrap_err();
        assert_eq!((err.kind(), err.retry()), (ErrorKind::Unavailable, Retry::Soon), "{err}");
        assert_eq!(err.cause::<PartialAnswer>().unwrap().text, arrived);
        assert!(!format!("{err:?}").contains("kept"));
    }
}

#[tokio::test]
async fn silence_ends_with_the_context_or_the_client_and_closes_the_connection() {
    let silent = ServerReply::data(["{\"choices\": []}"]).silent_after(usize::MAX);
    let server = server([silent.clone(), silent]).await;
    let context = ctx();
    let mut stream = anthropic(&server).stream(&context, &question()).await.unwrap();
    drop(stream.next());
    drop(stream);
    server.client_gone().await;
    let config = OpenAiConfig::new("gpt-test").at(server.url());
    let patience = HttpConfig { idle_timeout: Duration::from_millis(50), ..HttpConfig::default() };
    let model = Model::new(OpenAiModel::new(config, None, ReqwestClient::new(patience)).unwrap());
    let err = model.complete(&context, &question()).await.unwrap_err();
    assert_eq!((err.kind(), err.retry()), (ErrorKind::Timeout, Retry::Soon), "{err}");
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_is_named() {
    let closed = server([]).await;
    let url = closed.url();
    drop(closed);
    let config = OpenAiConfig::new("gpt-test").at(&*url);
    let model = Model::new(OpenAiModel::new(config, None, ReqwestClient::default()).unwrap());
    let err = model.complete(&ctx(), &question()).await.unwrap_err();
    assert_eq!((err.kind(), err.retry()), (ErrorKind::Unavailable, Retry::Soon), "{err}");
    assert!(url.ends_with(err.get("host").unwrap()), "{err}");
    // A server without TLS behind an https address is as good as none.
    let plain = server([]).await;
    let config = OpenAiConfig::new("gpt-test").at(plain.url().replace("http://", "https://"));
    let model = Model::new(OpenAiModel::new(config, None, ReqwestClient::default()).unwrap());
    let err = model.complete(&ctx(), &question()).await.unwrap_err();
    assert_eq!((err.kind(), err.retry()), (ErrorKind::Unavailable, Retry::Never), "{err:#}");
    assert!(err.message().contains("does not speak TLS"), "{err:#}");
    assert!(plain.url().ends_with(err.get("host").unwrap_or("?")), "{err:#}");
    for refused in ["ftp://x", "https://user:pass@host/v1", "host/v1", "https://"] {
        let config = OpenAiConfig::new("gpt-test").at(refused);
        let err = OpenAiModel::new(config, None, ReqwestClient::default()).unwrap_err();
        assert_eq!(err.kind(), ErrorKind::InvalidInput, "{refused}");
        assert!(!err.to_string().contains("pass@"), "{err}");
    }
}
