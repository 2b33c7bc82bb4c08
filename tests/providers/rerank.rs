//! The wires of rerankers, what a bad answer becomes, and the step of a search that uses one.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use raptorflow_core::{
    Error, ErrorKind, Result, Retry,
    event::{Bus, BusConfig, EventKind, Filter, Lag},
    model::{
        HttpReranker, ProviderSettings, ReqwestClient, RerankAnswer, RerankConfig, Reranker, RerankerRegistry,
    },
    rag::{Document, HashingEmbedder, KnowledgeBase, KnowledgeBaseBuilder, Rerank, RerankSettings},
    runtime::{Context, Runtime, Tasks},
    security::{Secret, SecretStore},
    testing::{ManualClock, ServerReply},
    types::Usage,
};
use serde_json::{Value, json};

use crate::{KEY, ctx, server};

const DOCUMENTS: [&str; 3] = ["zero", "one", "two"];

fn reranker(config: RerankConfig, url: &str) -> HttpReranker {
    let config = config.at(format!("{url}/v2"));
    HttpReranker::new(config, Some(Secret::new(KEY)), ReqwestClient::default()).unwrap()
}

fn order(answer: &RerankAnswer) -> Vec<(usize, f32)> {
    answer.results.iter().map(|result| (result.index, result.score)).collect()
}

