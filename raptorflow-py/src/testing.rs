//! Test doubles: scripted and replayed models, and cassettes.

use std::{path::PathBuf, sync::Arc};

use pyo3::prelude::*;
use raptorflow_core::{
    Result,
    model::{HttpClient, Model, ReqwestClient},
    security::SecretStore,
    testing::{self, Reply},
};

use crate::{
    bridge::Bridge,
    convert::{deserialized, serialized, to_value},
    engine::{Engine, run_id},
    error::raise,
};

/// A model that plays given replies.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
pub(crate) struct ScriptedModel(testing::ScriptedModel);

#[pymethods]
impl ScriptedModel {
    #[new]
    fn new() -> Self {
        Self(testing::ScriptedModel::new([]))
    }

    fn push(&self, reply: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0.push(read(reply)?);
        Ok(())
    }

    fn when_asked(&self, text: String, reply: &Bound<'_, PyAny>) -> PyResult<()> {
        drop(self.0.clone().when_asked(text, read(reply)?));
        Ok(())
    }

    fn always(&self, reply: &Bound<'_, PyAny>) -> PyResult<()> {
        drop(self.0.clone().always(read(reply)?));
        Ok(())
    }

    fn requests<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        serialized(py, &self.0.requests())
    }

    fn keys(&self) -> Vec<Option<String>> {
        self.0.keys()
    }

    fn remaining(&self) -> usize {
        self.0.remaining()
    }
}

fn read(reply: &Bound<'_, PyAny>) -> PyResult<Reply> {
    to_value(reply).and_then(Reply::from_json).map_err(|err| raise(reply.py(), &err))
}

/// A model that gives the answers of a recorded run again.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
pub(crate) struct ReplayModel(testing::ReplayModel);

#[pymethods]
impl ReplayModel {
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        testing::ReplayModel::load(path).map(Self).map_err(|err| raise(py, &err))
    }

    /// A future of the answers that stand in a run's journal.
    #[staticmethod]
    fn of_run<'py>(
        py: Python<'py>,
        bridge: &Bridge,
        engine: &Engine,
        run: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (engine, run) = (engine.core(), run_id(py, run)?);
        let work = async move { engine.history(run, 0, usize::MAX).await };
        bridge.spawn(py, work, |py, entries| {
            Ok(Py::new(py, Self(testing::ReplayModel::from_entries(&entries)))?.into_any())
        })
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        self.0.save(path).map_err(|err| raise(py, &err))
    }

    fn left(&self) -> usize {
        self.0.left()
    }
}

/// A model that is no function.
#[derive(FromPyObject)]
pub(crate) enum Double {
    Scripted(Py<ScriptedModel>),
    Replay(Py<ReplayModel>),
}

impl Double {
    /// The model under a name.
    pub(crate) fn model(&self, name: &str) -> Model {
        match self {
            Self::Scripted(model) => Model::new(model.get().0.clone().named(name.to_owned())),
            Self::Replay(model) => Model::new(model.get().0.clone().named(name.to_owned())),
        }
    }
}

/// What providers answered, in a file.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
pub(crate) struct Cassette(testing::Cassette);

impl Cassette {
    /// What sends requests, and the keys for them.
    pub(crate) fn core(&self) -> (Arc<dyn HttpClient>, Arc<dyn SecretStore>) {
        (Arc::new(self.0.clone()), self.0.secrets())
    }
}

#[pymethods]
impl Cassette {
    #[new]
    fn new(path: PathBuf, mode: &Bound<'_, PyAny>, ignoring: Vec<String>) -> PyResult<Self> {
        let open = || -> Result<testing::Cassette> {
            let mode = deserialized(mode, "mode")?;
            let tape = testing::Cassette::open(path, mode, Arc::new(ReqwestClient::default()))?;
            Ok(ignoring.into_iter().fold(tape, testing::Cassette::ignoring))
        };
        open().map(Self).map_err(|err| raise(mode.py(), &err))
    }

    fn left(&self) -> usize {
        self.0.left()
    }

    fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.0.check().map_err(|err| raise(py, &err))
    }
}
