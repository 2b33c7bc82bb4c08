//! `Indexes`: the vectors and words of all chunks, and the catalog that says which of them count.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use crate::{
    error::Result,
    rag::{
        catalog::{Catalog, Entry},
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
}

impl Indexes {
    pub(crate) fn new(vectors: Arc<dyn VectorIndex>, lexical: Arc<dyn LexicalIndex>) -> Self {
        Self { vectors, lexical, catalog: RwLock::default() }
    }

    pub(crate) fn catalog(&self) -> RwLockReadGuard<'_, Catalog> {
        // A std lock: no await happens while it is held.
        self.catalog.read().unwrap_or_else(PoisonError::into_inner)
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
        let mut catalog = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
        entries.into_iter().filter_map(|entry| catalog.insert(entry)).collect()
    }

    /// Takes a document out of the catalog.
    pub(crate) fn withdraw(&self, id: &str) -> Option<Arc<Entry>> {
        self.catalog.write().unwrap_or_else(PoisonError::into_inner).remove(id)
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
