//! Budgets, prices and what layers did, as Python objects.

use pyo3::{
    prelude::*,
    types::{PyDict, PyList},
};
use raptorflow_core::{
    Engine, Result,
    economics::{self, Balance, Scope},
};
use serde::Serialize;

use crate::{context::datetime, convert::serialized};

/// Whose spending is meant; the tenant's where nothing is named.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Whose {
    user: Option<String>,
    run: Option<String>,
    agent: Option<String>,
}

impl Whose {
    pub(crate) fn scope(&self) -> Result<Scope> {
        let run = self.run.as_deref().map(str::parse).transpose()?;
        let agent = self.agent.as_deref().map(str::parse).transpose()?;
        Scope::of(self.user.as_deref(), run, agent)
    }
}

/// How a scope stands, with its time as a datetime.
pub(crate) fn balance_object(py: Python<'_>, balance: Balance) -> PyResult<Py<PyAny>> {
    let out = PyDict::new(py);
    out.set_item("at", datetime(py, balance.at)?)?;
    out.set_item("spent", serialized(py, &balance.spent)?)?;
    out.set_item("reserved", serialized(py, &balance.reserved)?)?;
    out.set_item("caps", serialized(py, &balance.caps)?)?;
    out.set_item("approved", serialized(py, &balance.approved)?)?;
    Ok(out.into_any().unbind())
}

/// What serializes, as an object that stands for itself.
pub(crate) fn object(py: Python<'_>, what: impl Serialize) -> PyResult<Py<PyAny>> {
    Ok(serialized(py, &what)?.unbind())
}

/// How often the cache had an answer; `None` without a cache.
pub(crate) fn cache_object(py: Python<'_>, engine: &Engine) -> PyResult<Option<Py<PyAny>>> {
    let Some(stats) = engine.cache_stats() else { return Ok(None) };
    let out = serialized(py, &stats)?;
    out.set_item("hit_rate", stats.hit_rate())?;
    Ok(Some(out.unbind()))
}

/// A list of what serializes.
pub(crate) fn list<'py>(py: Python<'py>, items: &[impl Serialize]) -> PyResult<Bound<'py, PyList>> {
    let items: Vec<_> = items.iter().map(|item| serialized(py, item)).collect::<PyResult<_>>()?;
    PyList::new(py, items)
}

/// About how many tokens a text has.
#[pyfunction]
pub(crate) fn text_tokens(text: &str) -> u64 {
    economics::text_tokens(text)
}
