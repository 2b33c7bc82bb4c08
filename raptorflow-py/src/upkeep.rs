//! The upkeep of what is stored: policies, and what was done, as Python objects.

use pyo3::{prelude::*, types::PyDict};
use raptorflow_core::{
    Result,
    journal::{Pruned, Retention},
    storage::{Archive, Erased},
};

use crate::{agent::duration, convert::serialized};

/// Which ended runs go.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Policy {
    max_age: Option<f64>,
    keep_last: Option<usize>,
    failed: bool,
}

impl Policy {
    pub(crate) fn retention(self) -> Result<Retention> {
        Ok(Retention {
            max_age: self.max_age.map(|seconds| duration("max_age", seconds)).transpose()?,
            keep_last: self.keep_last,
            failed: self.failed,
            ..Retention::default()
        })
    }
}

pub(crate) fn pruned_object(py: Python<'_>, pruned: Pruned) -> PyResult<Py<PyAny>> {
    counts(py, &[("removed", pruned.removed), ("kept", pruned.kept), ("unreadable", pruned.unreadable)])
}

pub(crate) fn erased_object(py: Python<'_>, erased: Erased) -> PyResult<Py<PyAny>> {
    counts(py, &[("keys", erased.keys), ("streams", erased.streams), ("leases", erased.leases)])
}

pub(crate) fn archive_object(py: Python<'_>, archive: Archive) -> PyResult<Py<PyAny>> {
    Ok(serialized(py, &archive)?.unbind())
}

fn counts(py: Python<'_>, counts: &[(&str, u64)]) -> PyResult<Py<PyAny>> {
    let out = PyDict::new(py);
    for (name, count) in counts {
        out.set_item(name, count)?;
    }
    Ok(out.into_any().unbind())
}
