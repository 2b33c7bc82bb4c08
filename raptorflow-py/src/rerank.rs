//! Reranking steps of searches.

use std::sync::Arc;

use pyo3::prelude::*;
use raptorflow_core::{
    model::{FnReranker, ProviderSettings, RerankerRegistry},
    rag::{Rerank as CoreRerank, RerankSettings},
};

use crate::{
    callback::{self, Callback},
    convert::deserialized,
    error::raise,
    runtime::wait,
};

/// The best candidates of a search are read again.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
pub(crate) struct Rerank(CoreRerank);

#[pymethods]
impl Rerank {
    /// By a model of a provider; nothing is sent.
    #[staticmethod]
    fn named(settings: &Bound<'_, PyAny>, base_url: Option<String>) -> PyResult<Self> {
        let py = settings.py();
        let settings = read(settings)?;
        let provider = settings.model.split(':').next().unwrap_or_default().to_owned();
        let host = base_url.into_iter().fold(ProviderSettings::default(), ProviderSettings::with_base_url);
        let rerankers = RerankerRegistry::default().with_settings(provider, host);
        wait(py, async move { settings.open(&rerankers).await }).map(Self)
    }

    /// By a function that gets a context, and a question with documents.
    #[staticmethod]
    fn function(settings: &Bound<'_, PyAny>, function: Py<PyAny>, is_async: bool) -> PyResult<Self> {
        let settings = read(settings)?;
        let callback = Callback::new(function, is_async, "rerank.function");
        let reranker: FnReranker = callback::reranker(settings.model.clone(), callback);
        Ok(Self(settings.with(Arc::new(reranker))))
    }
}

impl Rerank {
    pub(crate) fn core(&self) -> CoreRerank {
        self.0.clone()
    }
}

fn read(settings: &Bound<'_, PyAny>) -> PyResult<RerankSettings> {
    deserialized(settings, "rerank").map_err(|err| raise(settings.py(), &err))
}
