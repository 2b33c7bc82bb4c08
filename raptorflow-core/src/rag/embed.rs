//! `Embedder`: text to vectors; a weight-free one by hashing, and one from any function.

use std::{collections::HashMap, fmt, future::Future, pin::Pin, sync::Arc};

use async_trait::async_trait;

use crate::{
    error::{Error, ErrorKind, Result},
    rag::{
        lexical::{Analyzer, StandardAnalyzer},
        vector::{Metric, check_dimension, check_vector},
    },
    runtime::Context,
    types::Usage,
};

/// How rare words are in what is searched; lets a weight-free embedder weigh the words of a query.
pub trait Corpus: Send + Sync {
    /// The inverse document frequency of a term, at least 0; terms that occur nowhere have the highest.
    ///
    /// A term is what an [`Analyzer`] makes of a word.
    fn rarity(&self, term: &str) -> f32;
}

/// A corpus that knows nothing: all words are equally rare.
impl Corpus for () {
    fn rarity(&self, _term: &str) -> f32 {
        1.0
    }
}

/// Turns text into vectors.
///
/// # Contract
/// - `embed_documents` gives one vector per text, in order, and none for no texts.
/// - vectors have `dimension` finite numbers, not all zero.
/// - `identity` changes whenever the vector of some text would, and stays the same for one embedder; vectors of two
///   identities are never compared.
/// - both ways may wait and fail; neither keeps what it was given.
#[async_trait]
pub trait Embedder: fmt::Debug + Send + Sync + 'static {
    /// Names the model and its settings; stored with the vectors.
    fn identity(&self) -> String;

    /// How many numbers a vector has.
    fn dimension(&self) -> usize;

    /// Whether texts of one meaning in different words are near each other.
    ///
    /// It decides the default [`crate::rag::Mode`]: vectors that only repeat what words say make a fused search worse.
    fn semantic(&self) -> bool {
        true
    }

    /// How many texts [`embed_documents`](Self::embed_documents) should get at once; 64 by default.
    fn batch(&self) -> usize {
        64
    }

    /// The tokens that a model has read so far, as far as it tells; a price book makes a cost of them.
    fn usage(&self) -> Usage {
        Usage::default()
    }

    /// The vectors of texts that are kept.
    async fn embed_documents(&self, ctx: &Context, texts: &[&str]) -> Result<Vec<Vec<f32>>>;

    /// The vector of a question; `corpus` tells how rare its words are, `&()` when nothing is known.
    async fn embed_query(&self, ctx: &Context, text: &str, corpus: &dyn Corpus) -> Result<Vec<f32>>;
}

#[async_trait]
impl<E: Embedder + ?Sized> Embedder for Arc<E> {
    fn identity(&self) -> String {
        (**self).identity()
    }

    fn dimension(&self) -> usize {
        (**self).dimension()
    }

    fn semantic(&self) -> bool {
        (**self).semantic()
    }

    fn batch(&self) -> usize {
        (**self).batch()
    }

    fn usage(&self) -> Usage {
        (**self).usage()
    }

    async fn embed_documents(&self, ctx: &Context, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        (**self).embed_documents(ctx, texts).await
    }

    async fn embed_query(&self, ctx: &Context, text: &str, corpus: &dyn Corpus) -> Result<Vec<f32>> {
        (**self).embed_query(ctx, text, corpus).await
    }
}

/// Embeds texts and checks what came back: as many as asked for, of the right dimension, finite, not all zero.
///
/// # Errors
/// `InvalidOutput` that names the embedder and what was wrong; else what the embedder says.
pub(crate) async fn embed_checked(
    ctx: &Context,
    embedder: &dyn Embedder,
    texts: &[&str],
) -> Result<Vec<Vec<f32>>> {
    let vectors = embedder.embed_documents(ctx, texts).await?;
    if vectors.len() != texts.len() {
        let message = "the embedder did not give one vector per text";
        return Err(Error::new(ErrorKind::InvalidOutput, "embedder.embed", message)
            .with("embedder", embedder.identity())
            .with("expected", texts.len())
            .with("got", vectors.len()));
    }
    vectors.iter().try_for_each(|vector| check_output(embedder, vector))?;
    Ok(vectors)
}

