//! `Search`, `Hit` and `Retriever`: what to ask a knowledge base, and what it finds.

use std::{
    fmt::Debug,
    future::{Future, IntoFuture},
    ops::Range,
    pin::Pin,
    str::FromStr,
    sync::Arc,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    error::{Error, ErrorKind, Result},
    rag::{
        CitedContext, catalog::Entry, chunk::chunk_id, decompose::QueryDecomposer, filter::Filter,
        fusion::Fusion, knowledge::KnowledgeBase, rerank::Rerank,
    },
    runtime::Context,
};

/// How many chunks compete for a place in a context.
pub(crate) const CONTEXT_DEPTH: usize = 60;

/// Which indexes a search asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mode {
    /// Vectors alone.
    Dense,
    /// Words alone.
    Lexical,
    /// Words, spread over the knowledge graph; the embedder is not asked.
    Graph,
    /// Vectors and words, fused and spread over the knowledge graph.
    Hybrid,
}

impl FromStr for Mode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "dense" => Ok(Self::Dense),
            "lexical" => Ok(Self::Lexical),
            "graph" => Ok(Self::Graph),
            "hybrid" => Ok(Self::Hybrid),
            other => Err(Error::new(
                ErrorKind::InvalidInput,
                "rag.mode",
                "expected dense, lexical, graph or hybrid",
            )
            .with("field", "mode")
            .with("value", other)),
        }
    }
}

/// What each index said about a hit; `None` where it was not asked or did not find it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScoreParts {
    /// The score of the vectors.
    pub dense: Option<f32>,
    /// The score of the words (BM25).
    pub lexical: Option<f32>,
    /// How near it is in the knowledge graph, 0 to 1 for the nearest; left out of data where the graph was not asked or
    /// does not connect it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph: Option<f32>,
    /// The score of the reranker; left out of data where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerank: Option<f32>,
}

/// A chunk that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The chunk's id: the document's id, `#` and the place in it from 0.
    pub id: String,
    /// How well it fits; higher is better, and comparable within one search only.
    pub score: f32,
    /// What the score is made of.
    pub parts: ScoreParts,
    /// The text, exactly as in the document.
    pub text: String,
    /// The document's id.
    pub document: Arc<str>,
    /// Where the document comes from.
    pub source: Arc<str>,
    /// First and last line in the document, from 1, both included.
    pub lines: (u32, u32),
    /// The bytes of the document's text.
    pub bytes: Range<usize>,
    /// Headings above it, outermost first, joined with ` > `; empty when there are none.
    pub heading: Arc<str>,
    /// The document's metadata.
    pub metadata: Map<String, Value>,
}

/// Finds passages for a question.
///
/// # Contract
/// - hits come best first, at most `k`.
/// - every hit's text stands in its document at its bytes and lines.
/// - a `k` of 0 finds nothing; a query without text is `InvalidInput`.
///
/// # Examples
/// ```
/// use raptorflow_core::{KnowledgeBase, rag::{Document, HashingEmbedder, Retriever}};
/// use raptorflow_core::runtime::{Context, Runtime};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let kb = KnowledgeBase::in_memory(HashingEmbedder::default()).await?;
/// kb.add([Document::new("plans.md", "The basic plan costs ₹499 a month.")]).await?;
/// let retriever: &dyn Retriever = &kb;
/// let ctx = Context::new(&Runtime::current()?);
/// let context = retriever.context(&ctx, "What does the basic plan cost?", 200).await?;
/// assert_eq!((context.passages.len(), &*context.passages[0].source), (1, "plans.md"));
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Retriever: Debug + Send + Sync + 'static {
    /// The best passages for a query.
    async fn retrieve(&self, ctx: &Context, query: &str, k: usize) -> Result<Vec<Hit>>;

    /// The best passages for a query, numbered and merged, within about `max_tokens`.
    async fn context(&self, ctx: &Context, query: &str, max_tokens: usize) -> Result<CitedContext> {
        Ok(CitedContext::of(&self.retrieve(ctx, query, CONTEXT_DEPTH).await?, max_tokens))
    }
}

