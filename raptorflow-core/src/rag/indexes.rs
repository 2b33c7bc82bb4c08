//! `Indexes`: the vectors and words of all chunks, and the catalog that says which of them count.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use crate::{
    error::Result,
    rag::{
        catalog::{Catalog, Entry},
        graph::{Extracted, KnowledgeGraph},
        lexical::LexicalIndex,
        vector::VectorIndex,
    },
    runtime::Context,
};

/// The indexes and the catalog that says which of their keys count.
#[derive(Debug)]
pub(crate) struct Indexes {
    pub(crate) vectors: Arc<dyn VectorIndex>,
    pub(crate) lexical: Arc<dyn LexicalIndex>,
    catalog: RwLock<Catalog>,
    /// `None` where the host does not want one.
    graph: Option<RwLock<KnowledgeGraph>>,
}

impl Indexes {
    pub(crate) fn new(vectors: Arc<dyn VectorIndex>, lexical: Arc<dyn LexicalIndex>, graph: bool) -> Self {
        Self { vectors, lexical, catalog: RwLock::default(), graph: graph.then(RwLock::default) }
    }

    pub(crate) fn catalog(&self) -> RwLockReadGuard<'_, Catalog> {
        // A std lock: no await happens while it is held.
        self.catalog.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The graph, whose passages are those of the catalog.
    pub(crate) fn graph(&self) -> Option<RwLockReadGuard<'_, KnowledgeGraph>> {
        // A std lock: no await happens while it is held.
        self.graph.as_ref().map(|graph| graph.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what the graph knows beside the passages.
    pub(crate) fn change_graph<T>(&self, change: impl FnOnce(&mut KnowledgeGraph) -> T) -> Option<T> {
        let graph = self.graph.as_ref()?;
        Some(change(&mut graph.write().unwrap_or_else(PoisonError::into_inner)))
    }

    pub(crate) fn reserve(&self, chunks: usize) -> u64 {
        self.catalog.write().unwrap_or_else(PoisonError::into_inner).reserve(chunks)
    }

    /// Adds chunks under keys that the catalog does not have yet, so that no search returns them.
    pub(crate) async fn put(
        &self,
        ctx: &Context,
        texts: &[(u64, String)],
        vectors: &[(u64, Vec<f32>)],
    ) -> Result<()> {
        let texts: Vec<(u64, &str)> = texts.iter().map(|(key, text)| (*key, text.as_str())).collect();
        let vectors: Vec<(u64, &[f32])> =
            vectors.iter().map(|(key, vector)| (*key, vector.as_slice())).collect();
        self.lexical.put(ctx, &texts).await?;
        self.vectors.put(ctx, &vectors).await
    }

    /// Makes documents current, all at once for searches, and returns those that they replace.
    pub(crate) fn commit(&self, entries: Vec<Entry>) -> Vec<Arc<Entry>> {
        // Reading is the slow part and happens before the locks, so that searches go on.
        let read: Vec<(u64, Arc<str>, Extracted)> = if self.graph.is_some() {
            entries.iter().flat_map(Entry::extracted).collect()
        } else {
            Vec::new()
        };
        let old: Vec<Arc<Entry>> = {
            let mut catalog = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
            entries.into_iter().filter_map(|entry| catalog.insert(entry)).collect()
        };
        self.change_graph(|graph| {
            old.iter().for_each(|entry| forget(graph, entry));
            for (key, document, found) in read {
                graph.insert(key, &document, &found);
            }
        });
        old
    }

    /// Takes a document out of the catalog.
    pub(crate) fn withdraw(&self, id: &str) -> Option<Arc<Entry>> {
        let old = self.catalog.write().unwrap_or_else(PoisonError::into_inner).remove(id)?;
        self.change_graph(|graph| forget(graph, &old));
        Some(old)
    }

    /// Removes the chunks of documents that the catalog no longer has.
    pub(crate) async fn forget(&self, ctx: &Context, old: &[Arc<Entry>]) -> Result<()> {
        let keys: Vec<u64> = old.iter().flat_map(|entry| entry.keys()).collect();
        if !keys.is_empty() {
            self.vectors.delete(ctx, &keys).await?;
            self.lexical.delete(ctx, &keys).await?;
        }
        Ok(())
    }
}

/// Removes a document's passages and facts from the graph.
fn forget(graph: &mut KnowledgeGraph, entry: &Entry) {
    graph.remove_facts(entry.id(), &[]);
    for key in entry.keys() {
        graph.remove(key);
    }
}
