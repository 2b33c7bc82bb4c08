//! `Ingest`: documents to chunks to vectors to storage and indexes, idempotent by digest.

use std::{
    collections::HashSet,
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
};

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tracing::Instrument as _;

use crate::{
    error::{Error, ErrorKind, Result},
    event::EventKind,
    rag::{
        catalog::{Entry, indexed_text},
        chunk::places,
        document::{Document, Place},
        embed::embed_checked,
        knowledge::KnowledgeBase,
        record::{Header, Record, facts_key},
        vector::{Metric, check_vector},
    },
    runtime::names,
    storage::Expect,
    types::{Diagnostic, Diagnostics, Digest},
};

/// How many documents, and how many of their chunks, are on their way at once; this bounds the memory.
const BATCH_DOCUMENTS: usize = 64;
const BATCH_CHUNKS: usize = 256;
/// Texts above this, in bytes, are cut on a blocking thread.
const BLOCKING_TEXT: usize = 64 << 10;

/// What an ingest did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestReport {
    /// Documents that are new.
    pub added: usize,
    /// Documents that replaced an older form.
    pub updated: usize,
    /// Documents that were there already, exactly so.
    pub unchanged: usize,
    /// Documents that were removed; see [`Ingest::remove_missing`].
    pub removed: usize,
    /// Chunks of the added and updated documents.
    pub chunks: usize,
    /// One for each document that cannot be used, with the id in place of the file.
    pub skipped: Vec<Diagnostic>,
}

/// How far an ingest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Documents looked at so far: stored, unchanged or skipped.
    pub done: usize,
    /// How many there are in all, where that is known.
    pub total: Option<usize>,
    /// Chunks stored so far.
    pub chunks: usize,
}

type OnProgress = Box<dyn Fn(Progress) + Send + Sync>;

/// An ingest that is being described; await it for its report.
///
/// Documents are taken from the iterator as they are needed; at most 64 of them are in memory at once.
/// A document that cannot be used is left out and told in the report.
///
/// # Errors
/// What the embedder and the storage say; `Cancelled` and `Timeout` by the context; under [`Ingest::strict`] also
/// `InvalidInput` for a document that cannot be used.
/// Documents that were stored before stay: adding them again finds them unchanged.
///
/// # Cancellation
/// It stops between documents, each of which is then stored whole or not at all.
/// A document that was stored while the future was dropped may show in searches only after opening anew or adding it
/// again.
#[must_use = "an ingest runs when it is awaited"]
pub struct Ingest {
    kb: KnowledgeBase,
    documents: Box<dyn Iterator<Item = Result<Document>> + Send>,
    on_progress: Option<OnProgress>,
    remove_missing: bool,
    strict: bool,
}

impl fmt::Debug for Ingest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingest")
            .field("remove_missing", &self.remove_missing)
            .field("strict", &self.strict)
            .finish_non_exhaustive()
    }
}

impl Ingest {
    pub(crate) fn new(
        kb: KnowledgeBase,
        documents: Box<dyn Iterator<Item = Result<Document>> + Send>,
    ) -> Self {
        Self { kb, documents, on_progress: None, remove_missing: false, strict: false }
    }

    /// Calls `each` after every batch, on the task that ingests; it must not block.
    pub fn on_progress(mut self, each: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(Box::new(each));
        self
    }

    /// Removes documents that are not among these, after all of these are stored; skipped ones are kept as they were.
    ///
    /// Where [`KnowledgeBase::try_add`] met one that could not be read, nothing is removed: it may be any.
    pub fn remove_missing(mut self) -> Self {
        self.remove_missing = true;
        self
    }

