//! Runs: how they are asked for, the handle to one in the background, and how one ended as a Python object.

use std::sync::Arc;

use pyo3::{prelude::*, types::PyDict};
use raptorflow_core::{
    Engine as CoreEngine, Error, ErrorKind, Result,
    engine::{Outcome, RunRequest, Target},
    event::Lag,
    runtime::{Cancel, Context},
    types::{AgentId, Part, RunId, TenantId},
};
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    agent::{Agent, duration},
    bridge::Bridge,
    context::Host,
    convert::{serialized, to_object, to_value},
    error::raise,
    event::{Ended, StopOnDrop, Subscription, of_run},
};

/// How many events of a run wait for who reads them, before the oldest make room.
const EVENTS: usize = 4096;

/// Who asks: the bridge to the loop and the context variables.
#[derive(FromPyObject)]
pub(crate) struct Caller<'py>(Bound<'py, Bridge>, Py<PyAny>);

impl Caller<'_> {
    pub(crate) fn bridge(&self) -> &Bridge {
        self.0.get()
    }

    pub(crate) fn host(&self) -> Arc<Host> {
        let variables = Arc::new(self.1.clone_ref(self.0.py()));
        Arc::new(Host { bridge: self.bridge().shared(), variables })
    }
}

/// The name of what is to run, or the thing itself.
#[derive(FromPyObject)]
pub(crate) enum Asked<'py> {
    Name(String),
    Agent(Bound<'py, Agent>),
}

impl Asked<'_> {
    pub(crate) fn target(&self) -> Target {
        match self {
            Self::Name(name) => name.into(),
            Self::Agent(agent) => agent.get().core().into(),
        }
    }
}

/// What is asked of whom.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Ask<'py> {
    agent: Asked<'py>,
    input: Bound<'py, PyAny>,
    capability: Option<String>,
    timeout: Option<f64>,
    tenant: Option<String>,
    user: Option<String>,
    id: Option<String>,
    attachments: Bound<'py, PyAny>,
}

impl Ask<'_> {
    /// The request of a new run, and its id.
    pub(crate) fn request(&self, engine: &CoreEngine, caller: &Caller<'_>) -> PyResult<(RunId, RunRequest)> {
        let build = || {
            let id = match &self.id {
                Some(id) => id.parse()?,
                None => engine.runtime().ids().run(),
            };
            let mut request =
                engine.run(self.agent.target(), to_value(&self.input)?).extension(caller.host());
            if let Some(capability) = &self.capability {
                request = request.capability(capability.as_str());
            }
            for part in attachments(to_value(&self.attachments)?)? {
                request = request.attach(part);
            }
            if let Some(seconds) = self.timeout {
                request = request.timeout(duration("timeout", seconds)?);
            }
            if let Some(tenant) = &self.tenant {
                request = request.tenant(TenantId::new(tenant.as_str())?);
            }
            if let Some(user) = &self.user {
                request = request.user(user.as_str());
            }
            Ok((id, request.id(id)))
        };
        build().map_err(|err| raise(self.input.py(), &err))
    }
}

fn attachments(given: Value) -> Result<Vec<Part>> {
    // The error of the form says nothing of the content.
    serde_json::from_value(given).map_err(|err| {
        let message = "not pictures and files; expected dicts of the type `image` or `document`";
        Error::new(ErrorKind::InvalidInput, "engine.run", message).with("reason", err)
    })
}

/// A run in the background; it goes on when this is dropped.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
pub(crate) struct Run {
    engine: CoreEngine,
    id: RunId,
    cancel: Cancel,
    ended: Ended,
    /// The bus's sequence before the run began.
    from: u64,
}

impl Run {
    /// Starts a run in the background.
    pub(crate) async fn start(engine: CoreEngine, (id, request): (RunId, RunRequest)) -> Result<Self> {
        let cancel = Cancel::new();
        let from = engine.bus().stats().published;
        let run = request.cancel_with(&cancel).start().await?;
        let (sender, ended) = watch::channel(None);
        let _detached = engine.runtime().tasks().spawn("python.run", async move {
            sender.send_replace(Some(run.outcome().await));
        });
        Ok(Self { engine, id, cancel, ended, from })
    }
}

