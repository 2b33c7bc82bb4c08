//! `KnowledgeBase`: documents of one tenant, chunked, embedded, indexed, searched and cited.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Semaphore;

use crate::{
    error::{Error, ErrorKind, Result},
    event::{Bus, Event, EventKind},
    rag::{
        assemble::{CitedContext, assemble},
        builder::KnowledgeBaseBuilder,
        chunk::Chunker,
        document::{Chunk, Document},
        embed::Embedder,
        graph::Graph,
        indexes::Indexes,
        ingest::Ingest,
        record::{document_key, facts_key},
        rerank::Rerank,
        retrieve::{CONTEXT_DEPTH, Search},
    },
    runtime::Context,
    storage::{Expect, Storage},
};

/// Documents of one tenant; cloning shares them.
///
/// Documents, the places of their chunks and their vectors are stored; the indexes live in memory and are rebuilt on
/// opening, so one open handle (with its clones) is the only writer of a store's name: another process sees changes
/// when it opens anew.
/// Searches run while documents are added; a search sees each document before or after a change, never in between.
///
/// With [`crate::rag::HashingEmbedder`] searches go by words unless asked otherwise, because hashed vectors rank worse
/// than BM25 and make a fused search worse; with a semantic embedder they are hybrid.
/// Both spread what they find over a knowledge graph, as far as the query names what documents mention; see
/// [`crate::rag::graph`].
///
/// ```
/// use raptorflow_core::rag::{Document, HashingEmbedder, KnowledgeBase};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let kb = KnowledgeBase::open("memory:", HashingEmbedder::default()).await?;
/// kb.add([
///     Document::new("plans", "# Plans\n\nThe basic plan costs ₹499 a month.").with("lang", "en"),
///     Document::new("refunds", "# Refunds\n\nMoney goes back within seven days."),
/// ])
/// .await?;
/// let hits = kb.search("how much is the basic plan?").k(1).await?;
/// assert_eq!((&*hits[0].document, hits[0].lines), ("plans", (1, 3)));
/// let context = kb.context("basic plan", 200).await?;
/// assert!(context.text.starts_with("[1] plans:1-3"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct KnowledgeBase {
    inner: Arc<Inner>,
    ctx: Context,
}

#[derive(Debug)]
struct Inner {
    name: String,
    storage: Storage,
    /// What all its storage keys begin with.
    prefix: String,
    embedder: Arc<dyn Embedder>,
    chunker: Arc<dyn Chunker>,
    indexes: Indexes,
    bus: Option<Bus>,
    rerank: Option<Rerank>,
    /// One change at a time, so that storage and indexes agree on the order; searches do not wait for it.
    turn: Semaphore,
}

impl KnowledgeBase {
    /// Opens the knowledge base in a store, for example `sqlite:kb.db` or `memory:`, for the default tenant.
    ///
    /// # Errors
    /// As [`KnowledgeBaseBuilder::open`] and [`Storage::open`].
    pub async fn open(uri: &str, embedder: impl Embedder) -> Result<Self> {
        Self::builder(embedder).storage(Storage::open(uri).await?).open().await
    }

    /// A new one in memory, for the default tenant.
    ///
    /// # Errors
    /// `Unavailable` outside of a Tokio runtime.
    pub async fn in_memory(embedder: impl Embedder) -> Result<Self> {
        Self::builder(embedder).open().await
    }

    /// Wires one with a store, tenant, bus, chunker and indexes of choice.
    pub fn builder(embedder: impl Embedder) -> KnowledgeBaseBuilder {
        KnowledgeBaseBuilder::new(Arc::new(embedder))
    }

    #[expect(clippy::too_many_arguments, reason = "the builder is the only caller and names each")]
    pub(crate) fn new(
        ctx: Context,
        name: String,
        storage: Storage,
        prefix: String,
        embedder: Arc<dyn Embedder>,
        chunker: Arc<dyn Chunker>,
        indexes: Indexes,
        bus: Option<Bus>,
        rerank: Option<Rerank>,
    ) -> Self {
        let turn = Semaphore::new(1);
        let inner = Inner { name, storage, prefix, embedder, chunker, indexes, bus, rerank, turn };
        Self { inner: Arc::new(inner), ctx }
    }

    /// The same documents under another context: its run, deadline and cancellation.
    ///
    /// # Errors
    /// `PermissionDenied` when the context belongs to another tenant.
    pub fn with_context(&self, ctx: &Context) -> Result<Self> {
        if ctx.tenant() == self.ctx.tenant() {
            return Ok(Self { inner: Arc::clone(&self.inner), ctx: ctx.clone() });
        }
        let message = "the knowledge base belongs to another tenant; open one for this tenant";
        Err(Error::new(ErrorKind::PermissionDenied, "rag.context", message)
            .with("knowledge_base", &self.inner.name)
            .with("tenant", ctx.tenant()))
    }

    /// Its name in the store.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// What embeds its documents.
    #[must_use]
    pub fn embedder(&self) -> &Arc<dyn Embedder> {
        &self.inner.embedder
    }

    /// How many documents it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.indexes.catalog().len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many chunks its documents have together.
    #[must_use]
    pub fn chunk_count(&self) -> usize {
        self.inner.indexes.catalog().chunk_count()
    }

    /// The ids of all documents, in order.
    #[must_use]
    pub fn ids(&self) -> Vec<Arc<str>> {
        self.inner.indexes.catalog().ids().cloned().collect()
    }

