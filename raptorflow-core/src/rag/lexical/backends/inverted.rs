//! `InvertedIndex`: BM25 over postings in memory, with exact update and delete.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    rag::{
        embed::Corpus,
        lexical::{Analyzer, LexicalCapability, LexicalIndex, LexicalQuery, StandardAnalyzer},
        vector::{Scored, TopK},
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
    state: RwLock<State>,
}

/// A document as the postings know it; grows with every put, so postings stay sorted by pushing.
type Slot = u32;
type TermId = u32;

#[derive(Debug, Default)]
struct State {
    terms: HashMap<Box<str>, TermId>,
    /// By term: the slots that hold it, sorted, and how often.
    postings: Vec<Vec<(Slot, u32)>>,
    /// Ids of terms that no text holds any more.
    free: Vec<TermId>,
    /// By slot; `None` when deleted.
    texts: Vec<Option<Text>>,
    /// By slot: the length in terms; apart from `texts`, because a search reads it for every posting.
    lengths: Vec<u32>,
    slots: HashMap<u64, Slot>,
    /// The lengths of all live texts together, in terms.
    total: u64,
}

#[derive(Debug)]
struct Text {
    key: u64,
    /// The distinct terms, for deletion.
    terms: Box<[TermId]>,
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

    fn count_terms(&self, text: &str) -> HashMap<Box<str>, u32> {
        let mut counts: HashMap<Box<str>, u32> = HashMap::new();
        self.analyzer.analyze(text, &mut |term| match counts.get_mut(term) {
            Some(count) => *count += 1,
            None => drop(counts.insert(term.into(), 1)),
        });
        counts
    }
}

impl State {
    fn insert(&mut self, key: u64, counts: HashMap<Box<str>, u32>) -> Result<()> {
        self.remove(key);
        let slot = Slot::try_from(self.texts.len()).map_err(|_| {
            Error::new(ErrorKind::LimitExceeded, "lexical.put", "the index is full")
                .with("texts", self.texts.len())
        })?;
        let mut terms = Vec::with_capacity(counts.len());
        let mut length = 0_u32;
        for (term, count) in counts {
            let id = self.term(term);
            if let Some(postings) = self.postings.get_mut(id as usize) {
                postings.push((slot, count));
            }
            terms.push(id);
            length = length.saturating_add(count);
        }
        self.total += u64::from(length);
        self.texts.push(Some(Text { key, terms: terms.into() }));
        self.lengths.push(length);
        self.slots.insert(key, slot);
        Ok(())
    }

