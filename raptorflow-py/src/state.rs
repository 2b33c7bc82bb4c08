//! What is recorded of runs, as Python objects.

use pyo3::{prelude::*, types::PyDict};
use raptorflow_core::{
    Error, Result,
    journal::{
        ChildState, Entry, QuestionState, RunFilter, RunPage, RunState, SignalState, StepState, Summary,
        TimerState,
    },
    types::RunId,
};
use serde_json::Value;

use crate::{
    context::datetime,
    convert::{deserialized, serialized, to_object},
    error::raise,
};

/// Which runs are wanted; times are RFC 3339.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Wanted<'py> {
    status: Bound<'py, PyAny>,
    target: Option<String>,
    started_after: Option<String>,
    started_before: Option<String>,
    after: Option<String>,
    limit: usize,
}

impl Wanted<'_> {
    pub(crate) fn filter(self) -> Result<RunFilter> {
        Ok(RunFilter {
            status: deserialized(&self.status, "status")?,
            target: self.target,
            started_after: self.started_after.map(|time| time.parse()).transpose()?,
            started_before: self.started_before.map(|time| time.parse()).transpose()?,
            after: self.after.map(|run| run.parse()).transpose()?,
            limit: self.limit,
        })
    }
}

/// The runs of a page, and the last of them when there are more.
pub(crate) fn page_object<'py>(py: Python<'py>, page: &RunPage) -> PyResult<Bound<'py, PyDict>> {
    let runs: Vec<_> =
        page.runs.iter().map(|(run, summary)| summary_object(py, *run, summary)).collect::<PyResult<_>>()?;
    let out = PyDict::new(py);
    out.set_item("runs", runs)?;
    out.set_item("next", page.next.map(|run| run.to_string()))?;
    Ok(out)
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
    out.set_item("error", exception(py, summary.error.as_ref()))?;
    Ok(out)
}

pub(crate) fn entry_object<'py>(py: Python<'py>, entry: &Entry) -> PyResult<Bound<'py, PyDict>> {
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

/// A run's summary with its steps, questions, timers, signals and children.
pub(crate) fn state_object<'py>(
    py: Python<'py>,
    run: RunId,
    state: &RunState,
) -> PyResult<Bound<'py, PyDict>> {
    let out = summary_object(py, run, &state.summary)?;
    out.set_item("input", to_object(py, &state.input)?)?;
    out.set_item("steps", objects(py, &state.steps, step_object)?)?;
    out.set_item("questions", objects(py, &state.questions, question_object)?)?;
    out.set_item("timers", objects(py, &state.timers, timer_object)?)?;
    out.set_item("signals", objects(py, &state.signals, signal_object)?)?;
    out.set_item("children", objects(py, &state.children, child_object)?)?;
    let forked = state.forked_from.map(|(from, at)| {
        let forked = PyDict::new(py);
        forked.set_item("run_id", from.to_string())?;
        forked.set_item("at", at)?;
        Ok::<_, PyErr>(forked)
    });
    out.set_item("forked_from", forked.transpose()?)?;
    Ok(out)
}

type Object<'py> = Bound<'py, PyDict>;

fn objects<'py, T>(
    py: Python<'py>,
    items: &[T],
    object: impl Fn(Python<'py>, &T) -> PyResult<Object<'py>>,
) -> PyResult<Vec<Object<'py>>> {
    items.iter().map(|item| object(py, item)).collect()
}

fn step_object<'py>(py: Python<'py>, step: &StepState) -> PyResult<Object<'py>> {
    let out = PyDict::new(py);
    out.set_item("path", &*step.path)?;
    out.set_item("status", serialized(py, &step.status)?)?;
    out.set_item("started", datetime(py, step.started)?)?;
    out.set_item("ended", step.ended.map(|ended| datetime(py, ended)).transpose()?)?;
    out.set_item("took", step.took.as_secs_f64())?;
    out.set_item("attempts", step.attempts)?;
    out.set_item("usage", serialized(py, &step.spent.usage)?)?;
    out.set_item("cost", serialized(py, &step.spent.cost)?)?;
    out.set_item("model_calls", step.spent.model_calls)?;
    out.set_item("tool_calls", step.spent.tool_calls)?;
    out.set_item("output", step.output.as_ref().map(|output| to_object(py, output)).transpose()?)?;
    out.set_item("error", exception(py, step.error.as_ref()))?;
    Ok(out)
}

fn question_object<'py>(py: Python<'py>, asked: &QuestionState) -> PyResult<Object<'py>> {
    let question = &asked.question;
    let out = PyDict::new(py);
    out.set_item("path", &*asked.path)?;
    out.set_item("prompt", &question.prompt)?;
    out.set_item("choices", serialized(py, &question.choices)?)?;
    out.set_item("schema", serialized(py, &question.schema)?)?;
    out.set_item("approvers", serialized(py, &question.approvers)?)?;
    out.set_item("due", question.due.map(|due| datetime(py, due)).transpose()?)?;
    out.set_item("since", datetime(py, asked.since)?)?;
    Ok(out)
}

fn timer_object<'py>(py: Python<'py>, timer: &TimerState) -> PyResult<Object<'py>> {
    let out = PyDict::new(py);
    out.set_item("path", &*timer.path)?;
    out.set_item("due", datetime(py, timer.due)?)?;
    Ok(out)
}

fn signal_object<'py>(py: Python<'py>, signal: &SignalState) -> PyResult<Object<'py>> {
    let out = PyDict::new(py);
    out.set_item("name", &*signal.name)?;
    out.set_item("value", to_object(py, &signal.value)?)?;
    out.set_item("by", signal.by.as_deref())?;
    out.set_item("time", datetime(py, signal.time)?)?;
    Ok(out)
}

fn child_object<'py>(py: Python<'py>, child: &ChildState) -> PyResult<Object<'py>> {
    let out = PyDict::new(py);
    out.set_item("path", &*child.path)?;
    out.set_item("run_id", child.run.to_string())?;
    out.set_item("target", &*child.target)?;
    Ok(out)
}

fn exception(py: Python<'_>, error: Option<&Error>) -> Option<Py<PyAny>> {
    error.map(|err| raise(py, err).into_value(py).into_any())
}
