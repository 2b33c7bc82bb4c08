//! `KnowledgeBaseBuilder`: wires storage, embedder, chunker and indexes, and loads what is stored.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    event::Bus,
    rag::{
        catalog::{Entry, indexed_text},
        chunk::{Chunker, MarkdownChunker},
        embed::Embedder,
        graph,
        indexes::Indexes,
        knowledge::KnowledgeBase,
        lexical::{InvertedIndex, LexicalIndex},
        record::Record,
        rerank::Rerank,
        vector::{FlatIndex, Metric, VectorIndex},
    },
    runtime::{Context, Runtime},
    storage::{Expect, Scan, Storage},
};

/// How many stored documents are read at once while opening.
const PAGE: usize = 64;

/// Wires a knowledge base; see [`KnowledgeBase::builder`].
///
/// ```
/// use raptorflow_core::{KnowledgeBase, rag::{HashingEmbedder, MarkdownChunker}, storage::Storage};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let kb = KnowledgeBase::builder(HashingEmbedder::default())
///     .name("handbook")
///     .storage(Storage::memory())
///     .chunker(MarkdownChunker::default())
///     .open()
///     .await?;
/// assert_eq!((kb.name(), kb.len()), ("handbook", 0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until it is opened"]
pub struct KnowledgeBaseBuilder {
    embedder: Arc<dyn Embedder>,
    name: String,
    storage: Option<Storage>,
    context: Option<Context>,
    bus: Option<Bus>,
    chunker: Arc<dyn Chunker>,
    vectors: Option<Arc<dyn VectorIndex>>,
    lexical: Option<Arc<dyn LexicalIndex>>,
    rerank: Option<Rerank>,
    graph: bool,
}

/// What a store remembers of the knowledge base itself.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    embedder: String,
    dimension: usize,
}

impl KnowledgeBaseBuilder {
    pub(crate) fn new(embedder: Arc<dyn Embedder>) -> Self {
        Self {
            embedder,
            name: "default".to_owned(),
            storage: None,
            context: None,
            bus: None,
            chunker: Arc::new(MarkdownChunker::default()),
            vectors: None,
            lexical: None,
            rerank: None,
            graph: true,
        }
    }

    /// Its name in the store, 1 to 64 of `a-z`, `0-9`, `_` and `-`; `default` by default.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Where documents are kept; memory by default.
    pub fn storage(mut self, storage: Storage) -> Self {
        self.storage = Some(storage);
        self
    }

    /// The tenant it belongs to, and the default deadline, cancellation and run of its calls.
    ///
    /// By default a new run of the default tenant on the caller's Tokio runtime.
    pub fn context(mut self, ctx: &Context) -> Self {
        self.context = Some(ctx.clone());
        self
    }

    /// Where changes and searches are told, with ids and counts and without content.
    pub fn bus(mut self, bus: Bus) -> Self {
        self.bus = Some(bus);
        self
    }

    /// How documents are cut; [`MarkdownChunker`] by default.
    ///
    /// Documents that another chunker cut stay as they are until they are added again.
    pub fn chunker(mut self, chunker: impl Chunker) -> Self {
        self.chunker = Arc::new(chunker);
        self
    }

    /// An empty vector index of the embedder's dimension; [`FlatIndex`] by cosine by default.
    pub fn vector_index(mut self, index: impl VectorIndex) -> Self {
        self.vectors = Some(Arc::new(index));
        self
    }

    /// An empty lexical index; [`InvertedIndex`] in English by default.
    pub fn lexical_index(mut self, index: impl LexicalIndex) -> Self {
        self.lexical = Some(Arc::new(index));
        self
    }

    /// Has the candidates of every search and context read again by a reranker; none by default.
    pub fn rerank(mut self, rerank: Rerank) -> Self {
        self.rerank = Some(rerank);
        self
    }

    /// Keeps no knowledge graph: less memory, and searches go by words and vectors alone.
    pub fn without_graph(mut self) -> Self {
        self.graph = false;
        self
    }

