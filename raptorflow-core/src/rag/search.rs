//! Carries out a search of a knowledge base: asks the indexes, fuses their lists, resolves keys to chunks.

use std::{collections::HashMap, sync::Arc};

use serde_json::json;
use tracing::Instrument as _;

use crate::{
    error::{Error, ErrorKind, Result},
    event::{Event, EventKind},
    rag::{
        embed::check_output,
        indexes::Indexes,
        knowledge::KnowledgeBase,
        lexical::LexicalQuery,
        retrieve::{Found, Mode, ScoreParts, Search},
        vector::{Scored, VectorQuery},
    },
    runtime::names,
};

/// How deep each list goes before two are fused.
const FUSION_DEPTH: usize = 200;

impl KnowledgeBase {
    /// Runs a search and tells that it happened.
    pub(crate) async fn find(&self, search: &Search) -> Result<Vec<Found>> {
        let plain = if self.indexes().graph().is_some() { Mode::Graph } else { Mode::Lexical };
        let mode = search.mode.unwrap_or(if self.embedder().semantic() { Mode::Hybrid } else { plain });
        let span = tracing::debug_span!(names::RAG_SEARCH, k = search.k, mode = ?mode);
        let found = self.ctx().bound("rag.search", self.find_in(search, mode).instrument(span)).await??;
        if self.tells() {
            let data = json!({"knowledge_base": self.name(), "mode": mode, "hits": found.len()});
            self.tell(vec![Event { data, ..Event::new(self.ctx(), EventKind::DataQueried) }]).await?;
        }
        Ok(found)
    }

    async fn find_in(&self, search: &Search, mode: Mode) -> Result<Vec<Found>> {
        if search.query.trim().is_empty() {
            return Err(Error::new(ErrorKind::InvalidInput, "rag.search", "expected a query with text")
                .with("field", "query"));
        }
        search.fusion.check()?;
        if search.k == 0 {
            return Ok(Vec::new());
        }
        let depth = search.depth();
        let k = search.rerank.as_ref().map_or(depth, |rerank| rerank.depth(depth));
        let found = self.all_candidates(search, mode, k).await?;
        Ok(search.choose(self.reranked(search, found).await?))
    }

    /// What the indexes say, before a reranker reads it.
    pub(crate) async fn candidates(&self, search: &Search, mode: Mode, k: usize) -> Result<Vec<Found>> {
        match mode {
            Mode::Dense => {
                let ranked = self.dense(search, k).await?;
                Ok(self.resolve(&ranked, |found| ScoreParts {
                    dense: Some(found.score),
                    ..ScoreParts::default()
                }))
            }
            Mode::Lexical => {
                let ranked = self.lexical(search, k).await?;
                Ok(self.resolve(&ranked, |found| ScoreParts {
                    lexical: Some(found.score),
                    ..ScoreParts::default()
                }))
            }
            Mode::Graph if self.indexes().graph().is_none() => {
                let message = "the knowledge base was opened without a graph";
                Err(Error::new(ErrorKind::Unsupported, "rag.search", message).with("mode", "graph"))
            }
            Mode::Graph => {
                let lexical = self.lexical(search, k.max(FUSION_DEPTH)).await?;
                Ok(self.spread(search, k, &lexical, &[], &lexical))
            }
            Mode::Hybrid => self.hybrid(search, k).await,
        }
    }

    async fn hybrid(&self, search: &Search, k: usize) -> Result<Vec<Found>> {
        let depth = k.max(FUSION_DEPTH);
        let dense = self.dense(search, depth).await?;
        let lexical = self.lexical(search, depth).await?;
        let ranked = search.fusion.fuse(&dense, &lexical);
        Ok(self.spread(search, k, &ranked, &dense, &lexical))
    }

    /// The best of a list after it was spread over the graph, as far as there is one.
    fn spread(
        &self,
        search: &Search,
        k: usize,
        ranked: &[Scored],
        dense: &[Scored],
        lexical: &[Scored],
    ) -> Vec<Found> {
        let by_key = |list: &[Scored]| -> HashMap<u64, f32> {
            list.iter().map(|scored| (scored.key, scored.score)).collect()
        };
        let spread = self.indexes().graph().map(|graph| graph.propagate(&search.query, ranked));
        let (mut ranked, mut near) = (ranked.to_vec(), HashMap::new());
        if let Some(spread) = spread {
            near.extend(spread.iter().filter_map(|found| Some((found.key, found.graph?))));
            // The indexes looked at the filter already; what only the graph found did not.
            let known = by_key(&ranked);
            let allowed = spread
                .iter()
                .filter(|found| known.contains_key(&found.key) || self.allows(search, found.key));
            ranked = allowed.map(|found| Scored { key: found.key, score: found.score }).take(k).collect();
        }
        ranked.truncate(k);
        let (dense, lexical) = (by_key(dense), by_key(lexical));
        self.resolve(&ranked, |found| ScoreParts {
            dense: dense.get(&found.key).copied(),
            lexical: lexical.get(&found.key).copied(),
            graph: near.get(&found.key).copied(),
            rerank: None,
        })
    }

    async fn dense(&self, search: &Search, k: usize) -> Result<Vec<Scored>> {
        let Indexes { vectors, lexical, .. } = self.indexes();
        let corpus = lexical.corpus().unwrap_or(&());
        let vector = self.embedder().embed_query(self.ctx(), &search.query, corpus).await?;
        check_output(self.embedder().as_ref(), &vector)?;
        let allows = |key| self.allows(search, key);
        let query = VectorQuery { vector: &vector, k, filter: Some(&allows), effort: search.effort };
        vectors.search(self.ctx(), query).await
    }

    async fn lexical(&self, search: &Search, k: usize) -> Result<Vec<Scored>> {
        let allows = |key| self.allows(search, key);
        let query = LexicalQuery { text: &search.query, k, filter: Some(&allows) };
        self.indexes().lexical.search(self.ctx(), query).await
    }

    /// Whether a key belongs to a document as it is now, and the filter allows that document.
    fn allows(&self, search: &Search, key: u64) -> bool {
        let catalog = self.indexes().catalog();
        catalog.by_key(key).is_some_and(|(entry, _)| search.filter.allows(&entry.document))
    }

    /// The chunks of keys; a document that changed since the index was asked is left out.
    fn resolve(&self, ranked: &[Scored], parts: impl Fn(&Scored) -> ScoreParts) -> Vec<Found> {
        let catalog = self.indexes().catalog();
        let found = ranked.iter().filter_map(|scored| {
            let (entry, number) = catalog.by_key(scored.key)?;
            Some(Found {
                entry: Arc::clone(entry),
                number: *number,
                score: scored.score,
                parts: parts(scored),
            })
        });
        found.collect()
    }
}