    fn term(&mut self, term: Box<str>) -> TermId {
        if let Some(id) = self.terms.get(&term) {
            return *id;
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.postings.push(Vec::new());
            // Ids run out only after slots do: every term in use belongs to some text.
            TermId::try_from(self.postings.len() - 1).unwrap_or(TermId::MAX)
        });
        self.terms.insert(term, id);
        id
    }

    fn remove(&mut self, key: u64) -> bool {
        let Some(slot) = self.slots.remove(&key) else { return false };
        let Some(text) = self.texts.get_mut(slot as usize).and_then(Option::take) else { return false };
        self.total -= self.lengths.get(slot as usize).copied().map_or(0, u64::from);
        for id in &text.terms {
            let Some(postings) = self.postings.get_mut(*id as usize) else { continue };
            if let Ok(at) = postings.binary_search_by_key(&slot, |(slot, _)| *slot) {
                postings.remove(at);
            }
        }
        true
    }

    /// Forgets unused terms and, when most slots are dead, renumbers the live ones.
    fn tidy(&mut self) {
        let (live, all) = (self.slots.len(), self.texts.len());
        // Every text of the index is read here, so it may only happen after as many changes.
        if all < 64 || live * 2 > all {
            return;
        }
        let (postings, free) = (&mut self.postings, &mut self.free);
        self.terms.retain(|_, id| {
            let used = postings.get(*id as usize).is_some_and(|list| !list.is_empty());
            if !used {
                free.push(*id);
            }
            used
        });
        let mut renumbered = vec![0; all];
        let mut next: Slot = 0;
        for (text, new) in self.texts.iter().zip(&mut renumbered) {
            if let Some(text) = text {
                *new = next;
                self.slots.insert(text.key, next);
                next += 1;
            }
        }
        let mut lengths = std::mem::take(&mut self.lengths).into_iter();
        self.lengths =
            self.texts.iter().zip(&mut lengths).filter(|(text, _)| text.is_some()).map(|(_, l)| l).collect();
        self.texts.retain(Option::is_some);
        for (slot, _) in postings.iter_mut().flatten() {
            *slot = renumbered.get(*slot as usize).copied().unwrap_or(*slot);
        }
    }

    fn idf(&self, frequency: usize) -> f32 {
        // Counts far below 2^24 are exact in f32; above, the error is far below the effect of one text.
        let (n, df) = (self.slots.len() as f32, frequency as f32);
        (1.0 + (n - df + 0.5) / (df + 0.5)).ln()
    }

    fn frequency(&self, term: &str) -> usize {
        self.list(term).map_or(0, <[_]>::len)
    }

    fn list(&self, term: &str) -> Option<&[(Slot, u32)]> {
        self.postings.get(*self.terms.get(term)? as usize).map(Vec::as_slice)
    }

    fn search(
        &self,
        config: InvertedConfig,
        words: &HashMap<Box<str>, u32>,
        query: LexicalQuery<'_>,
    ) -> Vec<Scored> {
        let mut top = TopK::new(query.k);
        if self.slots.is_empty() || query.k == 0 {
            return Vec::new();
        }
        let mean = (self.total as f32 / self.slots.len() as f32).max(1.0);
        let mut scores = vec![0.0_f32; self.texts.len()];
        let mut touched: Vec<Slot> = Vec::new();
        // Sorted, so that sums of floats do not depend on the order of a hash map.
        let mut words: Vec<_> = words.iter().collect();
        words.sort_unstable();
        for (term, repeats) in words {
            let Some(list) = self.list(term) else { continue };
            let weight = self.idf(list.len()) * *repeats as f32;
            for (slot, count) in list {
                let place = (self.lengths.get(*slot as usize), scores.get_mut(*slot as usize));
                let (Some(length), Some(score)) = place else { continue };
                let count = *count as f32;
                let norm = config.k1 * (1.0 - config.b + config.b * *length as f32 / mean);
                // Every share is above 0, so a score of 0 is one that no word touched yet.
                if *score == 0.0 {
                    touched.push(*slot);
                }
                *score += weight * count / (count + norm);
            }
        }
        for slot in touched {
            let (Some(Some(text)), Some(score)) = (self.texts.get(slot as usize), scores.get(slot as usize))
            else {
                continue;
            };
            let scored = Scored { key: text.key, score: *score };
            if top.would_keep(scored) && query.filter.is_none_or(|allows| allows(text.key)) {
                top.push(scored);
            }
        }
        top.into_sorted()
    }
}

#[async_trait]
impl LexicalIndex for InvertedIndex {
    fn capability(&self) -> LexicalCapability {
        LexicalCapability::new(false)
    }

    async fn count(&self, _ctx: &Context) -> Result<usize> {
        Ok(self.state.read().unwrap_or_else(PoisonError::into_inner).slots.len())
    }

    async fn put(&self, _ctx: &Context, items: &[(u64, &str)]) -> Result<()> {
        // Analysis is the slow part and happens before the lock, so that searches go on.
        let counted: Vec<_> = items.iter().map(|(key, text)| (*key, self.count_terms(text))).collect();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for (key, counts) in counted {
            state.insert(key, counts)?;
        }
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
        let words = self.count_terms(query.text);
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        Ok(state.search(self.config, &words, query))
    }

    fn corpus(&self) -> Option<&dyn Corpus> {
        Some(self)
    }
}

impl Corpus for InvertedIndex {
    fn rarity(&self, term: &str) -> f32 {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.idf(state.frequency(term))
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
        let score = |text: &Vec<String>| {
            let one = |term: &String| {
                let df = texts.iter().filter(|text| text.contains(term)).count() as f32;
                let tf = text.iter().filter(|other| *other == term).count() as f32;
                let idf = (1.0 + (n - df + 0.5) / (df + 0.5)).ln();
                idf * tf / (tf + 1.5 * (1.0 - 0.75 + 0.75 * text.len() as f32 / mean))
            };
            terms(query).iter().map(one).sum::<f32>()
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
