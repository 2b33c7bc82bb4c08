//! `Context`: what a function of the host learns about the run that it is called in.

use std::sync::Arc;

use pyo3::{
    prelude::*,
    types::{PyDateTime, PyTzInfo},
};
use raptorflow_core::{runtime::Context as CoreContext, types::Timestamp};

use crate::bridge::Shared;

/// Where the functions of a run are called: the caller's loop and context variables.
///
/// It travels in the extension of core's context.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) bridge: Arc<Shared>,
    /// In an `Arc`, because only who holds the interpreter may count references to Python objects.
    pub(crate) variables: Arc<Py<PyAny>>,
}

/// The run that a function is called in.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
pub(crate) struct Context(CoreContext);

impl Context {
    pub(crate) fn new(ctx: CoreContext) -> Self {
        Self(ctx)
    }
}

#[pymethods]
impl Context {
    /// The run.
    #[getter]
    fn run_id(&self) -> String {
        self.0.run_id().to_string()
    }

    /// The tenant.
    #[getter]
    fn tenant(&self) -> &str {
        self.0.tenant().as_str()
    }

    /// Who asked, where the host said so.
    #[getter]
    fn user(&self) -> Option<&str> {
        self.0.principal()
    }

    /// The place inside the run, steps joined with `/`; empty at its top.
    #[getter]
    fn path(&self) -> &str {
        self.0.path()
    }

    /// The agents above this call, outermost first.
    #[getter]
    fn lineage(&self) -> Vec<&str> {
        self.0.lineage().iter().map(raptorflow_core::types::AgentId::as_str).collect()
    }

    /// When the work must be over.
    #[getter]
    fn deadline<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDateTime>>> {
        self.0.deadline().map(|deadline| datetime(py, deadline)).transpose()
    }

    /// A key that stays the same when this step is tried again, also after a crash.
    #[getter]
    fn idempotency_key(&self) -> Option<&str> {
        self.0.idempotency_key()
    }

    /// Whether the run was cancelled; a function that blocks looks at it from time to time.
    #[getter]
    fn is_cancelled(&self) -> bool {
        self.0.cancel().is_cancelled()
    }

    fn __repr__(&self) -> String {
        format!("Context(run_id='{}', path='{}')", self.0.run_id(), self.0.path())
    }
}

/// A point in time as a datetime in UTC.
pub(crate) fn datetime(py: Python<'_>, time: Timestamp) -> PyResult<Bound<'_, PyDateTime>> {
    let utc = PyTzInfo::utc(py)?;
    // Microseconds of any year up to 2255 have an exact place in the 53 bits, and the fraction is rounded to them.
    #[expect(clippy::cast_precision_loss, reason = "see above")]
    let seconds = time.as_micros() as f64 / 1e6;
    PyDateTime::from_timestamp(py, seconds, Some(&utc))
}
