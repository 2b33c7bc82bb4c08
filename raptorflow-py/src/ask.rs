//! Typed questions: how they are asked, and an answer that is read as it arrives.

use std::sync::Arc;

use futures_util::StreamExt as _;
use pyo3::prelude::*;
use raptorflow_core::{
    Engine as CoreEngine, Error, ErrorKind,
    engine::{AnswerPart, AnswerStream, AskRequest, Outcome},
    runtime::Cancel,
    types::{RunId, TenantId},
};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::{
    agent::duration,
    bridge::Bridge,
    convert::{deserialized, to_object, to_value},
    error::raise,
    run::{Asked, Caller, outcome_object},
};

/// A typed question.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Question<'py> {
    question: Bound<'py, PyAny>,
    schema: Bound<'py, PyAny>,
    agent: Option<Asked<'py>>,
    model: Option<String>,
    instructions: Option<String>,
    background: Option<String>,
    retrieval: Option<Bound<'py, PyAny>>,
    limits: Option<Bound<'py, PyAny>>,
    repairs: Option<u32>,
    timeout: Option<f64>,
    tenant: Option<String>,
    user: Option<String>,
    id: Option<String>,
}

impl Question<'_> {
    /// The request of a new run, and its id.
    pub(crate) fn request(
        &self,
        engine: &CoreEngine,
        caller: &Caller<'_>,
    ) -> PyResult<(RunId, AskRequest<Value>)> {
        let build = || {
            let id = match &self.id {
                Some(id) => id.parse()?,
                None => engine.runtime().ids().run(),
            };
            let ask = engine.ask::<Value>(to_value(&self.question)?);
            let mut ask = ask.schema(deserialized(&self.schema, "schema")?).id(id).extension(caller.host());
            if let Some(agent) = &self.agent {
                ask = ask.agent(agent.target());
            }
            if let Some(model) = &self.model {
                ask = ask.model(model.as_str());
            }
            if let Some(text) = &self.instructions {
                ask = ask.instructions(text.as_str());
            }
            if let Some(text) = &self.background {
                ask = ask.background(text.as_str());
            }
            if let Some(retrieval) = &self.retrieval {
                ask = ask.retrieval(deserialized(retrieval, "retrieval")?);
            }
            if let Some(limits) = &self.limits {
                ask = ask.limits(deserialized(limits, "limits")?);
            }
            if let Some(repairs) = self.repairs {
                ask = ask.repairs(repairs);
            }
            if let Some(seconds) = self.timeout {
                ask = ask.timeout(duration("timeout", seconds)?);
            }
            if let Some(tenant) = &self.tenant {
                ask = ask.tenant(TenantId::new(tenant.as_str())?);
            }
            if let Some(user) = &self.user {
                ask = ask.user(user.as_str());
            }
            Ok((id, ask))
        };
        build().map_err(|err| raise(self.question.py(), &err))
    }
}

/// An answer that is read as it arrives; `None` inside is one that has ended or was let go.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
pub(crate) struct Answer {
    id: RunId,
    parts: Arc<Mutex<Option<AnswerStream<Value>>>>,
    closed: Cancel,
}

impl Answer {
    pub(crate) fn new(py: Python<'_>, (id, request): (RunId, AskRequest<Value>)) -> PyResult<Self> {
        let parts = request.stream().map_err(|err| raise(py, &err))?;
        Ok(Self { id, parts: Arc::new(Mutex::new(Some(parts))), closed: Cancel::new() })
    }
}

#[pymethods]
impl Answer {
    #[getter]
    fn id(&self) -> String {
        self.id.to_string()
    }

    /// A future of the next part: its kind, and what it has; `None` at the end.
    fn next<'py>(&self, py: Python<'py>, bridge: &Bridge) -> PyResult<Bound<'py, PyAny>> {
        let (parts, closed) = (Arc::clone(&self.parts), self.closed.clone());
        let work = async move {
            let mut place = parts.lock().await;
            let Some(stream) = &mut *place else { return Ok(None) };
            let part = tokio::select! {
                biased;
                () = closed.cancelled() => None,
                part = stream.next() => part,
            };
            if !matches!(part, Some(Ok(AnswerPart::Partial { .. } | AnswerPart::Again { .. }))) {
                *place = None;
            }
            part.transpose()
        };
        bridge.spawn(py, work, part_object)
    }

    /// Stops the run, if it has not ended; it can be resumed.
    fn close(&self) {
        self.closed.cancel();
        // Who waits for a part right now lets go of it instead.
        if let Ok(mut parts) = self.parts.try_lock() {
            *parts = None;
        }
    }
}

fn part_object(py: Python<'_>, part: Option<AnswerPart<Value>>) -> PyResult<Py<PyAny>> {
    let Some(part) = part else { return Ok(py.None()) };
    let tuple = match part {
        AnswerPart::Partial { value, open } => ("partial", to_object(py, &value)?, open).into_pyobject(py)?,
        AnswerPart::Again { attempt } => {
            ("again", attempt.into_pyobject(py)?.into_any(), None::<String>).into_pyobject(py)?
        }
        AnswerPart::Done(outcome) => {
            let outcome = outcome_object(py, Outcome::from(outcome))?;
            ("done", outcome.into_bound(py), None::<String>).into_pyobject(py)?
        }
        _ => {
            let message = "a part of the answer is of a kind that this binding does not know";
            return Err(raise(py, &Error::new(ErrorKind::Internal, "python.ask", message)));
        }
    };
    Ok(tuple.into_any().unbind())
}
