//! The tool `web_search` over the wire of tavily.com, against a scripted server.

use raptorflow_core::{
    ErrorKind,
    security::EnvSecrets,
    testing::{ProviderServer, ServerReply},
    tool::{Tavily, Tool as _, WebSearch},
};
use serde_json::json;

use crate::{KEY, ctx, server};

fn tool(server: &ProviderServer) -> WebSearch {
    let secrets = EnvSecrets::from_lookup(|name| (name == "TAVILY_API_KEY").then(|| KEY.to_owned()));
    WebSearch::new(Tavily::new(secrets).at(&server.url()))
}

#[tokio::test]
async fn pages_are_asked_for_and_answered_best_first() {
    let found = |n: u32| {
        json!({ "title": format!("Page {n}"), "url": format!("https://example.com/{n}"), "content": "Elephants.",
            "score": 0.9, "raw_content": null })
    };
    let reply = json!({ "query": "q", "results": [found(1), found(2), found(3)], "response_time": 0.5 });
    let server = server([ServerReply::json(200, &reply)]).await;
    let arguments = json!({ "query": "elephants", "topic": "news", "results": 2, "days": 7 });
    let answer = tool(&server).call(&ctx(), arguments).await.unwrap();
    let page = |n: u32| json!({ "title": format!("Page {n}"), "url": format!("https://example.com/{n}"), "text": "Elephants." });
    assert_eq!(answer, json!({ "pages": [page(1), page(2)] }));
    let asked = &server.requests()[0];
    assert_eq!(asked.line, "POST /search");
    assert_eq!(asked.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    let body = json!({ "query": "elephants", "max_results": 2, "topic": "news", "days": 7 });
    assert_eq!(asked.body, body);
}

#[tokio::test]
async fn a_refusal_is_named_without_the_key_or_the_question() {
    for (status, kind) in [
        (401, ErrorKind::Unauthenticated),
        (429, ErrorKind::RateLimited),
        (432, ErrorKind::LimitExceeded),
        (500, ErrorKind::Unavailable),
        (400, ErrorKind::InvalidInput),
    ] {
        let server = server([ServerReply::json(status, &json!({ "detail": KEY }))]).await;
        let err = tool(&server).call(&ctx(), json!({ "query": "elephants" })).await.unwrap_err();
        let shown = format!("{err:#} {err:?}");
        assert_eq!(err.kind(), kind, "{shown}");
        assert!(!shown.contains(KEY) && !shown.contains("elephants"), "{shown}");
    }
    let server = server([ServerReply::json(200, &json!({ "answer": 1 }))]).await;
    let err = tool(&server).call(&ctx(), json!({ "query": "elephants" })).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::InvalidOutput);
    let keyless = WebSearch::new(Tavily::new(EnvSecrets::from_lookup(|_| None)).at(&server.url()));
    let err = keyless.call(&ctx(), json!({ "query": "elephants" })).await.unwrap_err();
    assert_eq!((err.kind(), err.get("secret")), (ErrorKind::Unauthenticated, Some("TAVILY_API_KEY")));
    assert_eq!(server.requests().len(), 1);
}
