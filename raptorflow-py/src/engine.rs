//! `Engine`: each method converts, calls one function of core, and converts back.

use std::{path::PathBuf, sync::Arc};

use pyo3::{
    prelude::*,
    types::{PyDict, PyList},
};
use raptorflow_core::{
    Engine as CoreEngine,
    journal::{Entry, RunFilter, Summary},
    model::{FunctionModel, Model, ModelAbilities, ModelInfo},
    orchestrator::Report,
    pack::Pack as CorePack,
    runtime::{Runtime, SystemClock},
    types::{RunId, TenantId},
};
use serde_json::Value;

use crate::{
    agent::{Agent, Tool},
    bridge::Bridge,
    callback::{self, Callback},
    context::datetime,
    convert::{deserialized, serialized, to_object},
    error::raise,
    event::EventBus,
    rag::KnowledgeBase,
    run::{Ask, Caller, Run, Stream, outcome_object},
    runtime::{tasks, wait},
};

/// Agents, models, journals and a bus.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
pub(crate) struct Engine(CoreEngine);

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (storage, *, default_model, tools, tenant))]
    fn new(
        py: Python<'_>,
        storage: Option<String>,
        default_model: Option<String>,
        tools: Vec<Py<Tool>>,
        tenant: Option<&str>,
    ) -> PyResult<Self> {
        let mut builder = CoreEngine::builder().runtime(core_runtime(py)?);
        if let Some(storage) = storage {
            builder = builder.storage(storage);
        }
        if let Some(model) = default_model {
            builder = builder.default_model(model);
        }
        for tool in tools {
            builder = builder.tool(tool.get().core());
        }
        if let Some(tenant) = tenant {
            builder = builder.tenant(TenantId::new(tenant).map_err(|err| raise(py, &err))?);
        }
        wait(py, builder.build()).map(Self)
    }

    fn register(&self, py: Python<'_>, agent: &Agent) -> PyResult<()> {
        self.0.register(agent.core()).map_err(|err| raise(py, &err))
    }

    #[pyo3(signature = (name, function, *, is_async, tools, structured, context_window))]
    #[expect(clippy::too_many_arguments, reason = "one keyword each in Python")]
    fn register_model(
        &self,
        py: Python<'_>,
        name: &str,
        function: Py<PyAny>,
        is_async: bool,
        tools: bool,
        structured: bool,
        context_window: Option<u32>,
    ) -> PyResult<()> {
        let info =
            ModelInfo { name: name.into(), context_window, abilities: ModelAbilities { tools, structured } };
        let model: FunctionModel = callback::model(info, Callback::new(function, is_async, "model.function"));
        self.0.register_model(name, Model::new(model)).map_err(|err| raise(py, &err))
    }

    fn install(&self, py: Python<'_>, pack: &Pack) -> PyResult<()> {
        self.0.install(&pack.0).map_err(|err| raise(py, &err))
    }

    fn use_knowledge(&self, knowledge: &KnowledgeBase) {
        self.0.use_knowledge(knowledge.core());
    }

    /// A future of the outcome.
    fn run<'py>(&self, py: Python<'py>, caller: Caller<'py>, ask: Ask<'py>) -> PyResult<Bound<'py, PyAny>> {
        let request = ask.request(&self.0, &caller)?;
        caller.bridge().spawn(py, request.into_future(), outcome_object)
    }

    /// A future of a run in the background.
    fn start<'py>(&self, py: Python<'py>, caller: Caller<'py>, ask: Ask<'py>) -> PyResult<Bound<'py, PyAny>> {
        let work = Run::start(self.0.clone(), ask.request(&self.0, &caller)?);
        caller.bridge().spawn(py, work, |py, run| Ok(Py::new(py, run)?.into_any()))
    }

    fn stream<'py>(&self, py: Python<'py>, caller: Caller<'py>, ask: Ask<'py>) -> PyResult<Stream> {
        Stream::start(py, &self.0, ask.request(&self.0, &caller)?)
    }

    /// A future of the outcome of a run that is taken up again.
    fn resume<'py>(&self, py: Python<'py>, caller: Caller<'py>, run: &str) -> PyResult<Bound<'py, PyAny>> {
        let request = self.0.resume(run_id(py, run)?).extension(caller.host());
        caller.bridge().spawn(py, request.into_future(), outcome_object)
    }

    fn cancel<'py>(&self, py: Python<'py>, bridge: &Bridge, run: &str) -> PyResult<Bound<'py, PyAny>> {
        let (engine, run) = (self.0.clone(), run_id(py, run)?);
        bridge.spawn(py, async move { engine.cancel(run).await }, |py, ()| Ok(py.None()))
    }

    fn runs<'py>(
        &self,
        py: Python<'py>,
        bridge: &Bridge,
        after: Option<&str>,
        limit: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let engine = self.0.clone();
        let after = after.map(|run| run_id(py, run)).transpose()?;
        let filter = RunFilter { after, limit, ..RunFilter::default() };
        bridge.spawn(py, async move { engine.runs(filter).await }, |py, page| {
            let runs: Vec<_> = page
                .runs
                .iter()
                .map(|(run, summary)| summary_object(py, *run, summary))
                .collect::<PyResult<_>>()?;
            Ok(PyList::new(py, runs)?.into_any().unbind())
        })
    }

    fn history<'py>(
        &self,
        py: Python<'py>,
        bridge: &Bridge,
        run: &str,
        start: u64,
        limit: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (engine, run) = (self.0.clone(), run_id(py, run)?);
        bridge.spawn(py, async move { engine.history(run, start, limit).await }, |py, entries| {
            let entries: Vec<_> =
                entries.iter().map(|entry| entry_object(py, entry)).collect::<PyResult<_>>()?;
            Ok(PyList::new(py, entries)?.into_any().unbind())
        })
    }

    /// The names of the agents.
    fn agents(&self) -> Vec<String> {
        self.0.agents().list().iter().map(|agent| agent.name().to_string()).collect()
    }

    fn bus(&self) -> EventBus {
        EventBus { bus: self.0.bus().clone(), runtime: self.0.runtime().clone() }
    }

    /// A future of the end of the engine.
    fn close<'py>(&self, py: Python<'py>, bridge: &Bridge) -> PyResult<Bound<'py, PyAny>> {
        let engine = self.0.clone();
        bridge.spawn(py, async move { engine.shutdown().await }, |py, ()| Ok(py.None()))
    }

    /// Ends the engine and waits for it.
    fn close_sync(&self, py: Python<'_>) -> PyResult<()> {
        wait(py, self.0.shutdown())
    }
}