#[tokio::test]
async fn each_wire_asks_and_is_read_in_its_own_words() {
    let results = json!([{"index": 1, "relevance_score": 0.25}, {"index": 2, "relevance_score": 0.75}]);
    let cohere = json!({"results": results, "meta": {"tokens": {"input_tokens": 12.0}}});
    let jina = json!({"results": results, "usage": {"total_tokens": 12}});
    let voyage = json!({"data": results, "usage": {"total_tokens": 12}});
    for (config, answer, more) in [
        (RerankConfig::cohere("m"), cohere, json!({"top_n": 2})),
        (RerankConfig::jina("m"), jina, json!({"top_n": 2, "return_documents": false})),
        (RerankConfig::voyage("m"), voyage, json!({"top_k": 2})),
    ] {
        let server = server([ServerReply::json(200, &answer).in_pieces(7)]).await;
        let model = reranker(config, &server.url());
        let answer = model.rerank(&ctx(), "which?", &DOCUMENTS, 2).await.unwrap();
        assert_eq!((order(&answer), answer.usage), (vec![(2, 0.75), (1, 0.25)], Usage::new(12, 0)));
        assert!(model.rerank(&ctx(), "which?", &[], 2).await.unwrap().results.is_empty());
        let requests = server.requests();
        assert_eq!((requests.len(), requests[0].line.as_str()), (1, "POST /v2/rerank"));
        assert_eq!(requests[0].header("authorization"), Some(format!("Bearer {KEY}").as_str()));
        let mut asked = json!({"model": "m", "query": "which?", "documents": DOCUMENTS});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(requests[0].body, asked);
    }
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_invalid_output_and_shows_nothing_of_the_documents() {
    let item = |index: usize, score: Value| json!({"index": index, "relevance_score": score});
    let answer = |items: Value| ServerReply::json(200, &json!({ "results": items }));
    for reply in [
        answer(json!([item(0, json!(0.5)), item(3, json!(0.4))])),
        answer(json!([item(0, json!(0.5)), item(0, json!(0.4))])),
        answer(json!([item(0, json!(0.5)), item(1, json!(null))])),
        answer(json!([item(0, json!(0.5)), item(1, json!("NaN"))])),
        answer(json!([item(0, json!(0.5)), item(1, json!(1e300))])),
        answer(json!([item(0, json!(0.5))])),
        ServerReply::json(200, &json!({"answer": 1})),
        ServerReply::new(200, "text/html", "<!doctype html><title>Gateway</title>"),
    ] {
        let server = server([reply]).await;
        let model = reranker(RerankConfig::cohere("m"), &server.url());
        let documents = ["elephants never forget", "the price of ivory"];
        let err = model.rerank(&ctx(), "elephants?", &documents, 2).await.unwrap_err();
        assert_eq!((err.kind(), err.retry()), (ErrorKind::InvalidOutput, Retry::Never), "{err:#}");
        assert!(!format!("{err:#} {err:?}").contains("elephants"), "{err:#}");
    }
}

#[tokio::test]
async fn a_pause_that_the_provider_asks_for_is_told() {
    let busy = ServerReply::json(429, &json!({"message": "slow down"})).with_header("retry-after", "7");
    let server = server([busy]).await;
    let model = reranker(RerankConfig::jina("m"), &server.url());
    let err = model.rerank(&ctx(), "which?", &DOCUMENTS, 2).await.unwrap_err();
    assert_eq!((err.kind(), err.retry()), (ErrorKind::RateLimited, Retry::After(Duration::from_secs(7))));
}

#[derive(Debug)]
struct Keys(Option<&'static str>);

#[async_trait]
impl SecretStore for Keys {
    async fn get(&self, name: &str) -> Result<Option<Secret>> {
        Ok(self.0.filter(|_| name == "COHERE_API_KEY").map(Secret::new))
    }
}

#[tokio::test]
async fn a_name_opens_a_reranker_with_the_key_of_its_provider() {
    let results = json!([{"index": 0, "relevance_score": 0.5}]);
    let server = server([ServerReply::json(200, &json!({ "results": results }))]).await;
    let host = ProviderSettings::default().with_base_url(format!("{}/v2", server.url()));
    let registry = RerankerRegistry::default().with_secrets(Arc::new(Keys(Some(KEY))));
    let model = registry.clone().with_settings("cohere", host).open("cohere:rerank-v3.5").await.unwrap();
    assert_eq!(model.name(), "cohere:rerank-v3.5");
    model.rerank(&ctx(), "which?", &["one"], 1).await.unwrap();
    assert_eq!(server.requests()[0].header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    let err = registry.open("voyage:rerank-2.5").await.unwrap_err();
    assert_eq!((err.kind(), err.get("secret")), (ErrorKind::Unauthenticated, Some("VOYAGE_API_KEY")));
    for (name, kind) in [("cohere", ErrorKind::InvalidInput), ("cohre:x", ErrorKind::NotFound)] {
        assert_eq!(registry.open(name).await.unwrap_err().kind(), kind, "{name}");
    }
}

/// Likes documents by how late they were given, or fails.
#[derive(Debug)]
struct Backwards(Option<ErrorKind>);

#[async_trait]
impl Reranker for Backwards {
    fn name(&self) -> &str {
        "test:backwards"
    }

    async fn rerank(&self, _: &Context, _: &str, documents: &[&str], _: usize) -> Result<RerankAnswer> {
        if let Some(kind) = self.0 {
            return Err(Error::new(kind, "test.rerank", "down"));
        }
        let result = |index| raptorflow_core::model::Reranked { index, score: index as f32 };
        Ok(RerankAnswer { results: (0..documents.len()).map(result).collect(), usage: Usage::default() })
    }
}

/// Never answers.
#[derive(Debug)]
struct Silent;

#[async_trait]
impl Reranker for Silent {
    fn name(&self) -> &str {
        "test:silent"
    }

    async fn rerank(&self, _: &Context, _: &str, _: &[&str], _: usize) -> Result<RerankAnswer> {
        std::future::pending().await
    }
}

fn notes() -> impl Iterator<Item = Document> + Send + 'static {
    (1..=6).map(|number| {
        let text = format!("{}and nothing else of note {number}.", "tides ".repeat(number));
        Document::new(format!("{number}.md"), text)
    })
}

async fn base(bus: Option<Bus>) -> KnowledgeBase {
    let builder = KnowledgeBase::builder(HashingEmbedder::default());
    let builder = bus.into_iter().fold(builder, KnowledgeBaseBuilder::bus);
    let kb = builder.open().await.unwrap();
    kb.add(notes()).strict().await.unwrap();
    kb
}

fn sources(hits: &[raptorflow_core::rag::Hit]) -> Vec<String> {
    hits.iter().map(|hit| hit.source.to_string()).collect()
}

#[tokio::test]
async fn the_order_of_a_search_is_that_of_its_reranker_within_its_bounds() {
    let kb = base(None).await;
    let plain = sources(&kb.search("tides").await.unwrap());
    assert_eq!(plain.len(), 6);
    let hits = kb.search("tides").k(2).rerank(Rerank::new(Backwards(None))).await.unwrap();
    let expected: Vec<String> = plain.iter().rev().take(2).cloned().collect();
    assert_eq!(sources(&hits), expected);
    assert_eq!((hits[0].score, hits[0].parts.rerank), (5.0, Some(5.0)));
    assert!(hits[0].parts.lexical.is_some());
    // Of four candidates the last is the best, and a few tokens are one document.
    let four = Rerank::new(Backwards(None)).with_candidates(4);
    assert_eq!(sources(&kb.search("tides").k(1).rerank(four).await.unwrap()), [plain[3].clone()]);
    let short = Rerank::new(Backwards(None)).with_max_tokens(1);
    assert_eq!(sources(&kb.search("tides").k(5).rerank(short).await.unwrap()), [plain[0].clone()]);
}

#[tokio::test]
async fn a_knowledge_base_with_a_reranker_uses_it_for_every_search_that_does_not_refuse() {
    let builder = KnowledgeBase::builder(HashingEmbedder::default()).rerank(Rerank::new(Backwards(None)));
    let kb = builder.open().await.unwrap();
    kb.add(notes()).strict().await.unwrap();
    let ordered = sources(&kb.search("tides").await.unwrap());
    let mut plain = sources(&kb.search("tides").without_rerank().await.unwrap());
    plain.reverse();
    assert_eq!(ordered, plain);
    assert_eq!(&*kb.context("tides", 2_000).await.unwrap().passages[0].source, ordered[0]);
}

#[tokio::test]
async fn a_reranker_that_fails_fails_the_search_unless_the_order_is_kept_and_told() {
    let bus = Bus::local(BusConfig::default());
    let mut events = bus.subscribe(Filter::default(), 64, Lag::Fail).unwrap();
    let kb = base(Some(bus)).await;
    let broken = || Rerank::new(Backwards(Some(ErrorKind::Unauthenticated)));
    let err = kb.search("tides").rerank(broken()).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Unauthenticated);
    let plain = sources(&kb.search("tides").k(3).await.unwrap());
    let kept = kb.search("tides").k(3).rerank(broken().keeping_order()).await.unwrap();
    assert_eq!((sources(&kept), kept[0].parts.rerank), (plain, None));
    let warning = loop {
        let event = events.recv().await.unwrap().unwrap().into_event().unwrap();
        if event.kind == EventKind::WarningIssued {
            break event.data.clone();
        }
    };
    assert_eq!(warning["reranker"], "test:backwards");
    assert_eq!(warning["error"]["kind"], json!(ErrorKind::Unauthenticated));
}

#[tokio::test]
async fn a_reranker_that_says_nothing_ends_at_its_limit() {
    let clock = ManualClock::new();
    let runtime = Runtime::new(Arc::new(clock.clone()), Tasks::current().unwrap());
    let context = Context::new(&runtime);
    let builder = KnowledgeBase::builder(HashingEmbedder::default()).context(&context);
    let kb = builder.open().await.unwrap();
    kb.add(notes()).strict().await.unwrap();
    let rerank = Rerank::new(Silent).with_timeout(Duration::from_secs(3));
    let search = tokio::spawn(kb.search("tides").rerank(rerank).into_future());
    while clock.sleepers() == 0 {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(3));
    let err = search.await.unwrap().unwrap_err();
    assert_eq!((err.kind(), err.get("reranker")), (ErrorKind::Timeout, Some("test:silent")));
}

#[test]
fn a_step_is_data() {
    let given =
        json!({"model": "jina:m", "candidates": 9, "timeout_seconds": 2.5, "on_failure": "keep_order"});
    let settings: RerankSettings = serde_json::from_value(given).unwrap();
    assert_eq!((settings.candidates, settings.timeout), (9, Duration::from_millis(2500)));
    assert!(serde_json::from_value::<RerankSettings>(json!({"model": "a:b", "candidate": 1})).is_err());
}