/// Checks one vector that an embedder gave.
pub(crate) fn check_output(embedder: &dyn Embedder, vector: &[f32]) -> Result<()> {
    check_vector("embedder.embed", vector, embedder.dimension(), Metric::Cosine).map_err(|err| {
        Error::new(ErrorKind::InvalidOutput, "embedder.embed", "the embedder gave an unusable vector")
            .with("embedder", embedder.identity())
            .caused_by(err)
    })
}

/// Coordinates that one feature is spread over; more make collisions of two features weaker.
const SPREAD: u32 = 8;
/// The weight of all character n-grams of a word together, beside 1 for the word itself.
const GRAMS_WEIGHT: f32 = 1.0;

/// Vectors without a model: hashed word stems and their character 3-grams and 4-grams.
///
/// Texts are near each other when they share words or parts of words, so it finds copies, misspellings and
/// inflections; it knows nothing of meaning, and BM25 ranks better (see [`Embedder::semantic`]).
/// Documents are weighted by term frequency alone and queries also by the rarity of words in the store, so that a
/// document's vector never changes when others come and go.
/// Weighing documents by rarity too measured the same nDCG@10 on Cranfield (43) and 34 instead of 28 on CACM, where
/// BM25 has 51, and would make stored vectors stale with every change.
/// It is deterministic on all machines.
///
/// ```
/// use raptorflow_core::rag::{Embedder, HashingEmbedder};
/// let embedder = HashingEmbedder::default();
/// assert_eq!(embedder.dimension(), 384);
/// assert!(!embedder.semantic());
/// ```
#[derive(Debug)]
pub struct HashingEmbedder {
    dimension: usize,
    analyzer: StandardAnalyzer,
}

impl Default for HashingEmbedder {
    /// 384 dimensions, English.
    fn default() -> Self {
        Self { dimension: 384, analyzer: StandardAnalyzer::default() }
    }
}

impl HashingEmbedder {
    /// Another dimension.
    ///
    /// # Errors
    /// `InvalidInput` when it is below 8 or above 65,536.
    pub fn new(dimension: usize) -> Result<Self> {
        if dimension >= SPREAD as usize {
            check_dimension("embedder.new", dimension)?;
            return Ok(Self { dimension, ..Self::default() });
        }
        Err(Error::new(ErrorKind::InvalidInput, "embedder.new", "expected a dimension of at least 8")
            .with("dimension", dimension))
    }

    /// Words of another language.
    #[must_use]
    pub fn with_analyzer(self, analyzer: StandardAnalyzer) -> Self {
        Self { analyzer, ..self }
    }

    fn embed(&self, text: &str, corpus: Option<&dyn Corpus>) -> Vec<f32> {
        let mut counts: HashMap<String, f32> = HashMap::new();
        self.analyzer.analyze(text, &mut |term| *counts.entry(term.to_owned()).or_default() += 1.0);
        if counts.is_empty() {
            // Stop words or punctuation alone: the text as it stands is better than a vector of zeros.
            counts.insert(text.trim().to_lowercase(), 1.0);
        }
        // Sorted, so that sums of floats do not depend on the order of a hash map.
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by(|a, b| a.0.cmp(&b.0));
        let mut vector = vec![0.0; self.dimension];
        for (term, count) in counts {
            let weight =
                (1.0 + count.ln()) * corpus.map_or(1.0, |corpus| corpus.rarity(&term).max(f32::MIN_POSITIVE));
            self.spread(&mut vector, 'w', &term, weight);
            let grams: Vec<&str> = grams(&term).collect();
            let share = weight * GRAMS_WEIGHT / (grams.len().max(1) as f32).sqrt();
            for gram in grams {
                self.spread(&mut vector, 'g', gram, share);
            }
        }
        let scale = vector.iter().map(|x| x * x).sum::<f32>().sqrt().recip();
        vector.iter_mut().for_each(|x| *x *= scale);
        vector
    }

