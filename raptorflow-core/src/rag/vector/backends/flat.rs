//! `FlatIndex`: compares the query with every vector; exact, and the oracle of recall.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use async_trait::async_trait;

use crate::{
    error::Result,
    rag::vector::{
        Capability, Metric, Scored, TopK, VectorIndex, VectorQuery, check_dimension, check_vector,
        kernel::{dot, push_unit, squared_distance},
    },
    runtime::Context,
};

/// Exact search over vectors in contiguous memory; the right choice up to about 50,000 vectors.
///
/// A search holds a read lock while it runs and a change holds the write lock; neither waits for anything else.
///
/// ```
/// use raptorflow_core::{rag::vector::{FlatIndex, Metric, VectorIndex, VectorQuery}, runtime::{Context, Runtime}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let ctx = Context::new(&Runtime::current()?);
/// let index = FlatIndex::new(2, Metric::Cosine)?;
/// index.put(&ctx, &[(7, &[1.0, 0.0]), (8, &[0.0, 2.0])]).await?;
/// let found = index.search(&ctx, VectorQuery::new(&[0.1, 3.0], 1)).await?;
/// assert_eq!(found[0].key, 8);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FlatIndex {
    dimension: usize,
    metric: Metric,
    rows: RwLock<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    keys: Vec<u64>,
    /// One row after the other; of length 1 each under `Cosine`.
    numbers: Vec<f32>,
    places: HashMap<u64, usize>,
}

impl FlatIndex {
    /// An empty index.
    ///
    /// # Errors
    /// `InvalidInput` when the dimension is 0 or above 65,536.
    pub fn new(dimension: usize, metric: Metric) -> Result<Self> {
        check_dimension("vector.new", dimension)?;
        Ok(Self { dimension, metric, rows: RwLock::default() })
    }
}

impl Rows {
    fn put(&mut self, key: u64, row: &[f32]) {
        if let Some(place) = self.places.get(&key).copied() {
            let start = place * row.len();
            if let Some(old) = self.numbers.get_mut(start..start + row.len()) {
                old.copy_from_slice(row);
            }
            return;
        }
        self.places.insert(key, self.keys.len());
        self.keys.push(key);
        self.numbers.extend_from_slice(row);
    }

    /// Fills the gap with the last row, so that the memory stays contiguous.
    fn delete(&mut self, key: u64, dimension: usize) -> bool {
        let Some(place) = self.places.remove(&key) else { return false };
        self.keys.swap_remove(place);
        let last = self.numbers.len().saturating_sub(dimension);
        self.numbers.copy_within(last.., place * dimension);
        self.numbers.truncate(last);
        if let Some(moved) = self.keys.get(place) {
            self.places.insert(*moved, place);
        }
        true
    }
}

#[async_trait]
impl VectorIndex for FlatIndex {
    fn capability(&self) -> Capability {
        Capability::new(true, false)
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    async fn count(&self, _ctx: &Context) -> Result<usize> {
        Ok(self.rows.read().unwrap_or_else(PoisonError::into_inner).keys.len())
    }

    async fn put(&self, _ctx: &Context, items: &[(u64, &[f32])]) -> Result<()> {
        for (_, vector) in items {
            check_vector("vector.put", vector, self.dimension, self.metric)?;
        }
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        let mut unit = Vec::with_capacity(self.dimension);
        for (key, vector) in items {
            if self.metric == Metric::Cosine {
                unit.clear();
                push_unit(vector, &mut unit);
                rows.put(*key, &unit);
            } else {
                rows.put(*key, vector);
            }
        }
        Ok(())
    }

    async fn delete(&self, _ctx: &Context, keys: &[u64]) -> Result<usize> {
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        Ok(keys.iter().filter(|key| rows.delete(**key, self.dimension)).count())
    }

    async fn search(&self, _ctx: &Context, query: VectorQuery<'_>) -> Result<Vec<Scored>> {
        check_vector("vector.search", query.vector, self.dimension, self.metric)?;
        let mut unit = Vec::new();
        let vector = if self.metric == Metric::Cosine {
            push_unit(query.vector, &mut unit);
            &unit
        } else {
            query.vector
        };
        let mut top = TopK::new(query.k);
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        for (key, row) in rows.keys.iter().zip(rows.numbers.chunks_exact(self.dimension)) {
            let score = match self.metric {
                Metric::Cosine | Metric::Dot => dot(vector, row),
                Metric::Euclidean => -squared_distance(vector, row).sqrt(),
            };
            let scored = Scored { key: *key, score };
            if top.would_keep(scored) && query.filter.is_none_or(|allows| allows(*key)) {
                top.push(scored);
            }
        }
        Ok(top.into_sorted())
    }
}
