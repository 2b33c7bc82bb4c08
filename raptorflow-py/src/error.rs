//! Errors of core as exceptions of Python and back; the classes live in `raptorflow.errors`.

use std::{error::Error as StdError, fmt, time::Duration};

use pyo3::{exceptions::asyncio::CancelledError, intern, prelude::*, sync::PyOnceLock, types::PyDict};
use raptorflow_core::{Error, ErrorKind, Retry, types::Diagnostics};

/// An exception that a function of the host raised, as the cause of an error of core.
pub(crate) struct HostError {
    exception: Py<PyAny>,
    text: String,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HostError").field(&self.text).finish()
    }
}

impl StdError for HostError {}

/// The base class of our exceptions.
fn base(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static BASE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    BASE.import(py, "raptorflow.errors", "RaptorflowError")
}

/// The classes of our exceptions by code.
fn classes(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static CLASSES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    CLASSES.import(py, "raptorflow.errors", "_BY_CODE")
}

/// The exception of an error; the user's own exception is its `__cause__`.
pub(crate) fn raise(py: Python<'_>, err: &Error) -> PyErr {
    exception(py, err).map_or_else(|failed| failed, PyErr::from_value)
}

fn exception<'py>(py: Python<'py>, err: &Error) -> PyResult<Bound<'py, PyAny>> {
    let host = err.cause::<HostError>();
    let context = PyDict::new(py);
    for (key, value) in err.context() {
        // The place nearest to the fault said it first.
        if !context.contains(key)? {
            context.set_item(key, value)?;
        }
    }
    let diagnostics: Vec<String> = err
        .cause::<Diagnostics>()
        .map(|diagnostics| diagnostics.0.iter().map(ToString::to_string).collect())
        .unwrap_or_default();
    if host.is_none() && diagnostics.is_empty() && !context.contains("cause")? {
        let causes: Vec<String> = causes(err).map(ToString::to_string).collect();
        if !causes.is_empty() {
            context.set_item("cause", causes.join(": "))?;
        }
    }
    let options = PyDict::new(py);
    options.set_item("operation", err.operation())?;
    options.set_item("context", context)?;
    options.set_item("diagnostics", diagnostics)?;
    let (retry, after) = match err.retry() {
        Retry::Never => ("never", None),
        Retry::Soon => ("soon", None),
        Retry::After(pause) => ("after", Some(pause.as_secs_f64())),
        Retry::Exhausted => ("exhausted", None),
    };
    options.set_item("retry", retry)?;
    options.set_item("retry_after", after)?;
    let class = classes(py)?.get_item(err.kind().code())?;
    let exception = class.call((err.message(),), Some(&options))?;
    if let Some(host) = host {
        exception.setattr(intern!(py, "__cause__"), &host.exception)?;
    }
    Ok(exception)
}

fn causes(err: &Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(err.source(), |err: &&(dyn StdError + 'static)| (*err).source())
}

/// The error of an exception that a function of the host raised; `operation` is what called it.
///
/// One of our own classes keeps its kind, context and retry; any other is a `Callback` error.
pub(crate) fn into_error(py: Python<'_>, raised: PyErr, operation: &'static str) -> Error {
    let object = raised.into_value(py).into_bound(py).into_any();
    let text = text(&object);
    let error = ours(&object, operation).unwrap_or_else(|| {
        if raised_is_cancel(&object) {
            return Error::new(ErrorKind::Cancelled, operation, "the function was cancelled");
        }
        Error::new(ErrorKind::Callback, operation, format!("the function raised {text}"))
    });
    error.caused_by(HostError { exception: object.unbind(), text })
}

fn raised_is_cancel(object: &Bound<'_, PyAny>) -> bool {
    object.is_instance_of::<CancelledError>()
}

/// `ValueError: no ink left`, on one line.
fn text(object: &Bound<'_, PyAny>) -> String {
    let name = object.get_type().name().map_or_else(|_| "an exception".to_owned(), |name| name.to_string());
    let said =
        object.str().map_or_else(|_| String::new(), |said| said.to_string_lossy().replace(['\n', '\r'], " "));
    if said.trim().is_empty() { name } else { format!("{name}: {said}") }
}

fn ours(object: &Bound<'_, PyAny>, operation: &'static str) -> Option<Error> {
    let py = object.py();
    if !object.is_instance(base(py).ok()?).ok()? {
        return None;
    }
    let read = |name: &str| object.getattr(name).ok();
    let code: String = read("code")?.extract().ok()?;
    let kind = ErrorKind::ALL.into_iter().find(|kind| kind.code() == code).unwrap_or(ErrorKind::Callback);
    let message: String = read("message")?.extract().ok()?;
    let own: String = read("operation")?.extract().ok()?;
    let mut error =
        if own.is_empty() { Error::new(kind, operation, message) } else { Error::new(kind, own, message) };
    if let Some(context) = read("context").and_then(|context| context.cast_into::<PyDict>().ok()) {
        for (key, value) in context.iter() {
            error = error.with(key.to_string(), value.to_string());
        }
    }
    let after: Option<f64> = read("retry_after").and_then(|after| after.extract().ok());
    let retry: String = read("retry")?.extract().ok()?;
    let pause = after.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Some(error.retryable(match (retry.as_str(), pause) {
        (_, Some(pause)) => Retry::After(pause),
        ("soon" | "after", None) => Retry::Soon,
        ("exhausted", None) => Retry::Exhausted,
        _ => Retry::Never,
    }))
}
