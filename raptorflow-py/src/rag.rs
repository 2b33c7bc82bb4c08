//! Knowledge bases and embedders.

use std::{path::PathBuf, sync::Arc};

use pyo3::prelude::*;
use raptorflow_core::{
    KnowledgeBase as CoreKnowledgeBase, Result,
    rag::{
        Document, Embedder as CoreEmbedder, EmbedderRegistry, EmbedderSettings, Filter, HashingEmbedder, Hit,
        KnowledgeBaseBuilder, LoadLimits, Mode, load_folder,
    },
    runtime::{Context, Runtime},
    storage::StorageRegistry,
    types::TenantId,
};
use serde_json::Value;

use crate::{
    bridge::Bridge,
    callback::{Callback, FunctionEmbedder, vectors},
    convert::{deserialized, serialized, to_value},
    engine::core_runtime,
    error::raise,
    rerank::Rerank,
    run::Caller,
    runtime::{runtime, wait},
};

/// Turns text into vectors.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
pub(crate) struct Embedder(Arc<dyn CoreEmbedder>);

#[pymethods]
impl Embedder {
    /// Hashed words, without a model.
    #[staticmethod]
    fn hashing(py: Python<'_>, dimension: usize) -> PyResult<Self> {
        let embedder = HashingEmbedder::new(dimension).map_err(|err| raise(py, &err))?;
        Ok(Self(Arc::new(embedder)))
    }

    /// A function that gets a context and a list of texts.
    #[staticmethod]
    fn function(
        function: Py<PyAny>,
        is_async: bool,
        identity: String,
        dimension: usize,
        semantic: bool,
    ) -> Self {
        let callback = Callback::new(function, is_async, "embedder.embed");
        Self(Arc::new(FunctionEmbedder { identity, dimension, semantic, callback }))
    }

    /// A model of a provider; nothing is sent.
    #[staticmethod]
    fn named(
        py: Python<'_>,
        provider: &str,
        model: &str,
        base_url: Option<String>,
        dimension: Option<usize>,
        shorten: bool,
    ) -> PyResult<Self> {
        let mut settings = EmbedderSettings::default().without_probe();
        (settings.host.base_url, settings.dimension, settings.shorten) = (base_url, dimension, shorten);
        let ctx = Context::new(&core_runtime(py)?);
        let name = format!("{provider}:{model}");
        let embedders = EmbedderRegistry::default().with_settings(provider, settings);
        wait(py, async move { embedders.open(&ctx, &name).await }).map(Self)
    }

    /// A future of the one of a name, whose model may be asked for the size of its vectors.
    #[staticmethod]
    fn open<'py>(py: Python<'py>, bridge: &Bridge, name: String) -> PyResult<Bound<'py, PyAny>> {
        let ctx = Context::new(&core_runtime(py)?);
        let work = async move { EmbedderRegistry::default().open(&ctx, &name).await };
        bridge.spawn(py, work, |py, embedder| Ok(Py::new(py, Self(embedder))?.into_any()))
    }

    #[getter]
    fn identity(&self) -> String {
        self.0.identity()
    }

    #[getter]
    fn dimension(&self) -> usize {
        self.0.dimension()
    }

    #[getter]
    fn semantic(&self) -> bool {
        self.0.semantic()
    }

    #[getter]
    fn usage<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        serialized(py, &self.0.usage())
    }
}

impl Embedder {
    pub(crate) fn core(&self) -> Arc<dyn CoreEmbedder> {
        Arc::clone(&self.0)
    }
}

/// How many numbers the first vector of a function's answer has.
#[pyfunction]
pub(crate) fn vector_dimension(answer: &Bound<'_, PyAny>) -> PyResult<usize> {
    let vectors = vectors(answer).map_err(|err| raise(answer.py(), &err))?;
    Ok(vectors.first().map_or(0, Vec::len))
}

/// Documents with their indexes.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
pub(crate) struct KnowledgeBase {
    kb: CoreKnowledgeBase,
    runtime: Runtime,
    tenant: TenantId,
}

impl KnowledgeBase {
    pub(crate) fn core(&self) -> CoreKnowledgeBase {
        self.kb.clone()
    }

    /// The documents under the caller's loop and context variables, where an embedder's function is called.
    fn called(&self, caller: &Caller<'_>) -> Result<CoreKnowledgeBase> {
        self.kb.with_context(&context(&self.runtime, &self.tenant, caller))
    }
}

fn context(runtime: &Runtime, tenant: &TenantId, caller: &Caller<'_>) -> Context {
    Context::new(runtime).with_tenant(tenant.clone()).with_extension(caller.host())
}