/// Clock, ids and tasks of one engine.
///
/// Each has tasks of its own, so that closing one engine does not stop another.
pub(crate) fn core_runtime(py: Python<'_>) -> PyResult<Runtime> {
    Ok(Runtime::new(Arc::new(SystemClock::default()), tasks(py)?))
}

fn run_id(py: Python<'_>, text: &str) -> PyResult<RunId> {
    text.parse().map_err(|err| raise(py, &err))
}

fn summary_object<'py>(py: Python<'py>, run: RunId, summary: &Summary) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    out.set_item("run_id", run.to_string())?;
    out.set_item("target", &summary.target)?;
    out.set_item("status", serialized(py, &summary.status)?)?;
    out.set_item("started", datetime(py, summary.started)?)?;
    out.set_item("ended", summary.ended.map(|ended| datetime(py, ended)).transpose()?)?;
    out.set_item("entries", summary.entries)?;
    out.set_item("usage", serialized(py, &summary.usage)?)?;
    out.set_item("cost", serialized(py, &summary.cost)?)?;
    out.set_item("model_calls", summary.model_calls)?;
    out.set_item("tool_calls", summary.tool_calls)?;
    out.set_item("error", summary.error.as_ref().map(|err| raise(py, err).into_value(py)))?;
    Ok(out)
}

fn entry_object<'py>(py: Python<'py>, entry: &Entry) -> PyResult<Bound<'py, PyDict>> {
    let fact = serde_json::to_value(&entry.fact).unwrap_or_default();
    // A fact is stored as its name, or as an object of its name and its fields.
    let (name, data) = match fact {
        Value::Object(fields) => fields.into_iter().next().unwrap_or_default(),
        Value::String(name) => (name, Value::Object(serde_json::Map::new())),
        _ => (String::new(), Value::Null),
    };
    let out = PyDict::new(py);
    out.set_item("sequence", entry.sequence)?;
    out.set_item("time", datetime(py, entry.time)?)?;
    out.set_item("path", &*entry.path)?;
    out.set_item("fact", name)?;
    out.set_item("data", to_object(py, &data)?)?;
    Ok(out)
}

/// A pack that was read and checked.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
pub(crate) struct Pack(CorePack);

#[pymethods]
impl Pack {
    /// Reads the pack in a folder.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        py.detach(|| CorePack::load(path)).map(Self).map_err(|err| raise(py, &err))
    }

    #[getter]
    fn name(&self) -> &str {
        &self.0.manifest().name
    }

    #[getter]
    fn version(&self) -> &str {
        &self.0.manifest().version
    }

    #[getter]
    fn description(&self) -> &str {
        &self.0.manifest().description
    }

    #[getter]
    fn teams(&self) -> Vec<&str> {
        self.0.teams().iter().map(|(team, _)| team.name.as_str()).collect()
    }

    #[getter]
    fn agents(&self) -> Vec<&str> {
        self.0.agents().iter().map(|agent| agent.name.as_str()).collect()
    }
}

/// The Markdown of an orchestrator's output.
#[pyfunction]
pub(crate) fn report_markdown(output: &Bound<'_, PyAny>) -> PyResult<String> {
    let report: Report = deserialized(output, "report").map_err(|err| raise(output.py(), &err))?;
    Ok(report.to_markdown())
}
