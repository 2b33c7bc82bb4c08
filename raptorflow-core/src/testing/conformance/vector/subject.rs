//! `VectorSubject`: a fresh index of a dimension and a metric.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use crate::{
    error::Result,
    rag::vector::{Capability, Metric, Scored, VectorIndex, VectorQuery},
    runtime::{Context, Runtime},
    testing::conformance::Subject,
};

type Opening = Pin<Box<dyn Future<Output = Result<Arc<dyn VectorIndex>>> + Send>>;

/// What the vector cases run over.
#[derive(Clone)]
pub struct VectorSubject {
    capability: Capability,
    open: Arc<dyn Fn(usize, Metric) -> Opening + Send + Sync>,
}

impl VectorSubject {
    /// A subject that `open` opens, each time a new and empty index of that dimension and metric.
    pub fn new<O>(capability: Capability, open: impl Fn(usize, Metric) -> O + Send + Sync + 'static) -> Self
    where
        O: Future<Output = Result<Arc<dyn VectorIndex>>> + Send + 'static,
    {
        let open = Arc::new(move |dimension, metric| -> Opening { Box::pin(open(dimension, metric)) });
        Self { capability, open }
    }

    pub(super) async fn open(&self, dimension: usize, metric: Metric) -> Result<Opened> {
        let index = (self.open)(dimension, metric).await?;
        assert_eq!(index.capability(), self.capability, "the subject declares another capability");
        assert_eq!((index.dimension(), index.metric()), (dimension, metric));
        Ok(Opened { ctx: Context::new(&Runtime::current()?), index })
    }
}

impl Subject for VectorSubject {
    fn offers(&self, need: &str) -> bool {
        match need {
            "exact" => self.capability.exact,
            "durable" => self.capability.durable,
            _ => false,
        }
    }
}

impl fmt::Debug for VectorSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VectorSubject").field("capability", &self.capability).finish_non_exhaustive()
    }
}

/// An index and the context of its calls.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) ctx: Context,
    pub(super) index: Arc<dyn VectorIndex>,
}

impl Opened {
    pub(super) async fn put<V: AsRef<[f32]>>(&self, items: &[(u64, V)]) -> Result<()> {
        let items: Vec<(u64, &[f32])> = items.iter().map(|(key, vector)| (*key, vector.as_ref())).collect();
        self.index.put(&self.ctx, &items).await
    }

    pub(super) async fn delete(&self, keys: &[u64]) -> Result<usize> {
        self.index.delete(&self.ctx, keys).await
    }

    pub(super) async fn search(&self, vector: &[f32], k: usize) -> Result<Vec<Scored>> {
        self.index.search(&self.ctx, VectorQuery::new(vector, k)).await
    }

    pub(super) async fn keys(&self, vector: &[f32], k: usize) -> Result<Vec<u64>> {
        Ok(self.search(vector, k).await?.into_iter().map(|scored| scored.key).collect())
    }

    pub(super) async fn allowed(
        &self,
        vector: &[f32],
        k: usize,
        allows: &(dyn Fn(u64) -> bool + Send + Sync),
    ) -> Result<Vec<u64>> {
        let query = VectorQuery { filter: Some(allows), ..VectorQuery::new(vector, k) };
        Ok(self.index.search(&self.ctx, query).await?.into_iter().map(|scored| scored.key).collect())
    }

    pub(super) async fn count(&self) -> Result<usize> {
        self.index.count(&self.ctx).await
    }
}