    /// Makes a document that cannot be used an error, instead of leaving it out.
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    async fn run(self) -> Result<IngestReport> {
        let Self { kb, documents, on_progress, remove_missing, strict } = self;
        let _turn = kb.turn("rag.ingest").await?;
        let total = match documents.size_hint() {
            (low, Some(high)) if low == high => Some(low),
            _ => None,
        };
        let mut work = Work {
            kb: &kb,
            report: IngestReport::default(),
            batch: Batch::default(),
            done: 0,
            total,
            on_progress,
        };
        let mut named: HashSet<Arc<str>> = HashSet::new();
        // Whether some document was not even read, so that nobody knows which one it was.
        let mut unread = false;
        for (number, document) in documents.enumerate() {
            work.check_time()?;
            let document = match document {
                Ok(document) => document,
                Err(err) if !strict && is_of_one(&err) => {
                    let name = err.get("file").unwrap_or("the documents").to_owned();
                    let record = err.get("record").map_or_else(|| (number + 1).to_string(), str::to_owned);
                    work.report.skipped.push(refused(&format!("{name}#{record}"), &err));
                    work.done += 1;
                    unread = true;
                    continue;
                }
                Err(err) => return Err(err),
            };
            if remove_missing {
                named.insert(Arc::from(document.id.as_str()));
            }
            if work.batch.holds(&document.id) {
                work.flush().await?;
            }
            match work.prepare(document).await {
                Ok(Some(prepared)) => work.batch.push(prepared),
                Ok(None) => work.report.unchanged += 1,
                Err(Refused::Document(problem)) if strict => {
                    return Err(
                        Diagnostics(vec![problem]).into_error("rag.ingest", "the document cannot be used")
                    );
                }
                Err(Refused::Document(problem)) => work.report.skipped.push(problem),
                Err(Refused::Work(err)) => return Err(err),
            }
            work.done += 1;
            if work.batch.is_full() {
                work.flush().await?;
            }
        }
        work.flush().await?;
        if remove_missing && !unread {
            for id in kb.ids().iter().filter(|id| !named.contains(*id)) {
                work.check_time()?;
                work.report.removed += usize::from(kb.remove(id).await?);
            }
        }
        Ok(work.report)
    }
}

impl IntoFuture for Ingest {
    type Output = Result<IngestReport>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let span = tracing::debug_span!(names::RAG_INGEST);
        Box::pin(self.run().instrument(span))
    }
}

/// Why a document does not go on: its own fault, or something that ends the ingest.
enum Refused {
    Document(Diagnostic),
    Work(Error),
}

impl From<Error> for Refused {
    fn from(err: Error) -> Self {
        Self::Work(err)
    }
}

/// A document that is cut and waits for its vectors.
struct Prepared {
    document: Document,
    digest: Digest,
    places: Vec<Place>,
    texts: Vec<String>,
    replaces: bool,
}

#[derive(Default)]
struct Batch {
    documents: Vec<Prepared>,
    chunks: usize,
}

impl Batch {
    fn holds(&self, id: &str) -> bool {
        self.documents.iter().any(|prepared| prepared.document.id == id)
    }

    fn is_full(&self) -> bool {
        self.documents.len() >= BATCH_DOCUMENTS || self.chunks >= BATCH_CHUNKS
    }

    fn push(&mut self, prepared: Prepared) {
        self.chunks += prepared.places.len();
        self.documents.push(prepared);
    }
}

struct Work<'a> {
    kb: &'a KnowledgeBase,
    report: IngestReport,
    batch: Batch,
    done: usize,
    total: Option<usize>,
    on_progress: Option<OnProgress>,
}

