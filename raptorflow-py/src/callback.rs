//! Python callables as tools, agents, steps of workflows, models and embedders.
//!
//! An async function runs on the loop of who started the run; a plain one on a thread of Python's own.
//! Both see the caller's context variables.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use pyo3::{intern, prelude::*, sync::PyOnceLock, types::PyDict};
use raptorflow_core::{
    Error, ErrorKind, Result,
    agent::{AgentInput, AgentSpec, FunctionAgent, FunctionHook},
    model::{ChatRequest, FnReranker, FunctionModel, ModelInfo},
    rag::{Corpus, Embedder},
    runtime::Context as CoreContext,
    tool::FunctionTool,
    types::{Moment, ToolSpec, Verdict},
    workflow::StepFunction,
};
use serde_json::Value;

use crate::{
    context::{Context, Host},
    convert::{serialized, to_object, to_value},
};

/// A function of the host; it is called with a context and one argument.
#[derive(Clone)]
pub(crate) struct Callback(Arc<Inner>);

struct Inner {
    function: Py<PyAny>,
    is_async: bool,
    operation: &'static str,
}

impl Callback {
    pub(crate) fn new(function: Py<PyAny>, is_async: bool, operation: &'static str) -> Self {
        Self(Arc::new(Inner { function, is_async, operation }))
    }

    /// Calls the function and waits for its value.
    ///
    /// # Cancellation
    /// Dropping the future cancels the task of an async function; a plain function runs to its end, unheard.
    async fn call<T: Send + 'static>(
        &self,
        ctx: &CoreContext,
        argument: impl FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send + 'static,
        convert: fn(&Bound<'_, PyAny>) -> Result<T>,
    ) -> Result<T> {
        let operation = self.0.operation;
        let Some(host) = ctx.extension::<Host>().cloned() else {
            let message = "the call came from no Python code, so there is no loop for the function";
            return Err(Error::new(ErrorKind::Internal, operation, message));
        };
        let (inner, context) = (Arc::clone(&self.0), ctx.clone());
        if inner.is_async {
            let task_host = host.clone();
            let start = move |py: Python<'_>, event_loop: &Bound<'_, PyAny>| {
                let argument = argument(py)?;
                let awaitable = inner.function.bind(py).call1((Context::new(context), argument))?;
                as_task(&task_host, &awaitable, event_loop)
            };
            return host.bridge.run(operation, start, convert).await;
        }
        let variables = Arc::clone(&host.variables);
        let call = move |py: Python<'_>| {
            // A copy, because two threads cannot be in one context at the same time.
            let run = variables.bind(py).call_method0(intern!(py, "copy"))?.getattr(intern!(py, "run"))?;
            let call =
                (run, inner.function.bind(py), Context::new(context), argument(py)?).into_pyobject(py)?;
            Ok(call.unbind())
        };
        let convert_plain = move |value: &Bound<'_, PyAny>| {
            if is_awaitable(value) {
                return Ok(Called::Awaitable(value.clone().unbind()));
            }
            convert(value).map(Called::Value)
        };
        match host.bridge.run_on_thread(operation, call, convert_plain).await? {
            Called::Value(value) => Ok(value),
            // A plain function that gives a coroutine after all, as a lambda around an async one does.
            Called::Awaitable(awaitable) => {
                let task_host = host.clone();
                let start = move |py: Python<'_>, event_loop: &Bound<'_, PyAny>| {
                    as_task(&task_host, awaitable.bind(py), event_loop)
                };
                host.bridge.run(operation, start, convert).await
            }
        }
    }
}

enum Called<T> {
    Value(T),
    Awaitable(Py<PyAny>),
}

fn is_awaitable(object: &Bound<'_, PyAny>) -> bool {
    object.getattr_opt(intern!(object.py(), "__await__")).is_ok_and(|found| found.is_some())
}

/// The task of an awaitable on the caller's loop, with the caller's context variables.
fn as_task(host: &Host, awaitable: &Bound<'_, PyAny>, event_loop: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    static ENSURE_FUTURE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = awaitable.py();
    let ensure = ENSURE_FUTURE.import(py, "asyncio", "ensure_future")?;
    let options = PyDict::new(py);
    options.set_item(intern!(py, "loop"), event_loop)?;
    let task =
        host.variables.bind(py).call_method(intern!(py, "run"), (ensure, awaitable), Some(&options))?;
    Ok(task.unbind())
}

/// What a function gave, as JSON; what is none is its fault.
fn answer(value: &Bound<'_, PyAny>) -> Result<Value> {
    to_value(value).map_err(|err| {
        let message = format!("the function gave no JSON: {}", err.message());
        Error::new(ErrorKind::InvalidOutput, "python.answer", message)
            .with("at", err.get("at").unwrap_or("$"))
    })
}

/// A tool whose function gets the arguments as a dict.
pub(crate) fn tool(spec: ToolSpec, callback: Callback) -> FunctionTool {
    FunctionTool::new(spec, move |ctx: CoreContext, arguments: Value| {
        let callback = callback.clone();
        async move { callback.call(&ctx, move |py| Ok(to_object(py, &arguments)?.unbind()), answer).await }
    })
}

