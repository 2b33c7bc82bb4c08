//! `HnswIndex`: the contract of a vector index around the graph.

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    rag::vector::{
        Capability, KeyFilter, Metric, Scored, TopK, VectorIndex, VectorQuery,
        backends::hnsw::graph::{Graph, Near},
        check_dimension, check_vector,
        kernel::push_unit,
    },
    runtime::Context,
};

/// How many keys a filter is asked for, to guess what share of all it allows.
const SAMPLE: usize = 256;
/// The most that a filter widens the walk.
const MAX_WIDENING: f32 = 8.0;
/// Below this share a filtered walk mostly meets keys that it may not return.
const NARROW: f32 = 0.02;
/// Batches above this are linked on a blocking thread.
const BLOCKING_BATCH: usize = 8;

/// Settings of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HnswConfig {
    /// Links of a vector on each upper level, and half of those on the base; 2 to 256, 16 by default.
    pub m: usize,
    /// How many candidates a new vector weighs for its links; at least `m`, 200 by default.
    pub ef_construction: usize,
    /// How many candidates a search weighs unless it says otherwise; 64 by default.
    pub ef_search: usize,
    /// Where a search has at most this many vectors to choose from, it compares them all; 10,000 by default.
    pub exact_below: usize,
    /// Decides how high each vector stands; the same seed and changes give the same graph.
    pub seed: u64,
}

impl Default for HnswConfig {
    fn default() -> Self {
        Self { m: 16, ef_construction: 200, ef_search: 64, exact_below: 10_000, seed: 0 }
    }
}

/// Approximate search over a hierarchical navigable small world graph.
///
/// A search walks links toward the query and weighs `ef_search` candidates, or more where the query asks for it.
/// Deleted vectors are walked through, never returned, and repaired away when they are a fifth of the graph; their
/// memory is used again.
/// A filter is asked during the walk, which grows wider the less the filter allows; where few keys are allowed, and
/// where a walk finds too few, all allowed vectors are compared.
///
/// A search holds a read lock while it runs and each change of one vector the write lock.
/// Under [`Metric::Dot`] vectors of very different lengths are found less reliably than under the other metrics.
///
/// ```
/// use raptorflow_core::{
///     rag::vector::{HnswConfig, HnswIndex, Metric, VectorIndex, VectorQuery},
///     runtime::{Context, Runtime},
/// };
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let ctx = Context::new(&Runtime::current()?);
/// let index = HnswIndex::new(2, Metric::Euclidean, HnswConfig::default())?;
/// index.put(&ctx, &[(7, &[1.0, 0.0]), (8, &[0.0, 2.0])]).await?;
/// let found = index.search(&ctx, VectorQuery::new(&[0.0, 1.5], 1)).await?;
/// assert_eq!((found[0].key, found[0].score), (8, -0.5));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct HnswIndex {
    config: HnswConfig,
    dimension: usize,
    metric: Metric,
    graph: Arc<RwLock<Graph>>,
}

impl HnswIndex {
    /// An empty index.
    ///
    /// # Errors
    /// `InvalidInput` when the dimension is 0 or above 65,536, or a setting is out of its bounds.
    pub fn new(dimension: usize, metric: Metric, config: HnswConfig) -> Result<Self> {
        check_dimension("vector.new", dimension)?;
        let bad = |field: &'static str, value: usize, expected: &'static str| {
            Err(Error::new(ErrorKind::InvalidInput, "vector.new", expected)
                .with("field", field)
                .with("value", value))
        };
        if !(2..=256).contains(&config.m) {
            return bad("m", config.m, "expected 2 to 256");
        }
        if config.ef_construction < config.m {
            return bad("ef_construction", config.ef_construction, "expected at least m");
        }
        if config.ef_search == 0 {
            return bad("ef_search", config.ef_search, "expected at least 1");
        }
        let graph = Arc::new(RwLock::new(Graph::new(dimension, metric, config.m, config.seed)));
        Ok(Self { config, dimension, metric, graph })
    }

    /// The vector as the graph keeps it: of length 1 under `Cosine`.
    fn prepare(&self, vector: &[f32]) -> Vec<f32> {
        let mut prepared = Vec::with_capacity(self.dimension);
        match self.metric {
            Metric::Cosine => push_unit(vector, &mut prepared),
            Metric::Dot | Metric::Euclidean => prepared.extend_from_slice(vector),
        }
        prepared
    }