    fn spread(&self, vector: &mut [f32], space: char, feature: &str, weight: f32) {
        let mut state = feature.bytes().fold(0xcbf2_9ce4_8422_2325_u64 ^ u64::from(space), |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        for _ in 0..SPREAD {
            // SplitMix64: short inputs differ in few bits of FNV, and this mixes them into all.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            let at = (mixed >> 1) % self.dimension as u64;
            let sign = if mixed & 1 == 0 { weight } else { -weight };
            if let Some(x) = usize::try_from(at).ok().and_then(|at| vector.get_mut(at)) {
                *x += sign;
            }
        }
    }
}

/// The 3-grams and 4-grams of a word's characters.
fn grams(word: &str) -> impl Iterator<Item = &str> {
    let bounds: Vec<usize> = word.char_indices().map(|(at, _)| at).chain([word.len()]).collect();
    let of = move |n: usize| {
        let pairs: Vec<_> = bounds.iter().copied().zip(bounds.iter().copied().skip(n)).collect();
        pairs.into_iter().filter_map(|(from, to)| word.get(from..to))
    };
    of(3).chain(of(4)).collect::<Vec<_>>().into_iter()
}

#[async_trait]
impl Embedder for HashingEmbedder {
    fn identity(&self) -> String {
        format!("hashing-1/{}/{}", self.dimension, self.analyzer.identity())
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    fn semantic(&self) -> bool {
        false
    }

    async fn embed_documents(&self, _ctx: &Context, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        Ok(texts.iter().map(|text| self.embed(text, None)).collect())
    }

    async fn embed_query(&self, _ctx: &Context, text: &str, corpus: &dyn Corpus) -> Result<Vec<f32>> {
        Ok(self.embed(text, Some(corpus)))
    }
}

/// What [`FnEmbedder`] calls.
type EmbedFn =
    dyn Fn(Vec<String>) -> Pin<Box<dyn Future<Output = Result<Vec<Vec<f32>>>> + Send>> + Send + Sync;

/// An embedder from an async function of texts; documents and queries are embedded alike.
///
/// ```
/// use raptorflow_core::rag::FnEmbedder;
/// let lengths = |texts: Vec<String>| async move {
///     Ok(texts.iter().map(|text| vec![text.len() as f32, 1.0]).collect())
/// };
/// let embedder = FnEmbedder::new("lengths-1", 2, lengths).unwrap();
/// ```
#[derive(Clone)]
pub struct FnEmbedder {
    identity: Arc<str>,
    dimension: usize,
    semantic: bool,
    function: Arc<EmbedFn>,
}

impl FnEmbedder {
    /// Wraps a function; `identity` names its model, and another name means other vectors.
    ///
    /// # Errors
    /// `InvalidInput` when the identity is empty, or the dimension is 0 or above 65,536.
    pub fn new<F, O>(identity: &str, dimension: usize, function: F) -> Result<Self>
    where
        F: Fn(Vec<String>) -> O + Send + Sync + 'static,
        O: Future<Output = Result<Vec<Vec<f32>>>> + Send + 'static,
    {
        check_dimension("embedder.new", dimension)?;
        if identity.trim().is_empty() {
            return Err(Error::new(ErrorKind::InvalidInput, "embedder.new", "expected an identity"));
        }
        let function: Arc<EmbedFn> = Arc::new(move |texts| Box::pin(function(texts)));
        Ok(Self { identity: identity.into(), dimension, semantic: true, function })
    }

    /// Says that the vectors know words, not meaning; see [`Embedder::semantic`].
    #[must_use]
    pub fn lexical(self) -> Self {
        Self { semantic: false, ..self }
    }
}

impl fmt::Debug for FnEmbedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnEmbedder")
            .field("identity", &self.identity)
            .field("dimension", &self.dimension)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Embedder for FnEmbedder {
    fn identity(&self) -> String {
        self.identity.as_ref().to_owned()
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    fn semantic(&self) -> bool {
        self.semantic
    }

    async fn embed_documents(&self, _ctx: &Context, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        (self.function)(texts.iter().map(|text| (*text).to_owned()).collect()).await
    }

    async fn embed_query(&self, ctx: &Context, text: &str, _corpus: &dyn Corpus) -> Result<Vec<f32>> {
        let vectors = embed_checked(ctx, self, &[text]).await?;
        let missing =
            || Error::new(ErrorKind::InvalidOutput, "embedder.embed", "the embedder gave no vector");
        vectors.into_iter().next().ok_or_else(missing)
    }
}
