//! Skills of a folder, as Python objects.

use std::path::PathBuf;

use pyo3::prelude::*;
use raptorflow_core::skill::{Language, SkillRegistry as CoreSkills, generate_types};

use crate::{
    convert::{deserialized, serialized, to_value},
    error::raise,
};

/// A folder of skills that is read again while others render.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
pub(crate) struct SkillRegistry(CoreSkills);

impl SkillRegistry {
    pub(crate) fn core(&self) -> &CoreSkills {
        &self.0
    }
}

#[pymethods]
impl SkillRegistry {
    /// Reads a folder in which every skill has to be usable.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        py.detach(|| CoreSkills::load(path)).map(Self).map_err(|err| raise(py, &err))
    }

    /// Reads a folder and leaves out what is not usable.
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        py.detach(|| CoreSkills::open(path)).map(Self).map_err(|err| raise(py, &err))
    }

    /// Reads the folder again.
    fn reload(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let report = py.detach(|| self.0.reload()).map_err(|err| raise(py, &err))?;
        let out = serialized(py, &report)?;
        let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
        out.set_item("problems", problems)?;
        Ok(out.unbind())
    }

    /// One entry for each skill.
    fn list(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(serialized(py, &self.0.summaries())?.unbind())
    }

    /// What a skill says of itself.
    fn spec(&self, py: Python<'_>, id: &str) -> PyResult<Py<PyAny>> {
        let skill = self.0.get(id).map_err(|err| raise(py, &err))?;
        Ok(serialized(py, skill.spec())?.unbind())
    }

    /// The JSON Schemas of its inputs and its output.
    fn schemas(&self, py: Python<'_>, id: &str) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
        let skill = self.0.get(id).map_err(|err| raise(py, &err))?;
        Ok((serialized(py, skill.input_schema())?.unbind(), serialized(py, skill.output_schema())?.unbind()))
    }

    /// The messages of a skill for these inputs.
    fn render(&self, py: Python<'_>, id: &str, inputs: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let inputs = to_value(inputs).map_err(|err| raise(py, &err))?;
        let messages = self.0.render(id, &inputs).map_err(|err| raise(py, &err))?;
        Ok(serialized(py, &messages)?.unbind())
    }

    /// The types of every skill, as the text of one source file.
    fn types(&self, py: Python<'_>, language: &Bound<'_, PyAny>) -> PyResult<String> {
        let language: Language = deserialized(language, "language").map_err(|err| raise(py, &err))?;
        Ok(generate_types(&self.0.list(), language))
    }

    /// Everything that was wrong when the folder was read last.
    #[getter]
    fn diagnostics(&self) -> Vec<String> {
        self.0.diagnostics().iter().map(ToString::to_string).collect()
    }
}
