//! `Engine`: each method converts, calls one function of core, and converts back.

use std::{path::PathBuf, sync::Arc};

use pyo3::{prelude::*, types::PyList};
use raptorflow_core::{
    Engine as CoreEngine,
    engine::{ApprovalRequest, EngineConfig, Outcome},
    journal::JournalConfig,
    model::{FunctionModel, Model, ModelAbilities, ModelInfo},
    orchestrator::Report,
    pack::Pack as CorePack,
    runtime::{Runtime, SystemClock},
    types::{Digest, RunId, TenantId},
};

use crate::{
    agent::{Agent, Hook, Tool},
    ask::{Answer, Question},
    bridge::Bridge,
    callback::{self, Callback},
    convert::{deserialized, serialized, to_value},
    error::raise,
    event::EventBus,
    money::{Whose, balance_object, cache_object, list, object},
    rag::{Embedder, KnowledgeBase},
    run::{Ask, Caller, Run, Stream, outcome_object},
    runtime::{tasks, wait},
    skill::SkillRegistry,
    state::{Wanted, entry_object, page_object, state_object},
    testing::{Cassette, Double},
    upkeep::{Policy, archive_object, erased_object, pruned_object},
};

/// Agents, models, journals and a bus.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
pub(crate) struct Engine(CoreEngine);

