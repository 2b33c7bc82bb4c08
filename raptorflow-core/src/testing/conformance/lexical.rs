//! Cases that every lexical index must pass.

use std::{collections::BTreeMap, fmt, future::Future, pin::Pin, sync::Arc};

use crate::{
    error::Result,
    rag::{
        lexical::{LexicalCapability, LexicalIndex, LexicalQuery},
        vector::{KeyFilter, Scored},
    },
    runtime::{Context, Runtime},
    testing::conformance::{Case, Subject, case::cases},
};

type Opening = Pin<Box<dyn Future<Output = Result<Arc<dyn LexicalIndex>>> + Send>>;

/// What the lexical cases run over: indexes of English text.
#[derive(Clone)]
pub struct LexicalSubject {
    capability: LexicalCapability,
    open: Arc<dyn Fn() -> Opening + Send + Sync>,
}

impl LexicalSubject {
    /// A subject that `open` opens, each time a new and empty index.
    pub fn new<O>(capability: LexicalCapability, open: impl Fn() -> O + Send + Sync + 'static) -> Self
    where
        O: Future<Output = Result<Arc<dyn LexicalIndex>>> + Send + 'static,
    {
        Self { capability, open: Arc::new(move || Box::pin(open())) }
    }

    async fn open(&self) -> Result<Opened> {
        let index = (self.open)().await?;
        assert_eq!(index.capability(), self.capability, "the subject declares another capability");
        Ok(Opened { ctx: Context::new(&Runtime::current()?), index })
    }
}

impl Subject for LexicalSubject {
    fn offers(&self, need: &str) -> bool {
        need == "durable" && self.capability.durable
    }
}

impl fmt::Debug for LexicalSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LexicalSubject").field("capability", &self.capability).finish_non_exhaustive()
    }
}

/// All cases of [`LexicalIndex`].
#[must_use]
pub fn lexical_cases() -> Vec<Case<LexicalSubject>> {
    cases![
        put_then_search_finds_the_text,
        put_of_a_present_key_replaces_its_text,
        a_batch_that_names_a_key_twice_keeps_the_last_text,
        delete_says_how_many_of_the_keys_existed,
        deleted_keys_are_never_returned,
        after_any_changes_the_scores_equal_those_of_a_new_index,
        search_yields_the_best_first_ties_by_the_smaller_key,
        search_asks_the_filter_inside,
        a_query_without_a_known_word_yields_nothing,
        a_k_of_0_and_an_empty_index_yield_nothing,
        a_text_without_words_is_kept_and_never_found,
        rare_words_and_short_texts_count_more,
    ]
}

#[derive(Clone)]
struct Opened {
    ctx: Context,
    index: Arc<dyn LexicalIndex>,
}

impl Opened {
    async fn put(&self, items: &[(u64, &str)]) -> Result<()> {
        self.index.put(&self.ctx, items).await
    }

    async fn search(&self, text: &str, k: usize, filter: Option<KeyFilter<'_>>) -> Result<Vec<Scored>> {
        self.index.search(&self.ctx, LexicalQuery { text, k, filter }).await
    }

    async fn keys(&self, text: &str) -> Result<Vec<u64>> {
        Ok(self.search(text, 100, None).await?.into_iter().map(|scored| scored.key).collect())
    }

    async fn delete(&self, keys: &[u64]) -> Result<usize> {
        self.index.delete(&self.ctx, keys).await
    }

    async fn count(&self) -> Result<usize> {
        self.index.count(&self.ctx).await
    }
}

const TEXTS: [(u64, &str); 4] = [
    (1, "the tide rises and the boats rise with it"),
    (2, "a boat crosses the harbor at night"),
    (3, "harbor lights burn all night long"),
    (4, "bread rises in the oven"),
];

async fn put_then_search_finds_the_text(subject: LexicalSubject) -> Result<()> {
    let index = subject.open().await?;
    index.put(&TEXTS).await?;
    assert_eq!(index.keys("oven").await?, [4]);
    assert_eq!(index.keys("OVENS baked?").await?, [4]);
    assert_eq!(index.count().await?, 4);
    Ok(())
}

async fn put_of_a_present_key_replaces_its_text(subject: LexicalSubject) -> Result<()> {
    let index = subject.open().await?;
    index.put(&TEXTS).await?;
    index.put(&[(4, "the mill grinds flour")]).await?;
    assert!(index.keys("oven").await?.is_empty());
    assert_eq!(index.keys("flour").await?, [4]);
    assert_eq!(index.count().await?, 4);
    Ok(())
}

async fn a_batch_that_names_a_key_twice_keeps_the_last_text(subject: LexicalSubject) -> Result<()> {
    let index = subject.open().await?;
    index.put(&[(1, "first form"), (2, "other"), (1, "second form")]).await?;
    assert!(index.keys("first").await?.is_empty());
    assert_eq!(index.keys("second").await?, [1]);
    assert_eq!(index.count().await?, 2);
    Ok(())
}

async fn delete_says_how_many_of_the_keys_existed(subject: LexicalSubject) -> Result<()> {
    let index = subject.open().await?;
    index.put(&TEXTS).await?;
    assert_eq!(index.delete(&[1, 2, 9]).await?, 2);
    assert_eq!(index.delete(&[1]).await?, 0);
    assert_eq!(index.count().await?, 2);
    Ok(())
}

