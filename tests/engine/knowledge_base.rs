//! What a knowledge base promises: idempotent ingest, exact hits, persistence, isolation, cancellation.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use raptorflow_core::{
    ErrorKind, Result,
    event::{Bus, BusConfig, EventKind, History},
    rag::{
        CitedContext, Document, Filter, FnEmbedder, Fusion, HashingEmbedder, Hit, IngestReport,
        KnowledgeBase, MarkdownChunker, Mode, Progress, Retriever, estimate_tokens,
        lexical::{InvertedConfig, InvertedIndex, Language, StandardAnalyzer},
        vector::{FlatIndex, HnswConfig, HnswIndex, Metric},
    },
    runtime::{Context, Runtime},
    storage::{Expect, Scan, Storage},
};
use serde_json::{Value, json};

const PLANS: &str = "# Plans\n\n## Basic\n\nThe basic plan costs ₹499 a month.\n\n## Premium\n\nThe premium plan costs ₹1,999 a month and includes priority support.\n";

fn documents() -> Vec<Document> {
    let refunds = "# Refunds\n\nMoney goes back within seven days of a cancelled order.\n";
    vec![
        Document { source: Some("guide/plans.md".into()), ..Document::new("plans", PLANS) }
            .with("lang", "en"),
        Document::new("refunds", refunds).with("lang", "en").with("year", 2024),
        Document::new("abos", "# Abos\n\nDas Basis-Abo kostet 499 Rupien, plan it.\n").with("lang", "de"),
    ]
}

async fn filled() -> KnowledgeBase {
    let kb = KnowledgeBase::in_memory(HashingEmbedder::default()).await.unwrap();
    kb.add(documents()).await.unwrap();
    kb
}

fn ctx() -> Context {
    Context::new(&Runtime::current().unwrap())
}

fn report(added: usize, updated: usize, unchanged: usize, removed: usize, chunks: usize) -> IngestReport {
    IngestReport { added, updated, unchanged, removed, chunks, skipped: vec![] }
}

#[tokio::test]
async fn adding_again_changes_only_what_changed() {
    let kb = filled().await;
    assert_eq!(kb.add(documents()).await.unwrap(), report(0, 0, 3, 0, 0));
    let mut changed = documents();
    changed[1].text = "# Refunds\n\nNo money goes back.\n".into();
    assert_eq!(kb.add(changed).await.unwrap(), report(0, 1, 2, 0, 1));
    assert_eq!(kb.search("seven days").await.unwrap(), []);
    let hits = kb.search("no refunds of money").await.unwrap();
    assert_eq!((hits.len(), hits[0].text.as_str()), (1, "# Refunds\n\nNo money goes back."));
    assert_eq!((kb.len(), kb.chunk_count()), (3, 3));
}

#[tokio::test]
async fn metadata_alone_is_a_change() {
    let kb = filled().await;
    let changed = documents().remove(1).with("year", 2025);
    assert!(kb.update(changed.clone()).await.unwrap());
    assert!(!kb.update(changed).await.unwrap());
    assert_eq!(kb.get("refunds").unwrap().metadata["year"], 2025);
}

#[tokio::test]
async fn the_same_id_twice_in_one_ingest_keeps_the_last() {
    let kb = KnowledgeBase::in_memory(HashingEmbedder::default()).await.unwrap();
    let twice = [Document::new("a", "first form"), Document::new("a", "second form")];
    assert_eq!(kb.add(twice).await.unwrap(), report(1, 1, 0, 0, 2));
    assert_eq!(kb.search("form").await.unwrap().len(), 1);
    assert_eq!(kb.get("a").unwrap().text, "second form");
}

