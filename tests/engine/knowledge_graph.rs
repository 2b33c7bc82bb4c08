//! The knowledge graph of a knowledge base: what it adds to searches, what is stored, and what goes with a document.

use raptorflow_core::{
    ErrorKind,
    model::Model,
    rag::{
        Document, Filter, FnEmbedder, HashingEmbedder, KnowledgeBase, Mode,
        graph::{Facts, KnowledgeGraph, Source, Triple, Walk},
    },
    runtime::{Context, Runtime},
    storage::{Scan, Storage},
    testing::{Reply, ScriptedModel},
};
use serde_json::json;

const ACME: &str = "# Acme Works\n\nThe company sits in Pune.\n";

fn documents() -> Vec<Document> {
    vec![
        Document::new("bolt", "# Bolt\n\nThe tool is made by Acme Works.\n").with("lang", "en"),
        Document::new("acme", ACME).with("lang", "de"),
        Document::new("cork", "# Cork\n\nA city in the south.\n").with("lang", "en"),
    ]
}

async fn open(storage: &Storage) -> KnowledgeBase {
    KnowledgeBase::builder(HashingEmbedder::default()).storage(storage.clone()).open().await.unwrap()
}

async fn filled(storage: &Storage) -> KnowledgeBase {
    let kb = open(storage).await;
    kb.add(documents()).await.unwrap();
    kb
}

fn facts(subject: &str, relation: &str, object: &str) -> Facts {
    let triple =
        Triple { subject: subject.to_owned(), relation: relation.to_owned(), object: object.to_owned() };
    Facts { entities: vec![subject.to_owned()], triples: vec![triple] }
}

/// What a graph says, without keys of passages, which depend on what there was before.
fn content(kb: &KnowledgeBase) -> Vec<String> {
    let say = |graph: &KnowledgeGraph| {
        let entities = graph
            .entities()
            .into_iter()
            .map(|e| format!("{} {} {}", e.name, e.titled.len(), e.mentioned.len()));
        let relations = graph
            .relations()
            .into_iter()
            .map(|r| format!("{} {} {} {}", r.subject, r.kind, r.object, r.weight));
        entities.chain(relations).collect()
    };
    kb.graph().read(say).unwrap()
}

async fn found(kb: &KnowledgeBase, query: &str, mode: Mode) -> Vec<String> {
    let hits = kb.search(query).mode(mode).await.unwrap();
    hits.iter().map(|hit| hit.document.to_string()).collect()
}

