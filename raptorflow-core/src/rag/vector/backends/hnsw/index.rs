//! `HnswIndex`: the contract of a vector index around the graph.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use async_trait::async_trait;

use crate::{
    error::Result,
    rag::vector::{
        Capability, Metric, Scored, VectorIndex, VectorQuery,
        backends::hnsw::{
            builder::{HnswBuilder, HnswConfig},
            graph::Graph,
            search::{Desk, Effort},
            snapshot,
        },
        check_dimension, check_vector,
        kernel::{kernels, push_unit},
    },
    runtime::Context,
};

/// Batches above this are linked on a blocking thread.
const BLOCKING_BATCH: usize = 8;

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
    /// What searches work in; as many as ever searched at once.
    desks: Arc<Mutex<Vec<Desk>>>,
}

impl HnswIndex {
    /// An empty index.
    ///
    /// # Errors
    /// `InvalidInput` when the dimension is 0 or above 65,536, or a setting is out of its bounds.
    pub fn new(dimension: usize, metric: Metric, config: HnswConfig) -> Result<Self> {
        check_dimension("vector.new", dimension)?;
        config.check()?;
        let graph = Graph::new(dimension, metric, config.m, config.seed);
        Ok(Self::around(config, Arc::new(graph.into())))
    }

    /// An index of that dimension, setting by setting, or from a file.
    ///
    /// ```
    /// use raptorflow_core::{
    ///     rag::vector::{HnswIndex, Metric, VectorIndex, VectorQuery},
    ///     runtime::{Context, Runtime},
    /// };
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("index");
    /// let ctx = Context::new(&Runtime::current()?);
    /// let index = HnswIndex::builder(2).metric(Metric::Dot).ef_search(100).build()?;
    /// index.put(&ctx, &[(1, &[1.0, 0.0]), (2, &[0.0, 1.0])]).await?;
    /// index.save(&ctx, &path).await?;
    ///
    /// let opened = HnswIndex::builder(2).metric(Metric::Dot).open(&ctx, &path).await?;
    /// assert_eq!(opened.search(&ctx, VectorQuery::new(&[2.0, 1.0], 1)).await?[0].key, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(dimension: usize) -> HnswBuilder {
        HnswBuilder::new(dimension)
    }

    pub(super) fn around(config: HnswConfig, graph: Arc<RwLock<Graph>>) -> Self {
        let (dimension, metric) = {
            let graph = graph.read().unwrap_or_else(PoisonError::into_inner);
            (graph.dimension, graph.metric)
        };
        Self { config, dimension, metric, graph, desks: Arc::default() }
    }

    /// Writes the index to a file, so that [`HnswBuilder::open`] need not build it again.
    ///
    /// The file is written beside, synced and renamed: after a crash there is the old one or the new one.
    /// Searches go on meanwhile; changes wait.
    /// A file `<path>.lock` stays beside it, which keeps writers apart.
    ///
    /// # Errors
    /// `Conflict` when somebody else is saving to the same file; `PermissionDenied`, `NotFound` or `Unavailable` when the
    /// file cannot be written.
    ///
    /// # Cancellation
    /// Dropping the future does not stop the writing.
    pub async fn save(&self, ctx: &Context, path: impl Into<PathBuf>) -> Result<()> {
        let (graph, path) = (Arc::clone(&self.graph), path.into());
        let write = move || snapshot::save(&graph.read().unwrap_or_else(PoisonError::into_inner), &path);
        ctx.runtime().tasks().spawn_blocking(write).await?
    }

    /// How many bytes of memory of its own the graph with its codes takes, without the vectors and the table of keys.
    ///
    /// What is mapped from a snapshot belongs to the file and is not counted.
    #[must_use]
    pub fn graph_bytes(&self) -> usize {
        let graph = self.graph.read().unwrap_or_else(PoisonError::into_inner);
        let lines = graph.heads.footprint() + graph.codes.footprint();
        let slots = graph.keys.footprint() + graph.live.footprint() + graph.levels.footprint();
        lines + slots + graph.base.footprint() + graph.upper.footprint() + graph.upper_at.footprint()
    }

    /// Which instructions of the processor compare vectors: `avx512-vnni`, `avx2`, `neon` or `plain`.
    #[must_use]
    pub fn instructions(&self) -> &'static str {
        kernels().name
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

    /// A desk that no other search works at.
    fn desk(&self) -> Desk {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn put_back(&self, desk: Desk) {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner).push(desk);
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
        let (index, breadth) = (self.clone(), self.config.ef_construction);
        let link = move || {
            let mut desk = index.desk();
            let graph = || index.graph.write().unwrap_or_else(PoisonError::into_inner);
            graph().settle(&prepared)?;
            graph().reserve(prepared.len())?;
            for (key, vector) in prepared {
                // Locked anew for each, so that searches come in between.
                graph().insert(key, &vector, breadth, &mut desk.scratch)?;
            }
            index.put_back(desk);
            Ok(())
        };
        if items.len() > BLOCKING_BATCH { ctx.runtime().tasks().spawn_blocking(link).await? } else { link() }
    }

    async fn delete(&self, _ctx: &Context, keys: &[u64]) -> Result<usize> {
        let mut desk = self.desk();
        let mut graph = self.graph.write().unwrap_or_else(PoisonError::into_inner);
        let existed = graph.delete(keys, self.config.ef_construction, &mut desk.scratch)?;
        self.put_back(desk);
        Ok(existed)
    }

    async fn search(&self, _ctx: &Context, query: VectorQuery<'_>) -> Result<Vec<Scored>> {
        check_vector("vector.search", query.vector, self.dimension, self.metric)?;
        let vector = self.prepare(query.vector);
        let effort = Effort {
            breadth: query.effort.unwrap_or(self.config.ef_search),
            exact_below: self.config.exact_below,
        };
        let mut desk = self.desk();
        let graph = self.graph.read().unwrap_or_else(PoisonError::into_inner);
        let found = graph.search(&vector, query, effort, &mut desk);
        self.put_back(desk);
        Ok(found)
    }
}