/// An agent whose function gets its input.
pub(crate) fn agent(spec: AgentSpec, callback: Callback) -> FunctionAgent {
    FunctionAgent::new(spec, move |ctx: CoreContext, input: AgentInput| {
        let callback = callback.clone();
        async move { callback.call(&ctx, move |py| Ok(to_object(py, &input.input)?.unbind()), answer).await }
    })
}

/// The hook with a function for one more moment, which gets what it is asked as a dict.
pub(crate) fn hook(hook: FunctionHook, moment: Moment, callback: Callback) -> FunctionHook {
    hook.on(moment, move |ctx: CoreContext, asked: Value| {
        let callback = callback.clone();
        async move { callback.call(&ctx, move |py| Ok(to_object(py, &asked)?.unbind()), verdict).await }
    })
}

/// What a hook's function gave: nothing, or a verdict by its name.
fn verdict(value: &Bound<'_, PyAny>) -> Result<Verdict<Value, Value>> {
    if value.is_none() {
        return Ok(Verdict::Continue);
    }
    serde_json::from_value(answer(value)?).map_err(|err| {
        Error::new(ErrorKind::InvalidOutput, "python.hook", "the hook gave no verdict").with("reason", err)
    })
}

/// The function of a workflow's step, which gets the step's input.
pub(crate) fn step(callback: Callback) -> StepFunction {
    StepFunction::new(move |ctx: CoreContext, input: Value| {
        let callback = callback.clone();
        async move { callback.call(&ctx, move |py| Ok(to_object(py, &input)?.unbind()), answer).await }
    })
}

/// A model whose function gets the request as a dict.
pub(crate) fn model(info: ModelInfo, callback: Callback) -> FunctionModel {
    FunctionModel::new(info, move |ctx: CoreContext, request: ChatRequest| {
        let callback = callback.clone();
        async move { callback.call(&ctx, move |py| Ok(serialized(py, &request)?.unbind()), answer).await }
    })
}

/// A reranker whose function gets a question and a list of documents, and gives a list of scores.
pub(crate) fn reranker(name: String, callback: Callback) -> FnReranker {
    FnReranker::new(name, move |ctx: CoreContext, query: String, documents: Vec<String>| {
        let callback = callback.clone();
        let asked = move |py: Python<'_>| Ok((query, documents).into_pyobject(py)?.into_any().unbind());
        async move { callback.call(&ctx, asked, scores).await }
    })
}

/// A list of numbers, or an array that has `tolist`.
fn scores(given: &Bound<'_, PyAny>) -> Result<Vec<f32>> {
    listed(given).map_err(|err| {
        let message = "the reranker gave no list of scores; expected a list of numbers, or an array";
        Error::new(ErrorKind::InvalidOutput, "python.rerank", message).with("reason", err)
    })
}

/// A list, or an array that has `tolist`.
fn listed<T>(given: &Bound<'_, PyAny>) -> PyResult<T>
where
    for<'a, 'py> T: FromPyObject<'a, 'py, Error = PyErr>,
{
    match given.getattr_opt(intern!(given.py(), "tolist"))? {
        Some(list) => list.call0()?.extract(),
        None => given.extract(),
    }
}

/// An embedder whose function gets a list of texts and gives a list of vectors.
pub(crate) struct FunctionEmbedder {
    pub(crate) identity: String,
    pub(crate) dimension: usize,
    pub(crate) semantic: bool,
    pub(crate) callback: Callback,
}

impl FunctionEmbedder {
    async fn embed(&self, ctx: &CoreContext, texts: Vec<String>) -> Result<Vec<Vec<f32>>> {
        self.callback.call(ctx, move |py| Ok(texts.into_pyobject(py)?.into_any().unbind()), vectors).await
    }
}

#[async_trait]
impl Embedder for FunctionEmbedder {
    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    fn semantic(&self) -> bool {
        self.semantic
    }

    async fn embed_documents(&self, ctx: &CoreContext, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        self.embed(ctx, texts.iter().map(ToString::to_string).collect()).await
    }

    async fn embed_query(&self, ctx: &CoreContext, text: &str, _corpus: &dyn Corpus) -> Result<Vec<f32>> {
        let mut vectors = self.embed(ctx, vec![text.to_owned()]).await?;
        match (vectors.pop(), vectors.is_empty()) {
            (Some(vector), true) => Ok(vector),
            _ => {
                let message = "the embedder did not give one vector for one text";
                Err(Error::new(ErrorKind::InvalidOutput, "python.embed", message)
                    .with("embedder", &self.identity))
            }
        }
    }
}

impl fmt::Debug for FunctionEmbedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionEmbedder").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// A list of lists of numbers, or an array that has `tolist`.
pub(crate) fn vectors(given: &Bound<'_, PyAny>) -> Result<Vec<Vec<f32>>> {
    listed(given).map_err(|err| {
        let message =
            "the embedder gave no list of vectors; expected a list of lists of numbers, or an array";
        Error::new(ErrorKind::InvalidOutput, "python.embed", message).with("reason", err)
    })
}