    /// Reads what is stored and rebuilds the indexes from it; vectors are stored and not computed again.
    ///
    /// # Errors
    /// `InvalidInput` when the name does not fit, when the store was filled with another embedder, or when the vector
    /// index has another dimension; `Corrupt` when a stored document is damaged; what the storage says.
    ///
    /// # Cancellation
    /// Opening an existing store changes nothing; a new one may keep the note of its embedder.
    pub async fn open(self) -> Result<KnowledgeBase> {
        check_name(&self.name)?;
        let ctx = match self.context {
            Some(ctx) => ctx,
            None => Context::new(&Runtime::current()?),
        };
        let storage = self.storage.unwrap_or_else(Storage::memory);
        let dimension = self.embedder.dimension();
        let vectors = match self.vectors {
            Some(index) => check_index(index, dimension)?,
            None => Arc::new(FlatIndex::new(dimension, Metric::Cosine)?),
        };
        let lexical = self.lexical.unwrap_or_else(|| Arc::new(InvertedIndex::default()));
        let prefix = format!("rag/{}/", self.name);
        ctx.bound("rag.open", check_manifest(&ctx, &storage, &prefix, self.embedder.as_ref())).await??;
        let indexes = Indexes::new(vectors, lexical, self.graph);
        let documents = format!("{prefix}document/");
        ctx.bound("rag.open", load(&ctx, &storage, &documents, &indexes, dimension)).await??;
        if self.graph {
            ctx.bound("rag.open", graph::load(&ctx, &storage, &prefix, &indexes)).await??;
        }
        Ok(KnowledgeBase::new(
            ctx,
            self.name,
            storage,
            prefix,
            self.embedder,
            self.chunker,
            indexes,
            self.bus,
            self.rerank,
        ))
    }
}

fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidInput, "rag.open", "expected 1 to 64 characters of a-z, 0-9, _ and -")
        .with("field", "name")
        .with("value", name))
}

fn check_index(index: Arc<dyn VectorIndex>, dimension: usize) -> Result<Arc<dyn VectorIndex>> {
    if index.dimension() == dimension {
        return Ok(index);
    }
    Err(Error::new(
        ErrorKind::InvalidInput,
        "rag.open",
        "the vector index has another dimension than the embedder",
    )
    .with("index", index.dimension())
    .with("embedder", dimension))
}

async fn check_manifest(
    ctx: &Context,
    storage: &Storage,
    prefix: &str,
    embedder: &dyn Embedder,
) -> Result<()> {
    let key = format!("{prefix}manifest");
    let mine = Manifest { embedder: embedder.identity(), dimension: embedder.dimension() };
    let stored = match storage.get_json::<Manifest>(ctx, &key).await? {
        Some((stored, _)) => stored,
        None => match storage.put_json(ctx, &key, &mine, Expect::Absent).await {
            Ok(_) => return Ok(()),
            // Somebody else opened it first; what they wrote counts.
            Err(err) if err.kind() == ErrorKind::Conflict => match storage.get_json(ctx, &key).await? {
                Some((stored, _)) => stored,
                None => return Err(err),
            },
            Err(err) => return Err(err),
        },
    };
    if stored.embedder == mine.embedder && stored.dimension == mine.dimension {
        return Ok(());
    }
    let message = "the store was filled with another embedder; open it with that one, or use another name and add the documents again";
    Err(Error::new(ErrorKind::InvalidInput, "rag.open", message)
        .with("field", "embedder")
        .with("expected", format!("{} ({})", stored.embedder, stored.dimension))
        .with("got", format!("{} ({})", mine.embedder, mine.dimension)))
}

async fn load(
    ctx: &Context,
    storage: &Storage,
    prefix: &str,
    indexes: &Indexes,
    dimension: usize,
) -> Result<()> {
    let mut after: Option<String> = None;
    loop {
        let page = storage.scan(ctx, Scan { prefix, after: after.as_deref(), limit: PAGE }).await?;
        let full = page.len() == PAGE;
        after = page.last().map(|(key, _)| key.clone());
        let mut records = Vec::with_capacity(page.len());
        for (key, stored) in page {
            records.push(Record::decode(&key, &stored.value, dimension)?);
        }
        restore(ctx, indexes, records, dimension).await?;
        if !full {
            return Ok(());
        }
    }
}

/// Puts stored documents into the indexes and the catalog.
async fn restore(ctx: &Context, indexes: &Indexes, records: Vec<Record>, dimension: usize) -> Result<()> {
    let mut entries = Vec::with_capacity(records.len());
    let mut vectors = Vec::new();
    for Record { header, vectors: numbers } in records {
        let entry = Entry::new(header.document, header.digest, header.places, header.first);
        vectors.extend(entry.keys().zip(numbers.chunks_exact(dimension).map(<[f32]>::to_vec)));
        entries.push(entry);
    }
    let texts: Vec<(u64, String)> = entries
        .iter()
        .flat_map(|entry| {
            entry.keys().zip(entry.places.iter().map(|place| indexed_text(&entry.document, place)))
        })
        .collect();
    indexes.put(ctx, &texts, &vectors).await?;
    indexes.commit(entries);
    Ok(())
}