#[pymethods]
impl Run {
    #[getter]
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn cancel(&self) {
        self.cancel.cancel();
    }

    /// A future of how it ended.
    fn outcome<'py>(&self, py: Python<'py>, bridge: &Bridge) -> PyResult<Bound<'py, PyAny>> {
        bridge.spawn(py, outcome_of(self.ended.clone()), outcome_object)
    }

    /// Its events, from its start to its end.
    fn events(&self, py: Python<'_>) -> PyResult<Subscription> {
        let ctx = Context::for_run(self.engine.runtime(), self.id);
        let events = self
            .engine
            .bus()
            .subscribe_from(&ctx, self.from, of_run(self.id), EVENTS, Lag::DropOldest)
            .map_err(|err| raise(py, &err))?;
        Ok(Subscription::new(events, Some(self.ended.clone()), None))
    }
}

/// A run that lives as long as somebody listens to it.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
pub(crate) struct Stream {
    id: RunId,
    ended: Ended,
    events: Py<Subscription>,
}

impl Stream {
    /// Starts a run whose text is told in pieces, and subscribes to it.
    pub(crate) fn start(
        py: Python<'_>,
        engine: &CoreEngine,
        (id, request): (RunId, RunRequest),
    ) -> PyResult<Self> {
        let events =
            engine.bus().subscribe(of_run(id), EVENTS, Lag::DropOldest).map_err(|err| raise(py, &err))?;
        let (sender, ended) = watch::channel(None);
        let request = request.content(true);
        let task = engine.runtime().tasks().spawn("python.stream", async move {
            sender.send_replace(Some(request.await));
        });
        let events = Py::new(py, Subscription::new(events, Some(ended.clone()), Some(StopOnDrop(task))))?;
        Ok(Self { id, ended, events })
    }
}

#[pymethods]
impl Stream {
    #[getter]
    fn id(&self) -> String {
        self.id.to_string()
    }

    #[getter]
    fn events(&self, py: Python<'_>) -> Py<Subscription> {
        self.events.clone_ref(py)
    }

    /// A future of how it ended.
    fn outcome<'py>(&self, py: Python<'py>, bridge: &Bridge) -> PyResult<Bound<'py, PyAny>> {
        bridge.spawn(py, outcome_of(self.ended.clone()), outcome_object)
    }
}

async fn outcome_of(mut ended: Ended) -> Result<Outcome> {
    match ended.wait_for(Option::is_some).await.as_deref() {
        Ok(Some(outcome)) => outcome.clone(),
        _ => {
            Err(Error::new(ErrorKind::Cancelled, "engine.run", "the stream was closed before the run ended"))
        }
    }
}

/// How a run ended, as a dict whose `finish` is one word.
pub(crate) fn outcome_object(py: Python<'_>, outcome: Outcome) -> PyResult<Py<PyAny>> {
    let out = PyDict::new(py);
    out.set_item("run_id", outcome.run_id.to_string())?;
    out.set_item("output", to_object(py, &outcome.output)?)?;
    let finish = match serde_json::to_value(outcome.finish) {
        Ok(Value::Object(limited)) => limited.into_values().next().unwrap_or_default(),
        Ok(complete) => complete,
        Err(_) => Value::Null,
    };
    out.set_item("finish", to_object(py, &finish)?)?;
    out.set_item("usage", serialized(py, &outcome.usage)?)?;
    out.set_item("cost", serialized(py, &outcome.cost)?)?;
    out.set_item("passages", serialized(py, &outcome.passages)?)?;
    out.set_item("agent", outcome.agent.as_ref().map(AgentId::as_str))?;
    Ok(out.into_any().unbind())
}
