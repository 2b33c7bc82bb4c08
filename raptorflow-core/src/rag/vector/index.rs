//! `VectorIndex`: vectors under keys, found by their nearness to a query.

use std::fmt::{self, Debug};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::Context,
};

/// What a vector index really offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capability {
    /// Always the true nearest; others may miss some.
    pub exact: bool,
    /// Acknowledged changes survive the end of the process.
    pub durable: bool,
}

impl Capability {
    /// A record of the abilities.
    #[must_use]
    pub const fn new(exact: bool, durable: bool) -> Self {
        Self { exact, durable }
    }
}

/// How nearness is measured; a higher score is always nearer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The cosine of the angle, −1 to 1; a vector of zeros has none and is refused.
    #[default]
    Cosine,
    /// The dot product.
    Dot,
    /// The negative Euclidean distance, at most 0.
    Euclidean,
}

/// Says which keys may be returned; asked only for candidates, possibly more than once.
pub type KeyFilter<'a> = &'a (dyn Fn(u64) -> bool + Send + Sync);

/// What to look for.
#[derive(Clone, Copy)]
pub struct VectorQuery<'a> {
    /// The vector.
    pub vector: &'a [f32],
    /// At most this many results.
    pub k: usize,
    /// Only keys that this allows.
    pub filter: Option<KeyFilter<'a>>,
    /// How many candidates an approximate index weighs: more is slower and misses less. `None` is its default.
    pub effort: Option<usize>,
}

impl<'a> VectorQuery<'a> {
    /// The `k` nearest of all.
    #[must_use]
    pub fn new(vector: &'a [f32], k: usize) -> Self {
        Self { vector, k, filter: None, effort: None }
    }
}

impl Debug for VectorQuery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VectorQuery")
            .field("dimension", &self.vector.len())
            .field("k", &self.k)
            .field("filtered", &self.filter.is_some())
            .field("effort", &self.effort)
            .finish()
    }
}

/// A key and how well it fits; higher is better.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// The key.
    pub key: u64,
    /// How well it fits.
    pub score: f32,
}

/// Vectors of one dimension under keys that the caller chooses.
///
/// # Contract
/// - `put` then `search` finds the vector; `put` of a present key replaces its vector.
/// - a batch names a key twice: the last vector counts.
/// - equal vectors under different keys are all found.
/// - a vector of another dimension or with a number that is not finite is `InvalidInput`, and nothing of the batch
///   is kept; so is a vector of zeros under `Cosine`.
/// - `delete` says how many of the keys existed; deleted keys are never returned.
/// - `search` yields the best first, ties by the smaller key, at most `k`.
/// - `search` asks the filter inside: `k` results come back when `k` allowed vectors exist.
/// - a `k` of 0 and an empty index yield nothing; a `k` beyond the count yields all.
/// - an approximate index finds at least 95 % of the true nearest 10 of clustered vectors, also after deletions.
///
/// # Cancellation
/// Dropping a future of an index in memory leaves all of a batch or nothing; a batch that began may end later.
#[async_trait]
pub trait VectorIndex: Debug + Send + Sync + 'static {
    /// What this index really offers.
    fn capability(&self) -> Capability;

    /// How many numbers a vector has.
    fn dimension(&self) -> usize;

    /// How nearness is measured.
    fn metric(&self) -> Metric;

    /// How many vectors it holds.
    async fn count(&self, ctx: &Context) -> Result<usize>;

    /// Adds or replaces vectors.
    async fn put(&self, ctx: &Context, items: &[(u64, &[f32])]) -> Result<()>;

    /// Removes vectors and says how many there were.
    async fn delete(&self, ctx: &Context, keys: &[u64]) -> Result<usize>;

    /// The nearest vectors to a query.
    async fn search(&self, ctx: &Context, query: VectorQuery<'_>) -> Result<Vec<Scored>>;
}

/// Checks the dimension of an index to be.
pub(crate) fn check_dimension(operation: &'static str, dimension: usize) -> Result<()> {
    if (1..=65_536).contains(&dimension) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidInput, operation, "expected a dimension from 1 to 65,536")
        .with("dimension", dimension))
}

/// Checks a vector from outside: dimension, finite numbers, and a direction where the metric needs one.
pub(crate) fn check_vector(
    operation: &'static str,
    vector: &[f32],
    dimension: usize,
    metric: Metric,
) -> Result<()> {
    let bad = |expected: &'static str| Error::new(ErrorKind::InvalidInput, operation, expected);
    if vector.len() != dimension {
        return Err(bad("expected a vector of another dimension")
            .with("expected", dimension)
            .with("got", vector.len()));
    }
    if let Some((at, value)) = vector.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        return Err(bad("expected finite numbers").with("position", at).with("value", value));
    }
    if metric == Metric::Cosine && vector.iter().all(|value| *value == 0.0) {
        return Err(bad("expected a vector that is not all zeros: its cosine is undefined"));
    }
    Ok(())
}