#[pymethods]
impl KnowledgeBase {
    /// A future of one in a store.
    #[staticmethod]
    fn open<'py>(
        py: Python<'py>,
        caller: Caller<'py>,
        uri: String,
        embedder: &Embedder,
        name: Option<String>,
        tenant: Option<&str>,
        rerank: Option<&Rerank>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let runtime = core_runtime(py)?;
        let tenant =
            tenant.map(TenantId::new).transpose().map_err(|err| raise(py, &err))?.unwrap_or_default();
        let ctx = context(&runtime, &tenant, &caller);
        let (embedder, rerank) = (Arc::clone(&embedder.0), rerank.map(Rerank::core));
        let work = async move {
            let storage = StorageRegistry::default().open(&runtime, &uri).await?;
            let builder = CoreKnowledgeBase::builder(embedder).storage(storage).context(&ctx);
            let mut builder = rerank.into_iter().fold(builder, KnowledgeBaseBuilder::rerank);
            if let Some(name) = name {
                builder = builder.name(name);
            }
            let kb = builder.open().await?;
            Ok(Self { kb, runtime, tenant })
        };
        caller.bridge().spawn(py, work, |py, kb| Ok(Py::new(py, kb)?.into_any()))
    }

    /// A future of what adding documents did.
    fn add<'py>(
        &self,
        caller: Caller<'py>,
        documents: &Bound<'py, PyAny>,
        strict: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = documents.py();
        let read = || Ok((deserialized::<Vec<Document>>(documents, "documents")?, self.called(&caller)?));
        let (documents, kb) = read().map_err(|err| raise(py, &err))?;
        let work = async move {
            let ingest = kb.add(documents);
            if strict { ingest.strict().await } else { ingest.await }
        };
        caller.bridge().spawn(py, work, |py, report| Ok(serialized(py, &report)?.unbind()))
    }

    /// A future of hits.
    fn search<'py>(
        &self,
        caller: Caller<'py>,
        query: String,
        k: usize,
        mode: Option<&str>,
        filter: &Bound<'py, PyAny>,
        rerank: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = filter.py();
        let build = || {
            let mut search = self.called(&caller)?.search(query).k(k).filter(filter_of(filter)?);
            if let Some(mode) = mode {
                search = search.mode(mode.parse::<Mode>()?);
            }
            if !rerank {
                search = search.without_rerank();
            }
            Ok(search)
        };
        let search = build().map_err(|err| raise(py, &err))?;
        caller
            .bridge()
            .spawn(py, search.into_future(), |py, hits: Vec<Hit>| Ok(serialized(py, &hits)?.unbind()))
    }

    /// A future of cited context.
    fn context<'py>(
        &self,
        py: Python<'py>,
        caller: Caller<'py>,
        query: String,
        max_tokens: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let kb = self.called(&caller).map_err(|err| raise(py, &err))?;
        let work = async move { kb.context(&query, max_tokens).await };
        caller.bridge().spawn(py, work, |py, context| Ok(serialized(py, &context)?.unbind()))
    }

    /// A future of whether there was such a document.
    fn delete<'py>(&self, py: Python<'py>, caller: Caller<'py>, id: String) -> PyResult<Bound<'py, PyAny>> {
        let kb = self.called(&caller).map_err(|err| raise(py, &err))?;
        let work = async move { kb.delete(&id).await };
        caller
            .bridge()
            .spawn(py, work, |py, deleted| Ok(deleted.into_pyobject(py)?.to_owned().into_any().unbind()))
    }

    fn get<'py>(&self, py: Python<'py>, id: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.kb.get(id).map(|document| serialized(py, &document)).transpose()
    }

    fn ids(&self) -> Vec<String> {
        self.kb.ids().iter().map(ToString::to_string).collect()
    }
}

fn filter_of(filter: &Bound<'_, PyAny>) -> Result<Filter> {
    match to_value(filter)? {
        Value::Object(conditions) => Ok(conditions.into()),
        _ => deserialized(filter, "filter"),
    }
}

/// A future of the documents of a folder, and of why each file that was left out was.
#[pyfunction]
#[pyo3(name = "load_folder")]
pub(crate) fn load<'py>(py: Python<'py>, bridge: &Bridge, path: PathBuf) -> PyResult<Bound<'py, PyAny>> {
    runtime(py)?;
    let ctx = Context::new(&core_runtime(py)?);
    let work = async move { load_folder(&ctx, path, LoadLimits::default()).await };
    bridge.spawn(py, work, |py, loaded| {
        let left_out: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
        Ok((serialized(py, &loaded.documents)?, left_out).into_pyobject(py)?.into_any().unbind())
    })
}
