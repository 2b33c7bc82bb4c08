//! `InvertedIndex`: BM25 over postings in memory, with exact update and delete.

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    rag::{
        embed::Corpus,
        lexical::{
            Analyzer, LexicalCapability, LexicalIndex, LexicalQuery, StandardAnalyzer,
            backends::postings::{Counted, Postings},
        },
        vector::Scored,
    },
    runtime::Context,
};

/// Settings of the ranking.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct InvertedConfig {
    /// How fast repetitions of a word stop to count, 0 or more; 1.5 by default.
    pub k1: f32,
    /// How much long texts are held back, 0 to 1; 0.75 by default.
    pub b: f32,
}

impl Default for InvertedConfig {
    fn default() -> Self {
        Self { k1: 1.5, b: 0.75 }
    }
}

/// BM25 with the idf of Lucene, `ln(1 + (n - df + 0.5) / (df + 0.5))`, and without the constant factor `k1 + 1`.
///
/// Postings hold counts, and scores are made from counts at search time, so an update or delete leaves no trace.
/// Scores are made for a few thousand texts at a time, the rarest words first; a text that the other words cannot lift
/// among the best is not looked at further, which changes no result.
/// A search holds a read lock while it runs and a change holds the write lock; neither waits for anything else.
///
/// ```
/// use raptorflow_core::{rag::lexical::{InvertedIndex, LexicalIndex, LexicalQuery}, runtime::{Context, Runtime}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let ctx = Context::new(&Runtime::current()?);
/// let index = InvertedIndex::default();
/// index.put(&ctx, &[(1, "a red fox"), (2, "two red foxes in a red den")]).await?;
/// let found = index.search(&ctx, LexicalQuery { text: "foxes", k: 10, filter: None }).await?;
/// assert_eq!(found[0].key, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct InvertedIndex {
    config: InvertedConfig,
    analyzer: Arc<dyn Analyzer>,
    state: RwLock<Postings>,
}

impl Default for InvertedIndex {
    /// English, k1 1.5, b 0.75.
    fn default() -> Self {
        Self::build(InvertedConfig::default(), Arc::new(StandardAnalyzer::default()))
    }
}

impl InvertedIndex {
    /// An empty index.
    ///
    /// # Errors
    /// `InvalidInput` when `k1` is negative or `b` is not between 0 and 1.
    pub fn new(config: InvertedConfig, analyzer: Arc<dyn Analyzer>) -> Result<Self> {
        let fits = config.k1.is_finite() && config.k1 >= 0.0 && (0.0..=1.0).contains(&config.b);
        if fits {
            return Ok(Self::build(config, analyzer));
        }
        let expected = "expected k1 of at least 0 and b from 0 to 1";
        Err(Error::new(ErrorKind::InvalidInput, "lexical.new", expected)
            .with("k1", config.k1)
            .with("b", config.b))
    }

    fn build(config: InvertedConfig, analyzer: Arc<dyn Analyzer>) -> Self {
        Self { config, analyzer, state: RwLock::default() }
    }
}

#[async_trait]
impl LexicalIndex for InvertedIndex {
    fn capability(&self) -> LexicalCapability {
        LexicalCapability::new(false)
    }

    async fn count(&self, _ctx: &Context) -> Result<usize> {
        Ok(self.state.read().unwrap_or_else(PoisonError::into_inner).len())
    }

    async fn put(&self, _ctx: &Context, items: &[(u64, &str)]) -> Result<()> {
        // Analysis is the slow part and happens before the lock, so that searches go on.
        let mut counted = Counted::default();
        for (key, text) in items {
            counted.text(*key, |each| self.analyzer.analyze(text, each));
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.insert(&counted)?;
        state.tidy();
        Ok(())
    }

    async fn delete(&self, _ctx: &Context, keys: &[u64]) -> Result<usize> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let removed = keys.iter().filter(|key| state.remove(**key)).count();
        state.tidy();
        Ok(removed)
    }

    async fn search(&self, _ctx: &Context, query: LexicalQuery<'_>) -> Result<Vec<Scored>> {
        let mut terms: Vec<Box<str>> = Vec::new();
        self.analyzer.analyze(query.text, &mut |term| terms.push(term.into()));
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        Ok(state.search(self.config, terms, query.k, query.filter))
    }

    fn corpus(&self) -> Option<&dyn Corpus> {
        Some(self)
    }
}