#[tokio::test]
async fn a_search_follows_names_to_documents_without_its_words() {
    let kb = filled(&Storage::memory()).await;
    let question = "Where is the maker of Bolt?";
    assert_eq!(found(&kb, question, Mode::Lexical).await, ["bolt"]);
    let hits = kb.search(question).await.unwrap();
    assert_eq!(hits.iter().map(|hit| &*hit.document).collect::<Vec<_>>(), ["bolt", "acme"]);
    assert!(hits[1].parts.graph.is_some() && hits[1].parts.lexical.is_none());
    // Without a name the graph adds nothing.
    assert_eq!(found(&kb, "where is the maker of it", Mode::Graph).await, Vec::<String>::new());
    let english = kb.search(question).filter(Filter::new().with("lang", "en")).await.unwrap();
    assert_eq!(english.iter().map(|hit| &*hit.document).collect::<Vec<_>>(), ["bolt"]);
    assert_eq!(kb.search(question).k(1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_hybrid_search_follows_names_too() {
    let embed = |texts: Vec<String>| async move { Ok(texts.iter().map(|_| vec![1.0, 0.5]).collect()) };
    let kb = KnowledgeBase::in_memory(FnEmbedder::new("same", 2, embed).unwrap()).await.unwrap();
    kb.add(documents()).await.unwrap();
    let hits = kb.search("Where is the maker of Bolt?").await.unwrap();
    assert_eq!(hits.iter().map(|hit| &*hit.document).collect::<Vec<_>>(), ["bolt", "acme", "cork"]);
    assert!(hits[0].parts.graph.is_some() && hits[0].parts.dense.is_some() && hits[2].parts.graph.is_none());
}

#[tokio::test]
async fn what_was_deleted_or_changed_leaves_no_trace() {
    let kb = filled(&Storage::memory()).await;
    kb.graph().put_facts("bolt", facts("Jo Ray", "made", "Bolt")).await.unwrap();
    kb.add([Document::new("more", "# Pune\n\nHome of Jo Ray and of Acme Works.")]).await.unwrap();
    kb.graph().put_facts("more", facts("Jo Ray", "lives in", "Pune")).await.unwrap();
    kb.graph().relate("Acme Works", "owns", "Cork Ltd", 1.0).await.unwrap();
    kb.delete("more").await.unwrap();
    kb.update(Document::new("bolt", "# Bolt\n\nNobody made it.")).await.unwrap();
    assert!(kb.graph().unrelate("acme works", "owns", "cork ltd").await.unwrap());
    kb.update(documents().remove(0)).await.unwrap();
    assert_eq!(content(&kb), content(&filled(&Storage::memory()).await));
    assert_eq!(kb.graph().facts("bolt").await.unwrap(), None);
}

#[tokio::test]
async fn facts_and_relations_survive_opening_anew_and_go_with_their_document() {
    let storage = Storage::memory();
    let kb = filled(&storage).await;
    kb.graph().put_facts("acme", facts("Acme Works", "founded by", "Jo Ray")).await.unwrap();
    kb.graph().put_facts("bolt", facts("Bolt", "replaced", "Nut")).await.unwrap();
    kb.graph().relate("Acme Works", "owns", "Cork Ltd", 2.0).await.unwrap();
    kb.graph().relate("Acme Works", "owns", "Nothing Ltd", 2.0).await.unwrap();
    kb.graph().unrelate("Acme Works", "owns", "Nothing Ltd").await.unwrap();
    let before = content(&kb);
    drop(kb);
    let kb = open(&storage).await;
    assert_eq!(content(&kb), before);
    let owned =
        kb.graph().read(|graph| graph.neighbours("acme works", &Walk::new().kinds(["owns"]))).unwrap();
    assert_eq!((&*owned[0].entity, owned[0].via.sources.as_slice()), ("Cork Ltd", [Source::Host].as_slice()));
    kb.update(Document::new("acme", "# Acme Works\n\nGone.")).await.unwrap();
    kb.delete("bolt").await.unwrap();
    let ctx = Context::new(&Runtime::current().unwrap());
    let scan = Scan { prefix: "rag/default/graph/facts/", after: None, limit: 9 };
    assert_eq!(storage.scan(&ctx, scan).await.unwrap(), []);
    let err = kb.graph().put_facts("bolt", Facts::default()).await.unwrap_err();
    assert_eq!((err.kind(), err.get("document")), (ErrorKind::NotFound, Some("bolt")));
}

#[tokio::test]
async fn facts_of_another_form_of_a_document_are_not_used_after_a_crash() {
    let storage = Storage::memory();
    let kb = filled(&storage).await;
    kb.graph().put_facts("acme", facts("Acme Works", "founded by", "Jo Ray")).await.unwrap();
    let ctx = Context::new(&Runtime::current().unwrap());
    let scan = Scan { prefix: "rag/default/graph/facts/", after: None, limit: 9 };
    let (key, stale) = storage.scan(&ctx, scan).await.unwrap().remove(0);
    kb.update(Document::new("acme", "# Acme Works\n\nGone.")).await.unwrap();
    // As after a crash between the document's change and the removal of its facts.
    storage.put(&ctx, &key, stale.value, raptorflow_core::storage::Expect::Any).await.unwrap();
    drop(kb);
    let kb = open(&storage).await;
    assert!(kb.graph().read(|graph| graph.entity("Jo Ray")).unwrap().is_none());
    assert_eq!(storage.get(&ctx, &key).await.unwrap(), None);
}

#[tokio::test]
async fn a_model_is_asked_for_facts_within_a_form() {
    let kb = filled(&Storage::memory()).await;
    let good = json!({"entities": ["Acme Works"], "triples": [["Acme Works", "sits in", "Pune"]]});
    let script = ScriptedModel::new([
        // In order of ids: acme is answered at the second try, bolt never, cork at once.
        Reply::text(r#"{"entities": [1], "triples": []}"#),
        Reply::text(good.to_string()),
        Reply::text("I cannot."),
        Reply::text(r#"{"entities": [], "triples": [["Bolt", "made by"]]}"#),
        Reply::text(r#"{"entities": [], "triples": []}"#),
    ]);
    let model = Model::new(script.clone());
    let report = kb.graph().ask(&model).await.unwrap();
    assert_eq!((report.told, report.known, report.skipped.len()), (2, 0, 1));
    assert_eq!(report.skipped[0].file.as_deref(), Some("bolt"));
    let around =
        kb.graph().read(|graph| graph.neighbours("Acme Works", &Walk::new().kinds(["sits in"]))).unwrap();
    assert_eq!(
        (&*around[0].entity, around[0].via.sources.as_slice()),
        ("Pune", [Source::Model { document: "acme".into() }].as_slice())
    );
    assert_eq!(script.requests()[0].messages[1].text(), ACME);
    // Only what has no facts is asked about again.
    script.push(Reply::text(r#"{"entities": [], "triples": []}"#));
    let report = kb.graph().ask(&model).await.unwrap();
    assert_eq!((report.told, report.known, script.remaining()), (1, 2, 0));
}

#[tokio::test]
async fn a_knowledge_base_without_a_graph_searches_by_words() {
    let kb = KnowledgeBase::builder(HashingEmbedder::default()).without_graph().open().await.unwrap();
    kb.add(documents()).await.unwrap();
    let hits = kb.search("Where is the maker of Bolt?").await.unwrap();
    assert_eq!((hits.len(), hits[0].parts.graph), (1, None));
    let errors = [
        kb.search("Bolt").mode(Mode::Graph).await.unwrap_err(),
        kb.graph().read(KnowledgeGraph::len).unwrap_err(),
        kb.graph().relate("A", "b", "C", 1.0).await.unwrap_err(),
        kb.graph().ask(&Model::new(ScriptedModel::new([]))).await.unwrap_err(),
    ];
    assert!(errors.iter().all(|err| err.kind() == ErrorKind::Unsupported));
}

#[tokio::test]
async fn tenants_do_not_see_relations_of_each_other() {
    let storage = Storage::memory();
    let kb = filled(&storage).await;
    kb.graph().relate("Acme Works", "owns", "Cork Ltd", 1.0).await.unwrap();
    let other = Context::new(&Runtime::current().unwrap()).with_tenant("other".parse().unwrap());
    let theirs = KnowledgeBase::builder(HashingEmbedder::default())
        .storage(storage)
        .context(&other)
        .open()
        .await
        .unwrap();
    assert!(theirs.graph().read(KnowledgeGraph::is_empty).unwrap());
    assert!(kb.graph().relate("", "owns", "Cork Ltd", 1.0).await.is_err());
}