async fn deleted_keys_are_never_returned(subject: LexicalSubject) -> Result<()> {
    let index = subject.open().await?;
    index.put(&TEXTS).await?;
    index.delete(&[2]).await?;
    assert_eq!(index.keys("harbor night boat").await?, [3, 1]);
    Ok(())
}

async fn after_any_changes_the_scores_equal_those_of_a_new_index(subject: LexicalSubject) -> Result<()> {
    let words = ["tide", "boat", "harbor", "night", "bread", "oven", "light", "mill"];
    let mut random = fastrand::Rng::with_seed(11);
    let index = subject.open().await?;
    let mut texts: BTreeMap<u64, String> = BTreeMap::new();
    for _ in 0..400 {
        let key = random.u64(0..40);
        if random.u8(0..3) == 0 {
            texts.remove(&key);
            index.delete(&[key]).await?;
        } else {
            let length = random.usize(1..12);
            let text: Vec<&str> = (0..length).filter_map(|_| random.choice(words)).collect();
            let text = text.join(" ");
            index.put(&[(key, &text)]).await?;
            texts.insert(key, text);
        }
    }
    let fresh = subject.open().await?;
    let items: Vec<(u64, &str)> = texts.iter().map(|(key, text)| (*key, text.as_str())).collect();
    fresh.put(&items).await?;
    for query in ["tide", "boat night", "mill light oven bread", "harbor harbor tide"] {
        let (changed, new) = (index.search(query, 50, None).await?, fresh.search(query, 50, None).await?);
        assert_eq!(changed.len(), new.len(), "{query}");
        for (a, b) in changed.iter().zip(&new) {
            assert!(a.key == b.key && (a.score - b.score).abs() < 1e-4, "{query}: {a:?} {b:?}");
        }
    }
    Ok(())
}

async fn search_yields_the_best_first_ties_by_the_smaller_key(subject: LexicalSubject) -> Result<()> {
    let index = subject.open().await?;
    index.put(&[(9, "red fox"), (3, "red fox"), (5, "red red fox"), (7, "green fox")]).await?;
    let found = index.search("red", 10, None).await?;
    assert_eq!(found.iter().map(|scored| scored.key).collect::<Vec<_>>(), [5, 3, 9]);
    assert!(found.is_sorted_by(|a, b| a.score >= b.score) && found.iter().all(|scored| scored.score > 0.0));
    let two: Vec<u64> = index.search("red", 2, None).await?.into_iter().map(|scored| scored.key).collect();
    assert_eq!(two, [5, 3]);
    Ok(())
}

async fn search_asks_the_filter_inside(subject: LexicalSubject) -> Result<()> {
    let index = subject.open().await?;
    let texts: Vec<(u64, String)> =
        (0..200).map(|key| (key, format!("tide {}", "and tide ".repeat(key as usize % 7)))).collect();
    let items: Vec<(u64, &str)> = texts.iter().map(|(key, text)| (*key, text.as_str())).collect();
    index.put(&items).await?;
    let found = index.search("tide", 4, Some(&|key| key % 50 == 0)).await?;
    assert_eq!(found.len(), 4);
    assert!(found.iter().all(|scored| scored.key % 50 == 0), "{found:?}");
    assert_eq!(index.search("tide", 4, Some(&|_| false)).await?, []);
    Ok(())
}

async fn a_query_without_a_known_word_yields_nothing(subject: LexicalSubject) -> Result<()> {
    let index = subject.open().await?;
    index.put(&TEXTS).await?;
    for query in ["", " ", "?!", "zebra", "the and of"] {
        assert!(index.keys(query).await?.is_empty(), "{query}");
    }
    Ok(())
}

async fn a_k_of_0_and_an_empty_index_yield_nothing(subject: LexicalSubject) -> Result<()> {
    let index = subject.open().await?;
    assert!(index.keys("tide").await?.is_empty());
    index.put(&[]).await?;
    assert_eq!(index.delete(&[1]).await?, 0);
    index.put(&TEXTS).await?;
    assert_eq!(index.search("tide", 0, None).await?, []);
    Ok(())
}

async fn a_text_without_words_is_kept_and_never_found(subject: LexicalSubject) -> Result<()> {
    let index = subject.open().await?;
    index.put(&[(1, ""), (2, "?!"), (3, "tide")]).await?;
    assert_eq!(index.keys("tide ?!").await?, [3]);
    assert_eq!(index.count().await?, 3);
    assert_eq!(index.delete(&[1, 2]).await?, 2);
    Ok(())
}

async fn rare_words_and_short_texts_count_more(subject: LexicalSubject) -> Result<()> {
    let index = subject.open().await?;
    index
        .put(&[
            (1, "boat harbor"),
            (2, "boat tide"),
            (3, "boat boat harbor night light bread oven mill tide"),
        ])
        .await?;
    index.put(&[(4, "tide mill"), (5, "tide oven")]).await?;
    assert_eq!(index.keys("harbor").await?, [1, 3]);
    assert_eq!(index.keys("tide harbor").await?.first(), Some(&1));
    Ok(())
}