impl Work<'_> {
    fn check_time(&self) -> Result<()> {
        let ctx = self.kb.ctx();
        let stopped = |kind, message| Err(Error::new(kind, "rag.ingest", message).with("done", self.done));
        if ctx.cancel().is_cancelled() {
            return stopped(ErrorKind::Cancelled, "the run was cancelled");
        }
        if ctx.is_overdue() { stopped(ErrorKind::Timeout, "the deadline passed") } else { Ok(()) }
    }

    /// Cuts a document; `None` when it did not change.
    async fn prepare(&self, document: Document) -> Result<Option<Prepared>, Refused> {
        self.check(&document).map_err(|err| refuse(&document.id, &err))?;
        let chunker = Arc::clone(self.kb.chunker());
        let digest = Digest::of_all([document.digest().to_string(), chunker.identity()]);
        let old = self.kb.indexes().catalog().get(&document.id).map(|entry| entry.digest);
        if old == Some(digest) {
            return Ok(None);
        }
        let (document, places) = if document.text.len() > BLOCKING_TEXT {
            let cut = move || {
                let places = places(&document, chunker.as_ref());
                (document, places)
            };
            self.kb.ctx().runtime().tasks().spawn_blocking(cut).await?
        } else {
            let places = places(&document, chunker.as_ref());
            (document, places)
        };
        let places = places.map_err(|err| refuse(&document.id, &err))?;
        if places.is_empty() {
            let err = Error::new(ErrorKind::InvalidInput, "rag.ingest", "the chunker found nothing in it");
            return Err(refuse(&document.id, &err));
        }
        let texts = places.iter().map(|place| indexed_text(&document, place)).collect();
        Ok(Some(Prepared { document, digest, places, texts, replaces: old.is_some() }))
    }

    fn check(&self, document: &Document) -> Result<()> {
        document.check()?;
        match &document.vector {
            Some(vector) => {
                check_vector("rag.ingest", vector, self.kb.embedder().dimension(), Metric::Cosine)
            }
            None => Ok(()),
        }
    }

    /// Embeds, stores and indexes the batch.
    async fn flush(&mut self) -> Result<()> {
        let Batch { documents, .. } = std::mem::take(&mut self.batch);
        if !documents.is_empty() {
            let vectors = self.embed(&documents).await?;
            self.store(documents, vectors).await?;
        }
        if let Some(on_progress) = &self.on_progress {
            on_progress(Progress { done: self.done, total: self.total, chunks: self.report.chunks });
        }
        Ok(())
    }

    /// One vector per chunk, in order; documents that bring their own are not embedded.
    async fn embed(&self, documents: &[Prepared]) -> Result<Vec<Vec<f32>>> {
        let (kb, ctx) = (self.kb, self.kb.ctx());
        let foreign: Vec<&str> = documents
            .iter()
            .filter(|prepared| prepared.document.vector.is_none())
            .flat_map(|prepared| prepared.texts.iter().map(String::as_str))
            .collect();
        let mut embedded = Vec::with_capacity(foreign.len());
        for texts in foreign.chunks(kb.embedder().batch().max(1)) {
            let work = embed_checked(ctx, kb.embedder().as_ref(), texts);
            embedded.extend(ctx.bound("rag.ingest", work).await??);
        }
        let mut embedded = embedded.into_iter();
        let vectors = documents.iter().flat_map(|prepared| match &prepared.document.vector {
            Some(own) => vec![own.clone()],
            None => embedded.by_ref().take(prepared.places.len()).collect(),
        });
        Ok(vectors.collect())
    }

    async fn store(&mut self, documents: Vec<Prepared>, vectors: Vec<Vec<f32>>) -> Result<()> {
        let (kb, ctx) = (self.kb, self.kb.ctx());
        let mut vectors = vectors.into_iter();
        let (mut records, mut events) = (Vec::with_capacity(documents.len()), Vec::new());
        let (mut keyed_texts, mut keyed_vectors) = (Vec::new(), Vec::new());
        let mut report = self.report.clone();
        for Prepared { document, digest, places, texts, replaces } in documents {
            let own: Vec<Vec<f32>> = vectors.by_ref().take(places.len()).collect();
            let first = kb.indexes().reserve(places.len());
            report.chunks += places.len();
            *(if replaces { &mut report.updated } else { &mut report.added }) += 1;
            if kb.tells() {
                let kind = if replaces { EventKind::DataUpdated } else { EventKind::DataCreated };
                events.push(kb.event(kind, &document.id, places.len()));
            }
            let header = Header { document, digest, first, places };
            records.push(Record { header, vectors: own.concat() });
            keyed_texts.extend((first..).zip(texts));
            keyed_vectors.extend((first..).zip(own));
        }
        // Together, so that a store with group commit syncs once for all of them.
        let puts = records.iter().map(|record| async {
            let key = kb.document_key(&record.header.document.id);
            kb.storage().put(ctx, &key, record.encode()?, Expect::Any).await
        });
        try_join_all(puts).await?;
        kb.indexes().put(ctx, &keyed_texts, &keyed_vectors).await?;
        // Facts belong to one form of a document.
        let told = |id: &str| kb.indexes().graph().is_some_and(|graph| graph.has_facts(id));
        let ids = records.iter().map(|record| &record.header.document.id);
        let stale: Vec<String> = ids.filter(|id| told(id)).map(|id| facts_key(kb.prefix(), id)).collect();
        let entries = records.into_iter().map(|record| {
            let Header { document, digest, first, places } = record.header;
            Entry::new(document, digest, places, first)
        });
        let old = kb.indexes().commit(entries.collect());
        kb.indexes().forget(ctx, &old).await?;
        for key in stale {
            kb.storage().delete(ctx, &key, Expect::Any).await?;
        }
        self.report = report;
        kb.tell(events).await
    }
}

/// Whether an error concerns a single document, so that the next ones may do.
fn is_of_one(err: &Error) -> bool {
    matches!(err.kind(), ErrorKind::InvalidInput | ErrorKind::LimitExceeded)
}

/// A document that cannot be used, as a diagnostic.
fn refuse(id: &str, err: &Error) -> Refused {
    Refused::Document(refused(id, err))
}

fn refused(id: &str, err: &Error) -> Diagnostic {
    let field = err.get("field").map_or_else(String::new, |field| format!("{field}: "));
    Diagnostic::error("bad_document", format!("{field}{}", err.message())).in_file(id)
}