#[tokio::test]
async fn deleting_and_updating_say_whether_there_was_something() {
    let kb = filled().await;
    assert!(kb.delete("plans").await.unwrap());
    assert!(!kb.delete("plans").await.unwrap());
    assert_eq!(kb.update(Document::new("plans", "x")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(
        kb.search("premium").mode(Mode::Hybrid).await.unwrap().iter().all(|hit| &*hit.document != "plans")
    );
    assert_eq!(kb.get("plans"), None);
}

#[tokio::test]
async fn remove_missing_leaves_exactly_what_was_given() {
    let kb = filled().await;
    let done = kb.add(documents().into_iter().take(1)).remove_missing().await.unwrap();
    assert_eq!(done, report(0, 0, 1, 2, 0));
    assert_eq!(kb.ids(), [Arc::from("plans")]);
}

#[tokio::test]
async fn a_hit_says_exactly_where_it_stands() {
    let hits = filled().await.search("premium support").mode(Mode::Lexical).k(1).await.unwrap();
    let hit = &hits[0];
    assert_eq!((hit.id.as_str(), &*hit.document, &*hit.source), ("plans#0", "plans", "guide/plans.md"));
    assert_eq!((&PLANS[hit.bytes.clone()], hit.lines), (hit.text.as_str(), (1, 9)));
    assert_eq!(hit.metadata["lang"], "en");
    assert!(hit.parts.lexical == Some(hit.score) && hit.parts.dense.is_none());
}

#[tokio::test]
async fn filters_work_inside_every_mode() {
    let kb = filled().await;
    for mode in [Mode::Dense, Mode::Lexical, Mode::Graph, Mode::Hybrid] {
        let hits = kb.search("plan").mode(mode).k(1).filter(Filter::new().with("lang", "de")).await.unwrap();
        assert_eq!(hits.iter().map(|hit| &*hit.document).collect::<Vec<_>>(), ["abos"], "{mode:?}");
        assert_eq!(kb.search("plan").mode(mode).filter(Filter::new().with("lang", "fr")).await.unwrap(), []);
        assert_eq!(kb.search("plan").mode(mode).k(0).await.unwrap(), []);
    }
}

#[tokio::test]
async fn the_default_mode_follows_the_embedder() {
    let embed =
        |texts: Vec<String>| async move { Ok(texts.iter().map(|t| vec![1.0, t.len() as f32]).collect()) };
    let semantic = KnowledgeBase::in_memory(FnEmbedder::new("lengths", 2, embed).unwrap()).await.unwrap();
    semantic.add(documents()).await.unwrap();
    assert!(semantic.search("plan").await.unwrap().iter().all(|hit| hit.parts.dense.is_some()));
    assert!(filled().await.search("plan").await.unwrap().iter().all(|hit| hit.parts.dense.is_none()));
}

#[tokio::test]
async fn a_document_with_its_own_vector_is_found_by_it() {
    let embed = |texts: Vec<String>| async move { Ok(texts.iter().map(|_| vec![0.0, 1.0]).collect()) };
    let kb = KnowledgeBase::in_memory(FnEmbedder::new("up", 2, embed).unwrap()).await.unwrap();
    let own = |id: &str, vector: Vec<f32>| Document { vector: Some(vector), ..Document::new(id, "text") };
    let done = kb
        .add([
            own("near", vec![0.1, 1.0]),
            own("far", vec![1.0, 0.0]),
            own("wrong", vec![1.0]),
            own("zero", vec![0.0, 0.0]),
        ])
        .await
        .unwrap();
    assert_eq!((done.added, done.skipped.len()), (2, 2));
    let hits = kb.search("anything").mode(Mode::Dense).await.unwrap();
    assert_eq!(hits.iter().map(|hit| &*hit.document).collect::<Vec<_>>(), ["near", "far"]);
}

#[tokio::test]
async fn documents_that_cannot_be_used_are_told_and_left_out() {
    let kb = KnowledgeBase::in_memory(HashingEmbedder::default()).await.unwrap();
    let mixed = [Document::new("empty", " "), Document::new("good", "good text")];
    let done = kb.add(mixed.clone()).await.unwrap();
    assert_eq!(done.added, 1);
    assert_eq!(
        done.skipped[0].to_string(),
        "empty: error[bad_document]: text: expected a text that is not empty"
    );
    assert_eq!(kb.add(mixed).strict().await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn an_embedder_that_breaks_its_contract_is_named() {
    for (vectors, message) in [
        (vec![], "the embedder did not give one vector per text"),
        (vec![vec![1.0]], "the embedder gave an unusable vector"),
        (vec![vec![f32::NAN, 1.0]], "the embedder gave an unusable vector"),
        (vec![vec![0.0, 0.0]], "the embedder gave an unusable vector"),
    ] {
        let embed = move |_| std::future::ready(Ok(vectors.clone()));
        let kb = KnowledgeBase::in_memory(FnEmbedder::new("broken", 2, embed).unwrap()).await.unwrap();
        let err = kb.add([Document::new("a", "text")]).await.unwrap_err();
        assert_eq!(
            (err.kind(), err.message(), err.get("embedder")),
            (ErrorKind::InvalidOutput, message, Some("broken"))
        );
        assert!(kb.is_empty());
    }
}

#[tokio::test]
async fn a_store_keeps_everything_and_answers_the_same_after_opening_anew() {
    let folder = tempfile::tempdir().unwrap();
    let uri = format!("sqlite:{}", folder.path().join("kb.db").display());
    let open = || KnowledgeBase::open(&uri, HashingEmbedder::default());
    let kb = open().await.unwrap();
    kb.add(documents()).await.unwrap();
    kb.add([documents().remove(1).with("year", 2025)]).await.unwrap();
    kb.delete("abos").await.unwrap();
    let before = kb.search("basic plan money").mode(Mode::Hybrid).await.unwrap();
    drop(kb);
    let kb = open().await.unwrap();
    assert_eq!(kb.search("basic plan money").mode(Mode::Hybrid).await.unwrap(), before);
    assert_eq!(kb.add(documents()).await.unwrap(), report(1, 1, 1, 0, 2));
}

#[tokio::test]
async fn another_embedder_is_refused() {
    let storage = Storage::memory();
    let open = |dimension| {
        KnowledgeBase::builder(HashingEmbedder::new(dimension).unwrap()).storage(storage.clone()).open()
    };
    open(64).await.unwrap();
    let err = open(128).await.unwrap_err();
    assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, Some("embedder")));
    assert!(err.get("expected").unwrap().starts_with("hashing-1/64/"), "{err}");
}

#[tokio::test]
async fn a_damaged_document_is_corrupt_and_names_its_key() {
    let (storage, ctx) = (Storage::memory(), ctx());
    let open = || KnowledgeBase::builder(HashingEmbedder::default()).storage(storage.clone()).open();
    open().await.unwrap().add(documents()).await.unwrap();
    let scan = Scan { prefix: "rag/default/document/", after: None, limit: 1 };
    let (key, stored) = storage.scan(&ctx, scan).await.unwrap().remove(0);
    let mut bytes = stored.value.to_vec();
    bytes[40] ^= 1;
    storage.put(&ctx, &key, bytes, Expect::Any).await.unwrap();
    let err = open().await.unwrap_err();
    assert_eq!((err.kind(), err.get("key")), (ErrorKind::Corrupt, Some(key.as_str())));
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let (storage, ctx) = (Storage::memory(), ctx());
    let other = ctx.with_tenant("other".parse().unwrap());
    let open = |ctx: &Context| {
        KnowledgeBase::builder(HashingEmbedder::default()).storage(storage.clone()).context(ctx).open()
    };
    let kb = open(&ctx).await.unwrap();
    kb.add(documents()).await.unwrap();
    assert!(open(&other).await.unwrap().is_empty());
    assert_eq!(kb.with_context(&other).unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(kb.retrieve(&other, "plan", 3).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(kb.retrieve(&ctx, "plan", 3).await.unwrap(), kb.search("plan").k(3).await.unwrap());
}

#[tokio::test]
async fn changes_and_searches_are_told_without_content() {
    let bus = Bus::local(BusConfig::default());
    let kb = KnowledgeBase::builder(HashingEmbedder::default()).bus(bus.clone()).open().await.unwrap();
    kb.add([Document::new("a", "secret words")]).await.unwrap();
    kb.add([Document::new("a", "other words")]).await.unwrap();
    kb.search("words").await.unwrap();
    kb.delete("a").await.unwrap();
    let events = bus.history(&ctx(), &History::default());
    let told: Vec<(&EventKind, &Value)> = events.iter().map(|event| (&event.kind, &event.data)).collect();
    let change = json!({"knowledge_base": "default", "document": "a", "chunks": 1});
    let search = json!({"knowledge_base": "default", "mode": "graph", "hits": 1});
    assert_eq!(
        told,
        [
            (&EventKind::DataCreated, &change),
            (&EventKind::DataUpdated, &change),
            (&EventKind::DataQueried, &search),
            (&EventKind::DataDeleted, &change),
        ]
    );
}

#[tokio::test]
async fn progress_is_told_in_bounded_batches() {
    let kb = KnowledgeBase::in_memory(HashingEmbedder::new(8).unwrap()).await.unwrap();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&steps);
    let many: Vec<Document> = (0..150).map(|n| Document::new(n.to_string(), format!("text {n}"))).collect();
    kb.add(many).on_progress(move |step| seen.lock().unwrap().push(step)).await.unwrap();
    let step = |done| Progress { done, total: Some(150), chunks: done };
    assert_eq!(*steps.lock().unwrap(), [step(64), step(128), step(150)]);
}

#[tokio::test]
async fn a_cancelled_ingest_stops_and_adding_again_finishes_it() {
    let base = ctx();
    let kb = KnowledgeBase::builder(HashingEmbedder::new(8).unwrap()).context(&base).open().await.unwrap();
    let run = base.child("ingest");
    let cancel = run.cancel().clone();
    let many: Vec<Document> = (0..150).map(|n| Document::new(n.to_string(), format!("text {n}"))).collect();
    let ingest = kb.with_context(&run).unwrap().add(many.clone()).on_progress(move |_| cancel.cancel());
    let err = ingest.await.unwrap_err();
    assert_eq!((err.kind(), err.get("done")), (ErrorKind::Cancelled, Some("64")));
    assert_eq!(kb.len(), 64);
    assert_eq!(kb.add(many).await.unwrap(), report(86, 0, 64, 0, 86));
}

#[tokio::test]
async fn a_query_without_text_is_refused_and_one_without_words_finds_nothing() {
    let kb = filled().await;
    assert_eq!(kb.search(" \n").await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(kb.search("?!").await.unwrap(), []);
    assert_eq!(kb.search("?!").mode(Mode::Dense).k(1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_context_cites_exact_lines_within_its_budget() {
    let kb = filled().await;
    let context = kb.context("what does the premium plan cost?", 100).await.unwrap();
    assert!(context.tokens <= 100 && context.tokens == estimate_tokens(&context.text));
    assert!(context.text.starts_with("[1] guide/plans.md:1-9 (Plans"), "{}", context.text);
    assert_eq!(&PLANS[context.citations[0].bytes.clone()], &*context.passages[0].text);
    assert_eq!(kb.context("zebra", 100).await.unwrap().text, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_go_on_while_documents_change_and_see_each_whole() {
    let kb = KnowledgeBase::in_memory(HashingEmbedder::new(16).unwrap()).await.unwrap();
    let form =
        |round: usize| (0..20).map(move |n| Document::new(n.to_string(), format!("word{n} round{round}")));
    kb.add(form(0)).await.unwrap();
    let writer = {
        let kb = kb.clone();
        tokio::spawn(async move {
            for round in 1..30 {
                kb.add(form(round)).await.unwrap();
            }
        })
    };
    while !writer.is_finished() {
        let hits = kb.search("word7 word3").mode(Mode::Hybrid).k(40).await.unwrap();
        let mut ids: Vec<&str> = hits.iter().map(|hit| &*hit.document).collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all, "a document was seen in two forms");
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    assert_eq!(kb.search("round29").k(40).await.unwrap().len(), 20);
}

#[tokio::test]
async fn indexes_and_chunker_of_choice_answer_the_same_questions() {
    let mut config = HnswConfig::default();
    config.exact_below = 0;
    let words =
        InvertedIndex::new(InvertedConfig::default(), Arc::new(StandardAnalyzer::new(Language::German)));
    let kb = KnowledgeBase::builder(HashingEmbedder::default())
        .name("shop")
        .chunker(MarkdownChunker::new(60, 10).unwrap())
        .vector_index(HnswIndex::new(384, Metric::Cosine, config).unwrap())
        .lexical_index(words.unwrap())
        .open()
        .await
        .unwrap();
    kb.add(documents()).await.unwrap();
    assert!(kb.chunks("plans").len() > 1);
    let hits = kb.search("kosten der Basis-Abos").mode(Mode::Hybrid).k(1).await.unwrap();
    assert_eq!((&*hits[0].document, kb.name()), ("abos", "shop"));
    let wrong = FlatIndex::new(8, Metric::Cosine).unwrap();
    let err =
        KnowledgeBase::builder(HashingEmbedder::default()).vector_index(wrong).open().await.unwrap_err();
    assert_eq!((err.kind(), err.get("index")), (ErrorKind::InvalidInput, Some("8")));
}

#[tokio::test]
async fn a_fusion_out_of_range_is_refused_by_name() {
    let kb = filled().await;
    for fusion in [Fusion::Convex { dense: 1.5 }, Fusion::Convex { dense: f32::NAN }] {
        let err = kb.search("plan").mode(Mode::Hybrid).fusion(fusion).await.unwrap_err();
        assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, Some("dense")));
    }
    // The graph stretches scores, so the fused ones are seen without it.
    let kb = KnowledgeBase::builder(HashingEmbedder::default()).without_graph().open().await.unwrap();
    kb.add(documents()).await.unwrap();
    let ranks =
        kb.search("plan").mode(Mode::Hybrid).fusion(Fusion::ReciprocalRank { k: 60.0 }).await.unwrap();
    assert!(!ranks.is_empty());
    assert!(ranks.iter().all(|hit| hit.score <= 2.0 / 61.0), "{ranks:?}");
}

/// A retriever that gives what it was made with, as one over another engine would.
#[derive(Debug)]
struct Fixed(Vec<Hit>);

#[async_trait]
impl Retriever for Fixed {
    async fn retrieve(&self, _ctx: &Context, _query: &str, k: usize) -> Result<Vec<Hit>> {
        Ok(self.0.iter().take(k).cloned().collect())
    }
}

#[tokio::test]
async fn a_retriever_of_ones_own_gets_cited_context_from_its_hits() {
    let kb = filled().await;
    let hits = kb.search("premium plan").await.unwrap();
    let context = Fixed(hits.clone()).context(&ctx(), "premium plan", 500).await.unwrap();
    assert_eq!(context, CitedContext::of(&hits, 500));
    assert_eq!(context.text, kb.context("premium plan", 500).await.unwrap().text);
}