    fn find(&self, graph: &Graph, vector: &[f32], query: VectorQuery<'_>) -> Vec<Scored> {
        if query.k == 0 || graph.count() == 0 {
            return Vec::new();
        }
        let share = query.filter.map_or(1.0, |allows| allowed_share(graph, allows));
        let matches = share * graph.count() as f32;
        if matches <= self.config.exact_below as f32 || share < NARROW {
            return compare_all(graph, vector, query);
        }
        let widening = (1.0 / share).min(MAX_WIDENING);
        let effort = query.effort.unwrap_or(self.config.ef_search).max(query.k);
        let breadth = (effort as f32 * widening) as usize;
        let found = walk(graph, vector, query, breadth);
        // The walk may end in a corner of keys that the filter rejects; `k` were promised.
        if found.len() < query.k.min(graph.count()) { compare_all(graph, vector, query) } else { found }
    }
}

/// What share of the keys a filter allows, by an even sample of the slots.
fn allowed_share(graph: &Graph, allows: KeyFilter<'_>) -> f32 {
    let step = (graph.size() / SAMPLE).max(1);
    let (mut asked, mut allowed) = (0_u32, 0_u32);
    for slot in graph.all().step_by(step).filter(|slot| graph.is_live(*slot)) {
        asked += 1;
        allowed += u32::from(allows(graph.key(slot)));
    }
    if asked == 0 { 0.0 } else { allowed as f32 / asked as f32 }
}

fn walk(graph: &Graph, vector: &[f32], query: VectorQuery<'_>, breadth: usize) -> Vec<Scored> {
    let Some(start) = graph.descend(vector, 0) else { return Vec::new() };
    let mut top = TopK::new(query.k);
    graph.walk(vector, start, 0, breadth, |near| keep(graph, near, query.filter, &mut top));
    top.into_sorted()
}

fn compare_all(graph: &Graph, vector: &[f32], query: VectorQuery<'_>) -> Vec<Scored> {
    let mut top = TopK::new(query.k);
    for slot in graph.all().filter(|slot| graph.is_live(*slot)) {
        keep(graph, graph.near(vector, slot), query.filter, &mut top);
    }
    top.into_sorted()
}

fn keep(graph: &Graph, near: Near, filter: Option<KeyFilter<'_>>, top: &mut TopK) {
    let scored = graph.scored(near);
    let wanted = graph.is_live(near.slot()) && top.would_keep(scored);
    if wanted && filter.is_none_or(|allows| allows(scored.key)) {
        top.push(scored);
    }
}

#[async_trait]
impl VectorIndex for HnswIndex {
    fn capability(&self) -> Capability {
        Capability::new(false, false)
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    async fn count(&self, _ctx: &Context) -> Result<usize> {
        Ok(self.graph.read().unwrap_or_else(PoisonError::into_inner).count())
    }

    async fn put(&self, ctx: &Context, items: &[(u64, &[f32])]) -> Result<()> {
        for (_, vector) in items {
            check_vector("vector.put", vector, self.dimension, self.metric)?;
        }
        let prepared: Vec<(u64, Vec<f32>)> =
            items.iter().map(|(key, vector)| (*key, self.prepare(vector))).collect();
        let (graph, breadth) = (Arc::clone(&self.graph), self.config.ef_construction);
        let link = move || {
            for (key, vector) in prepared {
                // Locked anew for each, so that searches come in between.
                graph.write().unwrap_or_else(PoisonError::into_inner).insert(key, &vector, breadth)?;
            }
            Ok(())
        };
        if items.len() > BLOCKING_BATCH { ctx.runtime().tasks().spawn_blocking(link).await? } else { link() }
    }

    async fn delete(&self, _ctx: &Context, keys: &[u64]) -> Result<usize> {
        let mut graph = self.graph.write().unwrap_or_else(PoisonError::into_inner);
        Ok(keys.iter().filter(|key| graph.delete(**key, self.config.ef_construction)).count())
    }

    async fn search(&self, _ctx: &Context, query: VectorQuery<'_>) -> Result<Vec<Scored>> {
        check_vector("vector.search", query.vector, self.dimension, self.metric)?;
        let vector = self.prepare(query.vector);
        let graph = self.graph.read().unwrap_or_else(PoisonError::into_inner);
        Ok(self.find(&graph, &vector, query))
    }
}
