//! Tools and agents as handles that an engine takes.

use std::time::Duration;

use pyo3::prelude::*;
use raptorflow_core::{
    Agent as CoreAgent, Error, ErrorKind,
    agent::{AgentBuilder, AgentSpec, FunctionHook},
    tool::FunctionTool,
    types::{Schema, ToolRate, ToolSpec},
    workflow::{Pattern, PatternSpec, WorkflowBuilder, WorkflowSpec},
};

use crate::{
    callback::{self, Callback},
    convert::{deserialized, serialized, to_value},
    error::raise,
};

/// A tool that is a function of the host; the function gets a context and the arguments as a dict.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
pub(crate) struct Tool(FunctionTool);

impl Tool {
    pub(crate) fn core(&self) -> FunctionTool {
        self.0.clone()
    }
}

#[pymethods]
impl Tool {
    #[new]
    #[pyo3(signature = (name, description, parameters, function, *, is_async, effects, timeout, approval, rate, cost, needs))]
    #[expect(clippy::too_many_arguments, reason = "one keyword each in Python")]
    fn new(
        name: &str,
        description: &str,
        parameters: &Bound<'_, PyAny>,
        function: Py<PyAny>,
        is_async: bool,
        effects: &Bound<'_, PyAny>,
        timeout: Option<f64>,
        approval: bool,
        rate: Option<(u32, u64)>,
        cost: Option<&Bound<'_, PyAny>>,
        needs: Option<Vec<String>>,
    ) -> PyResult<Self> {
        let py = parameters.py();
        let build = || {
            let schema = Schema::new(to_value(parameters)?).map_err(|err| err.with("tool", name))?;
            let mut spec = ToolSpec::new(name, description, schema);
            spec.effects = deserialized(effects, "effects")?;
            if let Some(seconds) = timeout {
                spec.timeout = duration("timeout", seconds)?;
            }
            spec.approval = approval;
            spec.rate = rate.map(|(calls, seconds)| ToolRate { calls, seconds });
            spec.needs = needs;
            spec.cost = cost.map(|cost| deserialized(cost, "cost")).transpose()?;
            Ok(Self(callback::tool(spec, Callback::new(function, is_async, "tool.call"))))
        };
        build().map_err(|err| raise(py, &err))
    }
}

/// A hook of functions of the host, each of one moment.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
pub(crate) struct Hook(FunctionHook);

impl Hook {
    pub(crate) fn core(&self) -> FunctionHook {
        self.0.clone()
    }
}

#[pymethods]
impl Hook {
    #[new]
    fn new(py: Python<'_>, name: &str, functions: Vec<(String, Py<PyAny>, bool)>) -> PyResult<Self> {
        let build = || {
            functions.into_iter().try_fold(FunctionHook::new(name), |hook, (moment, function, is_async)| {
                let moment = serde_json::from_value(moment.as_str().into()).map_err(|err| {
                    Error::new(ErrorKind::InvalidInput, "python.hook", "there is no such moment")
                        .with("moment", moment)
                        .caused_by(err)
                })?;
                let callback = Callback::new(function, is_async, "python.hook");
                Ok(callback::hook(hook, moment, callback))
            })
        };
        build().map(Self).map_err(|err| raise(py, &err))
    }
}

/// Anything that an engine runs by its name.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
pub(crate) struct Agent(CoreAgent);

impl Agent {
    pub(crate) fn core(&self) -> CoreAgent {
        self.0.clone()
    }
}

#[pymethods]
impl Agent {
    /// An agent around a model.
    #[new]
    fn new(spec: &Bound<'_, PyAny>, tools: Vec<Py<Tool>>, hooks: Vec<Py<Hook>>) -> PyResult<Self> {
        let py = spec.py();
        let build = || {
            let mut builder = AgentBuilder::from_spec(deserialized(spec, "agent")?);
            for tool in tools {
                builder = builder.tool(tool.get().core());
            }
            for hook in hooks {
                builder = builder.hook(hook.get().core());
            }
            builder.build().map(Self)
        };
        build().map_err(|err| raise(py, &err))
    }

    /// An agent that is a function, which gets a context and the input.
    #[staticmethod]
    fn function(spec: &Bound<'_, PyAny>, function: Py<PyAny>, is_async: bool) -> PyResult<Self> {
        let spec_data: AgentSpec = deserialized(spec, "agent").map_err(|err| raise(spec.py(), &err))?;
        let callback = Callback::new(function, is_async, "agent.function");
        Ok(Self(CoreAgent::new(callback::agent(spec_data, callback))))
    }

    /// A workflow; its functions get a context and the input, and each says whether it is async.
    #[staticmethod]
    fn workflow(spec: &Bound<'_, PyAny>, functions: Vec<(String, Py<PyAny>, bool)>) -> PyResult<Self> {
        let build = || {
            let mut builder = WorkflowBuilder::from_spec(deserialized(spec, "workflow")?);
            for (name, function, is_async) in functions {
                let callback = Callback::new(function, is_async, "workflow.function");
                builder = builder.function(name, callback::step(callback));
            }
            builder.build().map(|flow| Self(flow.into()))
        };
        build().map_err(|err| raise(spec.py(), &err))
    }

    /// A pattern of a spec.
    #[staticmethod]
    fn pattern(spec: &Bound<'_, PyAny>) -> PyResult<Self> {
        let build = || {
            let data: PatternSpec = deserialized(spec, "pattern")?;
            Pattern::new(data).map(|pattern| Self(pattern.into()))
        };
        build().map_err(|err| raise(spec.py(), &err))
    }

    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        self.0.name().as_str()
    }

    /// What it is, as data.
    #[getter]
    fn spec<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        serialized(py, &**self.0.spec())
    }
}

/// A workflow in TOML or JSON, as data.
#[pyfunction]
pub(crate) fn read_workflow<'py>(py: Python<'py>, text: &str, format: &str) -> PyResult<Bound<'py, PyAny>> {
    let spec = match format {
        "toml" => WorkflowSpec::from_toml(text),
        _ => WorkflowSpec::from_json(text),
    };
    serialized(py, &spec.map_err(|err| raise(py, &err))?)
}

/// Seconds as a duration.
pub(crate) fn duration(field: &'static str, seconds: f64) -> raptorflow_core::Result<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|err| {
        Error::new(ErrorKind::InvalidInput, "python.duration", "expected seconds, at least 0 and finite")
            .with("field", field)
            .with("value", seconds)
            .caused_by(err)
    })
}
