//! `HnswBuilder`: the settings of an index, one by one, and where it comes from.

use std::{path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    rag::vector::{
        HnswIndex, Metric,
        backends::hnsw::{graph::Graph, snapshot},
        check_dimension,
    },
    runtime::Context,
};

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
    /// Where there are at most this many vectors, a search compares them all; 10,000 by default.
    pub exact_below: usize,
    /// Decides how high each vector stands; the same seed and changes give the same graph.
    pub seed: u64,
}

impl Default for HnswConfig {
    fn default() -> Self {
        Self { m: 16, ef_construction: 200, ef_search: 64, exact_below: 10_000, seed: 0 }
    }
}

impl HnswConfig {
    pub(super) fn check(&self) -> Result<()> {
        let bad = |field: &'static str, value: usize, expected: &'static str| {
            Err(Error::new(ErrorKind::InvalidInput, "vector.new", expected)
                .with("field", field)
                .with("value", value))
        };
        if !(2..=256).contains(&self.m) {
            return bad("m", self.m, "expected 2 to 256");
        }
        if self.ef_construction < self.m {
            return bad("ef_construction", self.ef_construction, "expected at least m");
        }
        if self.ef_search == 0 {
            return bad("ef_search", self.ef_search, "expected at least 1");
        }
        Ok(())
    }
}

/// Makes an [`HnswIndex`], empty or from a snapshot; see [`HnswIndex::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it builds or opens"]
pub struct HnswBuilder {
    dimension: usize,
    metric: Metric,
    config: HnswConfig,
}

impl HnswBuilder {
    pub(super) fn new(dimension: usize) -> Self {
        Self { dimension, metric: Metric::default(), config: HnswConfig::default() }
    }

    /// How nearness is measured; [`Metric::Cosine`] by default.
    pub fn metric(mut self, metric: Metric) -> Self {
        self.metric = metric;
        self
    }

    /// All settings at once.
    pub fn config(mut self, config: HnswConfig) -> Self {
        self.config = config;
        self
    }

    /// See [`HnswConfig::m`].
    pub fn m(mut self, m: usize) -> Self {
        self.config.m = m;
        self
    }

    /// See [`HnswConfig::ef_construction`].
    pub fn ef_construction(mut self, candidates: usize) -> Self {
        self.config.ef_construction = candidates;
        self
    }

    /// See [`HnswConfig::ef_search`].
    pub fn ef_search(mut self, candidates: usize) -> Self {
        self.config.ef_search = candidates;
        self
    }

    /// See [`HnswConfig::exact_below`].
    pub fn exact_below(mut self, vectors: usize) -> Self {
        self.config.exact_below = vectors;
        self
    }

    /// See [`HnswConfig::seed`].
    pub fn seed(mut self, seed: u64) -> Self {
        self.config.seed = seed;
        self
    }

    /// An empty index.
    ///
    /// # Errors
    /// `InvalidInput` when the dimension is 0 or above 65,536, or a setting is out of its bounds.
    pub fn build(self) -> Result<HnswIndex> {
        HnswIndex::new(self.dimension, self.metric, self.config)
    }

    /// The index that [`HnswIndex::save`] wrote to a file, mapped into memory.
    ///
    /// The file may be deleted or saved to again while the index is used, and must not be changed in place.
    /// The first change after opening copies what it touches into memory.
    /// The seed is the one that the index was built with.
    ///
    /// # Errors
    /// `NotFound` when there is no file; `Corrupt` when it is cut short or damaged, `Unsupported` when another version
    /// wrote it: build the index again then; `InvalidInput` when it has another dimension, metric or `m` than asked for.
    ///
    /// # Cancellation
    /// Dropping the future leaves nothing behind.
    pub async fn open(self, ctx: &Context, path: impl Into<PathBuf>) -> Result<HnswIndex> {
        self.config.check()?;
        check_dimension("vector.open", self.dimension)?;
        let path = path.into();
        let graph = ctx.runtime().tasks().spawn_blocking(move || snapshot::open(&path)).await??;
        self.around(graph)
    }

    fn around(self, graph: Graph) -> Result<HnswIndex> {
        let bad = |field: &'static str, expected: String, got: String| {
            Error::new(ErrorKind::InvalidInput, "vector.open", "the snapshot is of another index")
                .with("field", field)
                .with("expected", expected)
                .with("got", got)
        };
        if graph.dimension != self.dimension {
            return Err(bad("dimension", self.dimension.to_string(), graph.dimension.to_string()));
        }
        if graph.metric != self.metric {
            return Err(bad("metric", format!("{:?}", self.metric), format!("{:?}", graph.metric)));
        }
        if graph.m != self.config.m {
            return Err(bad("m", self.config.m.to_string(), graph.m.to_string()));
        }
        let config = HnswConfig { seed: graph.seed, ..self.config };
        Ok(HnswIndex::around(config, Arc::new(graph.into())))
    }
}