impl Engine {
    pub(crate) fn core(&self) -> CoreEngine {
        self.0.clone()
    }
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (storage, *, default_model, tools, tenant, owner, config, cache_embedder, cassette))]
    #[expect(clippy::too_many_arguments, reason = "one keyword each in Python")]
    fn new(
        py: Python<'_>,
        storage: Option<String>,
        default_model: Option<String>,
        tools: Vec<Py<Tool>>,
        tenant: Option<&str>,
        owner: Option<String>,
        config: &Bound<'_, PyAny>,
        cache_embedder: Option<Py<Embedder>>,
        cassette: Option<Py<Cassette>>,
    ) -> PyResult<Self> {
        let mut journal = JournalConfig::default();
        journal.owner = owner.map(Into::into);
        let mut builder = CoreEngine::builder().runtime(core_runtime(py)?).journal(journal);
        if let Some(storage) = storage {
            builder = builder.storage(storage);
        }
        if let Some(model) = default_model {
            builder = builder.default_model(model);
        }
        for tool in tools {
            builder = builder.tool(tool.get().core());
        }
        if let Some(cassette) = cassette {
            let (http, secrets) = cassette.get().core();
            builder = builder.http(http).secrets(secrets);
        }
        if let Some(tenant) = tenant {
            builder = builder.tenant(tenant_id(py, tenant)?);
        }
        let config = to_value(config).and_then(EngineConfig::from_json);
        let builder = config.and_then(|config| builder.config(config)).map_err(|err| raise(py, &err))?;
        let builder = match cache_embedder {
            Some(embedder) => builder.cache_embedder(embedder.get().core()),
            None => builder,
        };
        wait(py, builder.build()).map(Self)
    }

    /// The same engine for another tenant.
    fn for_tenant(&self, py: Python<'_>, tenant: &str) -> PyResult<Self> {
        Ok(Self(self.0.for_tenant(tenant_id(py, tenant)?)))
    }

    fn add_hook(&self, hook: &Hook) {
        self.0.add_hook(hook.core());
    }

    fn register(&self, py: Python<'_>, agent: &Agent) -> PyResult<()> {
        self.0.register(agent.core()).map_err(|err| raise(py, &err))
    }

    #[pyo3(signature = (name, function, *, is_async, tools, structured, images, documents, reasoning, context_window))]
    #[expect(clippy::too_many_arguments, reason = "one keyword each in Python")]
    fn register_model(
        &self,
        py: Python<'_>,
        name: &str,
        function: Py<PyAny>,
        is_async: bool,
        tools: bool,
        structured: bool,
        images: bool,
        documents: bool,
        reasoning: bool,
        context_window: Option<u32>,
    ) -> PyResult<()> {
        let abilities =
            ModelAbilities { tools, structured, images, documents, reasoning, ..ModelAbilities::default() };
        let info = ModelInfo { context_window, abilities, ..ModelInfo::new(name) };
        let model: FunctionModel = callback::model(info, Callback::new(function, is_async, "model.function"));
        self.0.register_model(name, Model::new(model)).map_err(|err| raise(py, &err))
    }

    fn register_double(&self, py: Python<'_>, name: &str, model: Double) -> PyResult<()> {
        self.0.register_model(name, model.model(name)).map_err(|err| raise(py, &err))
    }

    fn install(&self, py: Python<'_>, pack: &Pack) -> PyResult<()> {
        self.0.install(&pack.0).map_err(|err| raise(py, &err))
    }

    fn install_skills(&self, py: Python<'_>, skills: &SkillRegistry) -> PyResult<()> {
        self.0.install_skills(skills.core()).map_err(|err| raise(py, &err))
    }

    fn use_knowledge(&self, knowledge: &KnowledgeBase) {
        self.0.use_knowledge(knowledge.core());
    }

    /// A future of the outcome.
    fn run<'py>(&self, py: Python<'py>, caller: Caller<'py>, ask: Ask<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (_, request) = ask.request(&self.0, &caller)?;
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

    /// A future of the outcome of a typed question.
    fn ask<'py>(
        &self,
        py: Python<'py>,
        caller: Caller<'py>,
        question: Question<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let work = question.request(&self.0, &caller)?.1.into_future();
        caller.bridge().spawn(py, async move { work.await.map(Outcome::from) }, outcome_object)
    }

    /// The answer to a typed question, to be read as it arrives.
    fn ask_stream<'py>(
        &self,
        py: Python<'py>,
        caller: Caller<'py>,
        question: Question<'py>,
    ) -> PyResult<Answer> {
        Answer::new(py, question.request(&self.0, &caller)?)
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

    fn signal<'py>(
        &self,
        bridge: &Bridge,
        run: &str,
        name: &str,
        value: &Bound<'py, PyAny>,
        by: Option<String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = value.py();
        let value = to_value(value).map_err(|err| raise(py, &err))?;
        let mut request = self.0.signal(run_id(py, run)?, name, value);
        if let Some(by) = by {
            request = request.by(by);
        }
        bridge.spawn(py, request.into_future(), |py, ()| Ok(py.None()))
    }

    /// A future of the calls of tools that wait for a person.
    fn approvals<'py>(
        &self,
        py: Python<'py>,
        bridge: &Bridge,
        run: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (engine, run) = (self.0.clone(), run.map(|run| run_id(py, run)).transpose()?);
        let pending = async move {
            match run {
                Some(run) => engine.approvals(run).await,
                None => engine.pending_approvals().await,
            }
        };
        bridge.spawn(py, pending, |py, pending| Ok(serialized(py, &pending)?.unbind()))
    }

    #[expect(clippy::too_many_arguments, reason = "one keyword each in Python")]
    fn answer_approval<'py>(
        &self,
        py: Python<'py>,
        bridge: &Bridge,
        run: &str,
        id: String,
        digest: &str,
        approved: bool,
        by: Option<String>,
        reason: Option<String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (run, digest) = (run_id(py, run)?, digest.parse::<Digest>().map_err(|err| raise(py, &err))?);
        let request = if approved { self.0.approve(run, id, digest) } else { self.0.deny(run, id, digest) };
        let request = by.into_iter().fold(request, ApprovalRequest::by);
        let request = reason.into_iter().fold(request, ApprovalRequest::because);
        bridge.spawn(py, request.into_future(), |py, ()| Ok(py.None()))
    }

    fn pause<'py>(&self, py: Python<'py>, bridge: &Bridge, run: &str) -> PyResult<Bound<'py, PyAny>> {
        let (engine, run) = (self.0.clone(), run_id(py, run)?);
        bridge.spawn(py, async move { engine.pause(run).await }, |py, ()| Ok(py.None()))
    }

    /// A future of the id of a new run.
    fn fork<'py>(&self, py: Python<'py>, bridge: &Bridge, run: &str, at: u64) -> PyResult<Bound<'py, PyAny>> {
        let (engine, run) = (self.0.clone(), run_id(py, run)?);
        bridge.spawn(py, async move { engine.fork(run, at).await }, |py, forked| {
            Ok(forked.to_string().into_pyobject(py)?.into_any().unbind())
        })
    }

    fn state<'py>(
        &self,
        py: Python<'py>,
        bridge: &Bridge,
        run: &str,
        at: Option<u64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (engine, run) = (self.0.clone(), run_id(py, run)?);
        bridge.spawn(py, async move { engine.state(run, at).await }, move |py, state| {
            Ok(state_object(py, run, &state)?.into_any().unbind())
        })
    }

    fn runs<'py>(
        &self,
        py: Python<'py>,
        bridge: &Bridge,
        wanted: Wanted<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let engine = self.0.clone();
        let filter = wanted.filter().map_err(|err| raise(py, &err))?;
        bridge.spawn(py, async move { engine.runs(filter).await }, |py, page| {
            Ok(page_object(py, &page)?.into_any().unbind())
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

    fn prune<'py>(&self, py: Python<'py>, bridge: &Bridge, policy: Policy) -> PyResult<Bound<'py, PyAny>> {
        let engine = self.0.clone();
        let policy = policy.retention().map_err(|err| raise(py, &err))?;
        bridge.spawn(py, async move { engine.prune(&policy).await }, pruned_object)
    }

    fn remove<'py>(&self, py: Python<'py>, bridge: &Bridge, run: &str) -> PyResult<Bound<'py, PyAny>> {
        let (engine, run) = (self.0.clone(), run_id(py, run)?);
        bridge.spawn(py, async move { engine.remove(run).await }, |py, ()| Ok(py.None()))
    }

    fn erase_tenant<'py>(
        &self,
        py: Python<'py>,
        bridge: &Bridge,
        tenant: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (engine, tenant) = (self.0.clone(), tenant_id(py, tenant)?);
        bridge.spawn(py, async move { engine.erase_tenant(&tenant).await }, erased_object)
    }

    fn export_tenant<'py>(
        &self,
        py: Python<'py>,
        bridge: &Bridge,
        tenant: &str,
        path: PathBuf,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (engine, tenant) = (self.0.clone(), tenant_id(py, tenant)?);
        bridge.spawn(py, async move { engine.export_tenant(&tenant, path).await }, archive_object)
    }

    fn import_tenant<'py>(
        &self,
        py: Python<'py>,
        bridge: &Bridge,
        tenant: &str,
        path: PathBuf,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (engine, tenant) = (self.0.clone(), tenant_id(py, tenant)?);
        bridge.spawn(py, async move { engine.import_tenant(&tenant, path).await }, archive_object)
    }

    fn snapshot<'py>(&self, py: Python<'py>, bridge: &Bridge, path: PathBuf) -> PyResult<Bound<'py, PyAny>> {
        let engine = self.0.clone();
        bridge.spawn(py, async move { engine.snapshot(path).await }, archive_object)
    }

    fn restore<'py>(&self, py: Python<'py>, bridge: &Bridge, path: PathBuf) -> PyResult<Bound<'py, PyAny>> {
        let engine = self.0.clone();
        bridge.spawn(py, async move { engine.restore(path).await }, archive_object)
    }

    fn set_cap<'py>(
        &self,
        py: Python<'py>,
        bridge: &Bridge,
        whose: Whose,
        window: &Bound<'py, PyAny>,
        cap: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let engine = self.0.clone();
        let read = || Ok((whose.scope()?, deserialized(window, "window")?, deserialized(cap, "cap")?));
        let (scope, window, cap) = read().map_err(|err| raise(py, &err))?;
        bridge.spawn(py, async move { engine.set_cap(scope, window, cap).await }, |py, ()| Ok(py.None()))
    }

    fn approve_spending<'py>(
        &self,
        py: Python<'py>,
        bridge: &Bridge,
        run: &str,
        up_to: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (engine, run) = (self.0.clone(), run_id(py, run)?);
        let up_to = deserialized(up_to, "up_to").map_err(|err| raise(py, &err))?;
        bridge.spawn(py, async move { engine.approve_spending(run, up_to).await }, |py, ()| Ok(py.None()))
    }

    fn balance<'py>(&self, py: Python<'py>, bridge: &Bridge, whose: Whose) -> PyResult<Bound<'py, PyAny>> {
        let engine = self.0.clone();
        let scope = whose.scope().map_err(|err| raise(py, &err))?;
        bridge.spawn(py, async move { engine.balance(&scope).await }, balance_object)
    }

    fn usage<'py>(
        &self,
        py: Python<'py>,
        bridge: &Bridge,
        filter: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let engine = self.0.clone();
        let filter = deserialized(filter, "filter").map_err(|err| raise(py, &err))?;
        bridge.spawn(py, async move { engine.usage(&filter).await }, object)
    }

    fn predict(&self, py: Python<'_>, model: &str, work: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let work = deserialized(work, "work").map_err(|err| raise(py, &err))?;
        object(py, self.0.predict(model, &work))
    }

    fn breakers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        list(py, &self.0.breakers())
    }

    fn rate_limits<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        list(py, &self.0.rate_limits())
    }

    fn cache_stats(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        cache_object(py, &self.0)
    }

    fn forget_answers(&self, skill: Option<&str>) -> usize {
        self.0.forget_answers(skill)
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

pub(crate) fn run_id(py: Python<'_>, text: &str) -> PyResult<RunId> {
    text.parse().map_err(|err| raise(py, &err))
}

fn tenant_id(py: Python<'_>, text: &str) -> PyResult<TenantId> {
    TenantId::new(text).map_err(|err| raise(py, &err))
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