    /// A document; `None` when there is none of this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Document> {
        self.inner.indexes.catalog().get(id).map(|entry| entry.document.clone())
    }

    /// The chunks of a document in order; none when there is no such document.
    #[must_use]
    pub fn chunks(&self, id: &str) -> Vec<Chunk> {
        let entry = self.inner.indexes.catalog().get(id).cloned();
        entry.map_or_else(Vec::new, |entry| (0..entry.places.len()).filter_map(|n| entry.chunk(n)).collect())
    }

    /// Adds documents; one of an id that exists replaces it, and one that did not change costs nothing.
    pub fn add<D>(&self, documents: D) -> Ingest
    where
        D: IntoIterator<Item = Document>,
        D::IntoIter: Send + 'static,
    {
        Ingest::new(self.clone(), Box::new(documents.into_iter().map(Ok)))
    }

    /// Adds documents that are read meanwhile, as by [`crate::rag::read_records`].
    ///
    /// An `InvalidInput` or `LimitExceeded` in place of a document is told in the report like a document that cannot be
    /// used; any other error ends the ingest.
    pub fn try_add<D>(&self, documents: D) -> Ingest
    where
        D: IntoIterator<Item = Result<Document>>,
        D::IntoIter: Send + 'static,
    {
        Ingest::new(self.clone(), Box::new(documents.into_iter()))
    }

    /// Replaces a document and says whether that changed anything.
    ///
    /// # Errors
    /// `NotFound` when there is none of its id, `InvalidInput` when it cannot be used; else as [`Ingest`].
    pub async fn update(&self, document: Document) -> Result<bool> {
        if self.inner.indexes.catalog().get(&document.id).is_none() {
            return Err(Error::new(ErrorKind::NotFound, "rag.update", "there is no document of this id")
                .with("document", &document.id));
        }
        let report = self.add([document]).strict().await?;
        Ok(report.updated + report.added > 0)
    }

    /// Removes a document and says whether there was one.
    ///
    /// # Errors
    /// What the storage says; `Cancelled` and `Timeout` by the context.
    ///
    /// # Cancellation
    /// The document is removed or not; one that storage lost but memory still has is gone after opening anew.
    pub async fn delete(&self, id: &str) -> Result<bool> {
        let _turn = self.turn("rag.delete").await?;
        self.remove(id).await
    }

    /// A search; describe it further and await it.
    pub fn search(&self, query: impl Into<String>) -> Search {
        Search::new(self.clone(), query.into())
    }

    /// The best passages for a query within about `max_tokens`, with citations; empty when nothing fits.
    ///
    /// # Errors
    /// As [`Search`].
    pub async fn context(&self, query: &str, max_tokens: usize) -> Result<CitedContext> {
        self.context_of(self.search(query).k(CONTEXT_DEPTH), max_tokens).await
    }

    /// The same for a search of choice; its `k` bounds how many chunks compete.
    ///
    /// # Errors
    /// As [`Search`].
    pub async fn context_of(&self, search: Search, max_tokens: usize) -> Result<CitedContext> {
        Ok(assemble(&self.find(&search).await?, search.neighbors, max_tokens))
    }

    /// The knowledge graph over its passages.
    #[must_use]
    pub fn graph(&self) -> Graph {
        Graph::new(self.clone())
    }

    pub(crate) fn ctx(&self) -> &Context {
        &self.ctx
    }

    pub(crate) fn chunker(&self) -> &Arc<dyn Chunker> {
        &self.inner.chunker
    }

    pub(crate) fn indexes(&self) -> &Indexes {
        &self.inner.indexes
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.inner.storage
    }

    pub(crate) fn document_key(&self, id: &str) -> String {
        document_key(&self.inner.prefix, id)
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.inner.prefix
    }

    /// Waits for the changes before this one.
    pub(crate) async fn turn(&self, operation: &'static str) -> Result<tokio::sync::SemaphorePermit<'_>> {
        let closed =
            |err| Error::new(ErrorKind::Internal, operation, "the knowledge base is closed").caused_by(err);
        self.ctx.bound(operation, self.inner.turn.acquire()).await?.map_err(closed)
    }

    /// Removes a document; the caller has the turn.
    pub(crate) async fn remove(&self, id: &str) -> Result<bool> {
        let existed = self.inner.indexes.catalog().get(id).is_some();
        if !existed {
            return Ok(false);
        }
        self.inner.storage.delete(&self.ctx, &self.document_key(id), Expect::Any).await?;
        // After the document: facts without one are ignored on opening, a document without its facts is not.
        self.inner.storage.delete(&self.ctx, &facts_key(&self.inner.prefix, id), Expect::Any).await?;
        let old: Vec<_> = self.inner.indexes.withdraw(id).into_iter().collect();
        self.inner.indexes.forget(&self.ctx, &old).await?;
        self.tell(vec![self.event(
            EventKind::DataDeleted,
            id,
            old.iter().map(|entry| entry.places.len()).sum(),
        )])
        .await?;
        Ok(true)
    }

    /// An event about one document: its id and a count, never its content.
    pub(crate) fn event(&self, kind: EventKind, document: &str, chunks: usize) -> Event {
        let data = json!({"knowledge_base": self.inner.name, "document": document, "chunks": chunks});
        Event { data, ..Event::new(&self.ctx, kind) }
    }

    pub(crate) async fn tell(&self, events: Vec<Event>) -> Result<()> {
        match &self.inner.bus {
            Some(bus) if !events.is_empty() => bus.publish(&self.ctx, events).await,
            _ => Ok(()),
        }
    }

    pub(crate) fn rerank(&self) -> Option<&Rerank> {
        self.inner.rerank.as_ref()
    }

    pub(crate) fn tells(&self) -> bool {
        self.inner.bus.is_some()
    }
}
