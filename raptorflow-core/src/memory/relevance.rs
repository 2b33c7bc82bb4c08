//! How well memories fit a text: by their words, or by an embedder and their words together.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    error::Result,
    memory::{MemoryItem, Scope},
    rag::{
        Document, Embedder, KnowledgeBase,
        lexical::{InvertedIndex, LexicalIndex as _, LexicalQuery},
    },
    runtime::Context,
    storage::{Expect, Scan, Storage},
    types::TenantId,
};

/// How many knowledge bases of scopes are held open; above that the one that was opened first is closed.
const OPEN: usize = 64;
/// How many keys are read at once.
const PAGE: usize = 256;

/// How memories are compared with a text; there is no default, because an embedder may send texts away.
#[derive(Clone, Debug)]
pub enum Relevance {
    /// By the words that they share, with BM25; nothing leaves the process.
    Words,
    /// By an embedder and by words, fused, in a knowledge base of each scope.
    Embedder(Arc<dyn Embedder>),
}

impl Relevance {
    /// By this embedder, and by words.
    pub fn by(embedder: impl Embedder) -> Self {
        Self::Embedder(Arc::new(embedder))
    }
}

/// The indexes that a memory holds open.
#[derive(Debug, Default)]
pub(super) struct Bases {
    // A std mutex: no await happens while it is held.
    open: Mutex<Vec<((TenantId, Scope), KnowledgeBase)>>,
}

impl Bases {
    /// How well each item fits, from 0 to 1, in their order; `None` for what does not bear on the text.
    pub(super) async fn rank(
        &self,
        ctx: &Context,
        place: (&Storage, &Relevance),
        scope: &Scope,
        (items, all): (&[&MemoryItem], &[MemoryItem]),
        text: &str,
    ) -> Result<Vec<Option<f64>>> {
        if text.trim().is_empty() || items.is_empty() {
            return Ok(vec![None; items.len()]);
        }
        let found = match place {
            (_, Relevance::Words) => by_words(ctx, items, text).await?,
            (storage, Relevance::Embedder(embedder)) => {
                let base = self.base(ctx, storage, embedder, scope).await?;
                by_base(&base, all, text).await?
            }
        };
        let scores: Vec<Option<f64>> =
            items.iter().map(|item| found.get(item.id.as_str()).copied()).collect();
        let best = scores.iter().flatten().copied().fold(0.0, f64::max);
        let share = |score: f64| if best > 0.0 { (score / best).clamp(0.0, 1.0) } else { 1.0 };
        Ok(scores.into_iter().map(|score| score.map(share)).collect())
    }

    /// Forgets what indexes of items know, on disk as well.
    pub(super) async fn forget(
        &self,
        ctx: &Context,
        place: (&Storage, &Relevance),
        scope: &Scope,
        ids: &[&str],
    ) -> Result<()> {
        let (storage, Relevance::Embedder(embedder)) = place else { return Ok(()) };
        if ids.is_empty() {
            return Ok(());
        }
        let base = self.base(ctx, storage, embedder, scope).await?;
        for id in ids {
            base.delete(id).await?;
        }
        Ok(())
    }

    /// Forgets the index of a scope as a whole.
    pub(super) async fn erase(&self, ctx: &Context, storage: &Storage, scope: &Scope) -> Result<()> {
        self.lock().retain(|((tenant, open), _)| tenant != ctx.tenant() || open != scope);
        let prefix = format!("rag/{}/", scope.base_name());
        loop {
            let page = storage.scan(ctx, Scan { prefix: &prefix, after: None, limit: PAGE }).await?;
            for (key, _) in &page {
                storage.delete(ctx, key, Expect::Any).await?;
            }
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    async fn base(
        &self,
        ctx: &Context,
        storage: &Storage,
        embedder: &Arc<dyn Embedder>,
        scope: &Scope,
    ) -> Result<KnowledgeBase> {
        let wanted = (ctx.tenant().clone(), scope.clone());
        let known = self.lock().iter().find(|(of, _)| *of == wanted).map(|(_, base)| base.clone());
        if let Some(base) = known {
            return base.with_context(ctx);
        }
        let base = KnowledgeBase::builder(Arc::clone(embedder))
            .name(scope.base_name())
            .storage(storage.clone())
            .context(ctx)
            .open()
            .await?;
        let mut open = self.lock();
        // Somebody may have been quicker; one of them is enough.
        if let Some((_, base)) = open.iter().find(|(of, _)| *of == wanted) {
            return base.with_context(ctx);
        }
        if open.len() >= OPEN {
            open.remove(0);
        }
        open.push((wanted, base.clone()));
        Ok(base)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<((TenantId, Scope), KnowledgeBase)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An index that lives as long as the call: a scope is small, and other processes write to it too.
async fn by_words(ctx: &Context, items: &[&MemoryItem], text: &str) -> Result<HashMap<String, f64>> {
    let index = InvertedIndex::default();
    let texts: Vec<(u64, &str)> = (0..).zip(items).map(|(key, item)| (key, item.text.as_str())).collect();
    index.put(ctx, &texts).await?;
    let found = index.search(ctx, LexicalQuery { text, k: items.len(), filter: None }).await?;
    let id = |key: u64| usize::try_from(key).ok().and_then(|at| items.get(at)).map(|item| item.id.clone());
    Ok(found.into_iter().filter_map(|hit| Some((id(hit.key)?, f64::from(hit.score)))).collect())
}

/// The knowledge base is brought to what is kept first: other processes append and forget as well.
async fn by_base(base: &KnowledgeBase, all: &[MemoryItem], text: &str) -> Result<HashMap<String, f64>> {
    let kept: HashSet<&str> = all.iter().map(|item| item.id.as_str()).collect();
    let known = base.ids();
    for id in known.iter().filter(|id| !kept.contains(&***id)) {
        base.delete(id).await?;
    }
    let known: HashSet<&str> = known.iter().map(|id| &**id).collect();
    let missing: Vec<Document> = all
        .iter()
        .filter(|item| !known.contains(item.id.as_str()))
        .map(|item| Document::new(item.id.clone(), item.text.clone()))
        .collect();
    if !missing.is_empty() {
        base.add(missing).strict().await?;
    }
    let mut found: HashMap<String, f64> = HashMap::new();
    for hit in base.search(text).k(base.chunk_count()).await? {
        let best = found.entry(hit.document.to_string()).or_insert(0.0);
        *best = best.max(f64::from(hit.score));
    }
    Ok(found)
}