impl Corpus for InvertedIndex {
    fn rarity(&self, term: &str) -> f32 {
        self.state.read().unwrap_or_else(PoisonError::into_inner).rarity(term)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;
    use crate::runtime::Runtime;

    async fn search(index: &InvertedIndex, text: &str) -> Vec<Scored> {
        let ctx = Context::new(&Runtime::current().unwrap());
        index.search(&ctx, LexicalQuery { text, k: 100, filter: None }).await.unwrap()
    }

    /// The reference: the formula over plain counts, one text at a time.
    fn reference(texts: &[&str], query: &str) -> Vec<f32> {
        let terms = |text: &str| {
            let mut terms = Vec::new();
            StandardAnalyzer::default().analyze(text, &mut |term| terms.push(term.to_owned()));
            terms
        };
        let texts: Vec<_> = texts.iter().map(|text| terms(text)).collect();
        let n = texts.len() as f32;
        let mean = texts.iter().map(Vec::len).sum::<usize>() as f32 / n;
        let idf = |term: String| {
            let df = texts.iter().filter(|text| text.contains(&term)).count() as f32;
            (term, (1.0 + (n - df + 0.5) / (df + 0.5)).ln())
        };
        let asked: Vec<_> = terms(query).into_iter().map(idf).collect();
        let score = |text: &Vec<String>| {
            let one = |(term, idf): &(String, f32)| {
                let tf = text.iter().filter(|other| *other == term).count() as f32;
                idf * tf / (tf + 1.5 * (1.0 - 0.75 + 0.75 * text.len() as f32 / mean))
            };
            asked.iter().map(one).sum::<f32>()
        };
        texts.iter().map(score).collect()
    }

    #[tokio::test]
    async fn scores_equal_the_formula() {
        let texts = [
            "a cat is a feline and likes to purr",
            "a dog is the human's best friend",
            "a bird can fly",
            "cat cat",
        ];
        let ctx = Context::new(&Runtime::current().unwrap());
        let index = InvertedIndex::default();
        let items: Vec<_> = (0..).zip(texts).collect();
        index.put(&ctx, &items).await.unwrap();
        for query in ["cat", "does the fish purr like a cat", "cat cat friend"] {
            let expected = reference(&texts, query);
            let found = search(&index, query).await;
            assert_eq!(found.len(), expected.iter().filter(|score| **score > 0.0).count());
            for Scored { key, score } in found {
                assert!(
                    (score - expected[key as usize]).abs() < 1e-5,
                    "{query}: {score} {}",
                    expected[key as usize]
                );
            }
        }
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for (k1, b) in [(-1.0, 0.5), (f32::NAN, 0.5), (1.0, 1.5)] {
            let err = InvertedIndex::new(InvertedConfig { k1, b }, Arc::new(StandardAnalyzer::default()))
                .unwrap_err();
            assert_eq!(err.kind(), ErrorKind::InvalidInput);
        }
    }

    #[tokio::test]
    async fn among_many_texts_the_best_are_those_of_the_formula() {
        // Enough for several blocks, so that texts are left out early.
        let common = ["red", "blue", "green", "stone", "river", "cloud"];
        let text = |n: usize| {
            let words = (0..3 + n % 7).map(|i| common[(n * 7 + i * i) % common.len()]);
            let rare = if n.is_multiple_of(97) { format!(" rare{}", n % 5) } else { String::new() };
            words.collect::<Vec<_>>().join(" ") + &rare
        };
        let texts: Vec<String> = (0..20_000).map(text).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let ctx = Context::new(&Runtime::current().unwrap());
        let index = InvertedIndex::default();
        let items: Vec<_> = (0..).zip(texts.iter().copied()).collect();
        index.put(&ctx, &items).await.unwrap();
        for query in ["rare1 stone river", "cloud rare0 rare3 red red"] {
            let expected = reference(&texts, query);
            let mut best = expected.clone();
            best.sort_by(|a, b| b.total_cmp(a));
            let found = search(&index, query).await;
            assert_eq!(found.len(), 100);
            for (Scored { key, score }, best) in found.into_iter().zip(best) {
                assert!(
                    (score - expected[key as usize]).abs() < 1e-4 && (score - best).abs() < 1e-4,
                    "{query}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn changes_leave_no_trace(changes in proptest::collection::vec((0u64..12, "([a-e]{1,2} ){0,5}", proptest::bool::ANY), 0..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let ctx = Context::new(&Runtime::current().unwrap());
                let (index, fresh) = (InvertedIndex::default(), InvertedIndex::default());
                let mut model = std::collections::BTreeMap::new();
                for (key, text, delete) in &changes {
                    if *delete {
                        let existed = usize::from(model.remove(key).is_some());
                        prop_assert_eq!(index.delete(&ctx, &[*key]).await.unwrap(), existed);
                    } else {
                        model.insert(*key, text.as_str());
                        index.put(&ctx, &[(*key, text)]).await.unwrap();
                    }
                }
                let items: Vec<_> = model.into_iter().collect();
                fresh.put(&ctx, &items).await.unwrap();
                for query in ["ab c dd", "b", "ce ee ad bb"] {
                    prop_assert_eq!(search(&index, query).await, search(&fresh, query).await);
                }
                Ok(())
            })?;
        }
    }
}