/// A search that is being described; await it for its hits.
///
/// # Errors
/// `InvalidInput` for a query without text; what the embedder and the reranker say; `Cancelled` and `Timeout` by the context.
///
/// # Cancellation
/// Searching changes nothing; the future may be dropped at any time.
#[derive(Clone, Debug)]
#[must_use = "a search runs when it is awaited"]
pub struct Search {
    kb: KnowledgeBase,
    pub(crate) query: String,
    pub(crate) k: usize,
    pub(crate) mode: Option<Mode>,
    pub(crate) filter: Filter,
    pub(crate) fusion: Fusion,
    pub(crate) effort: Option<usize>,
    pub(crate) rerank: Option<Rerank>,
    pub(crate) diversity: Option<f32>,
    pub(crate) neighbors: usize,
    pub(crate) decomposer: Option<Arc<dyn QueryDecomposer>>,
}

impl Search {
    pub(crate) fn new(kb: KnowledgeBase, query: String) -> Self {
        let fusion = Fusion::default();
        let rerank = kb.rerank().cloned();
        Self {
            kb,
            query,
            k: 10,
            mode: None,
            filter: Filter::new(),
            fusion,
            effort: None,
            rerank,
            diversity: None,
            neighbors: 0,
            decomposer: None,
        }
    }

    /// At most this many hits; 10 by default.
    pub fn k(mut self, k: usize) -> Self {
        self.k = k;
        self
    }

    /// Which indexes to ask; [`Mode::Hybrid`] by default with a semantic embedder, else [`Mode::Graph`].
    ///
    /// Without a graph (see [`crate::rag::KnowledgeBaseBuilder::without_graph`]) the latter is [`Mode::Lexical`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Only documents that this allows.
    pub fn filter(mut self, filter: impl Into<Filter>) -> Self {
        self.filter = filter.into();
        self
    }

    /// How [`Mode::Hybrid`] makes one list of vectors and words; [`Fusion::default`] by default.
    pub fn fusion(mut self, fusion: Fusion) -> Self {
        self.fusion = fusion;
        self
    }

    /// How many candidates an approximate vector index weighs; see [`crate::rag::vector::VectorQuery::effort`].
    pub fn effort(mut self, effort: usize) -> Self {
        self.effort = Some(effort);
        self
    }

    /// Has the best candidates read again by a reranker; that of the knowledge base by default.
    pub fn rerank(mut self, rerank: Rerank) -> Self {
        self.rerank = Some(rerank);
        self
    }

    /// Leaves the order of the indexes as it is, where the knowledge base has a reranker.
    pub fn without_rerank(mut self) -> Self {
        self.rerank = None;
        self
    }
}

impl IntoFuture for Search {
    type Output = Result<Vec<Hit>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let found = self.kb.find(&self).await?;
            Ok(found.iter().map(Found::hit).collect())
        })
    }
}

#[async_trait]
impl Retriever for KnowledgeBase {
    async fn retrieve(&self, ctx: &Context, query: &str, k: usize) -> Result<Vec<Hit>> {
        self.with_context(ctx)?.search(query).k(k).await
    }

    async fn context(&self, ctx: &Context, query: &str, max_tokens: usize) -> Result<CitedContext> {
        self.with_context(ctx)?.context(query, max_tokens).await
    }
}

/// A hit before its text is copied.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) entry: Arc<Entry>,
    pub(crate) number: usize,
    pub(crate) score: f32,
    pub(crate) parts: ScoreParts,
}

impl Found {
    /// The chunk's key in the indexes.
    pub(crate) fn key(&self) -> u64 {
        self.entry.first + self.number as u64
    }

    /// The chunk's own text.
    pub(crate) fn text(&self) -> &str {
        self.entry.text(self.entry.place(self.number).map_or(0..0, |place| place.bytes.clone()))
    }

    pub(crate) fn hit(&self) -> Hit {
        let place = self.entry.place(self.number);
        let bytes = place.map_or(0..0, |place| place.bytes.clone());
        Hit {
            id: chunk_id(self.entry.id(), self.number),
            score: self.score,
            parts: self.parts,
            text: self.entry.text(bytes.clone()).to_owned(),
            document: Arc::clone(self.entry.id()),
            source: Arc::clone(self.entry.source()),
            lines: place.map_or((0, 0), |place| place.lines),
            bytes,
            heading: place.map_or_else(|| Arc::from(""), |place| Arc::clone(&place.heading)),
            metadata: self.entry.document.metadata.clone(),
        }
    }
}
