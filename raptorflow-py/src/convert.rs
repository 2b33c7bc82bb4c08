//! The single place where JSON becomes Python objects and Python objects become JSON.

use pyo3::{
    exceptions::PyTypeError,
    intern,
    prelude::*,
    types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple, PyType},
};
use raptorflow_core::{Error, ErrorKind, Result};
use serde_json::{Map, Number, Value};

/// How deep a value may be nested; what is deeper, or holds itself, is refused.
///
/// Stored JSON is read back with the same bound.
const MAX_DEPTH: usize = 120;
/// How many steps to the place of a fault are shown.
const MAX_STEPS: usize = 12;

/// Why a value is no JSON, and the steps to it, innermost first.
struct Refusal {
    steps: Vec<String>,
    reason: String,
}

impl Refusal {
    fn new(reason: impl Into<String>) -> Self {
        Self { steps: Vec::new(), reason: reason.into() }
    }

    fn under(mut self, step: String) -> Self {
        self.steps.push(step);
        self
    }
}

impl From<PyErr> for Refusal {
    fn from(err: PyErr) -> Self {
        Self::new(err.to_string())
    }
}

/// A Python object as JSON.
///
/// Dataclasses, pydantic models (whatever has `model_dump`) and enums become what they hold.
///
/// # Errors
/// `InvalidInput` that names the place in the value: something that JSON has no form for, an integer of more than 64
/// bits, a float that is not finite, a key that is no string, too deep a nesting.
pub(crate) fn to_value(object: &Bound<'_, PyAny>) -> Result<Value> {
    value(object, 0).map_err(|refusal| {
        let steps: String = refusal.steps.iter().rev().take(MAX_STEPS).map(String::as_str).collect();
        let more = if refusal.steps.len() > MAX_STEPS { "…" } else { "" };
        Error::new(ErrorKind::InvalidInput, "python.convert", refusal.reason)
            .with("at", format!("${steps}{more}"))
    })
}

fn value(object: &Bound<'_, PyAny>, depth: usize) -> Result<Value, Refusal> {
    if depth > MAX_DEPTH {
        return Err(Refusal::new("the value is nested too deep, or holds itself"));
    }
    if object.is_none() {
        return Ok(Value::Null);
    }
    if let Ok(flag) = object.cast::<PyBool>() {
        return Ok(Value::Bool(flag.is_true()));
    }
    if let Ok(text) = object.cast::<PyString>() {
        return string(text).map(Value::String);
    }
    if object.is_instance_of::<PyInt>() {
        return integer(object);
    }
    if let Ok(number) = object.cast::<PyFloat>() {
        let refusal = || Refusal::new(format!("expected a finite number, got {}", number.value()));
        return Number::from_f64(number.value()).map(Value::Number).ok_or_else(refusal);
    }
    if let Ok(items) = object.cast::<PyList>() {
        return array(items.iter(), items.len(), depth);
    }
    if let Ok(items) = object.cast::<PyTuple>() {
        return array(items.iter(), items.len(), depth);
    }
    if let Ok(entries) = object.cast::<PyDict>() {
        return map(entries, depth);
    }
    other(object, depth)
}

fn string(text: &Bound<'_, PyString>) -> Result<String, Refusal> {
    text.to_cow()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| Refusal::new("the text has half of a surrogate pair"))
}

fn integer(object: &Bound<'_, PyAny>) -> Result<Value, Refusal> {
    if let Ok(number) = object.extract::<i64>() {
        return Ok(Value::from(number));
    }
    let too_large = |_| Refusal::new("expected an integer of at most 64 bits; send a larger one as text");
    object.extract::<u64>().map(Value::from).map_err(too_large)
}

fn array<'py>(
    items: impl Iterator<Item = Bound<'py, PyAny>>,
    length: usize,
    depth: usize,
) -> Result<Value, Refusal> {
    let mut out = Vec::with_capacity(length);
    for (index, item) in items.enumerate() {
        out.push(value(&item, depth + 1).map_err(|refusal| refusal.under(format!("[{index}]")))?);
    }
    Ok(Value::Array(out))
}

fn map(entries: &Bound<'_, PyDict>, depth: usize) -> Result<Value, Refusal> {
    let mut out = Map::with_capacity(entries.len());
    for (key, item) in entries.iter() {
        let Ok(name) = key.cast::<PyString>() else {
            return Err(Refusal::new(format!("expected a key that is a string, got {}", type_name(&key))));
        };
        let name = string(name)?;
        let item = value(&item, depth + 1).map_err(|refusal| refusal.under(format!(".{name}")))?;
        out.insert(name, item);
    }
    Ok(Value::Object(out))
}

/// What is not JSON itself but holds JSON: pydantic models, dataclasses, enums.
fn other(object: &Bound<'_, PyAny>, depth: usize) -> Result<Value, Refusal> {
    let py = object.py();
    let is_class = object.is_instance_of::<PyType>();
    if !is_class && let Some(dump) = object.getattr_opt(intern!(py, "model_dump"))? {
        let options = PyDict::new(py);
        options.set_item(intern!(py, "mode"), intern!(py, "json"))?;
        let dumped = dump.call((), Some(&options))?;
        return value(&dumped, depth + 1);
    }
    if !is_class && let Some(fields) = object.getattr_opt(intern!(py, "__dataclass_fields__"))? {
        let mut out = Map::new();
        for name in fields.try_iter()? {
            let name = string(name?.cast::<PyString>().map_err(PyErr::from)?)?;
            let field = object.getattr(name.as_str())?;
            let field = value(&field, depth + 1).map_err(|refusal| refusal.under(format!(".{name}")))?;
            out.insert(name, field);
        }
        return Ok(Value::Object(out));
    }
    if object.get_type().getattr_opt(intern!(py, "__members__"))?.is_some() {
        return value(&object.getattr(intern!(py, "value"))?, depth + 1);
    }
    Err(Refusal::new(format!(
        "expected None, bool, int, float, str, list, dict, a dataclass or a pydantic model, got {}",
        type_name(object)
    )))
}

fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "an object".to_owned(), |name| name.to_string())
}

/// JSON as a Python object.
pub(crate) fn to_object<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Value::Null => Ok(py.None().into_bound(py)),
        Value::Bool(flag) => Ok(PyBool::new(py, *flag).to_owned().into_any()),
        Value::String(text) => Ok(PyString::new(py, text).into_any()),
        Value::Number(number) => number_to_object(py, number),
        Value::Array(items) => {
            let items: Vec<Bound<'py, PyAny>> =
                items.iter().map(|item| to_object(py, item)).collect::<PyResult<_>>()?;
            Ok(PyList::new(py, items)?.into_any())
        }
        Value::Object(entries) => Ok(to_dict(py, entries)?.into_any()),
    }
}

/// A JSON object as a dict.
pub(crate) fn to_dict<'py>(py: Python<'py>, entries: &Map<String, Value>) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    for (name, item) in entries {
        out.set_item(name, to_object(py, item)?)?;
    }
    Ok(out)
}

fn number_to_object<'py>(py: Python<'py>, number: &Number) -> PyResult<Bound<'py, PyAny>> {
    if let Some(number) = number.as_i64() {
        return Ok(number.into_pyobject(py)?.into_any());
    }
    if let Some(number) = number.as_u64() {
        return Ok(number.into_pyobject(py)?.into_any());
    }
    match number.as_f64() {
        Some(number) => Ok(PyFloat::new(py, number).into_any()),
        None => Err(PyTypeError::new_err("the number has no form in Python")),
    }
}

/// What serializes, as a Python object.
pub(crate) fn serialized<'py>(py: Python<'py>, what: &impl serde::Serialize) -> PyResult<Bound<'py, PyAny>> {
    let value = serde_json::to_value(what).map_err(|err| PyTypeError::new_err(err.to_string()))?;
    to_object(py, &value)
}

/// A Python object as data of core.
///
/// # Errors
/// As [`to_value`], and `InvalidInput` when it has not the form.
pub(crate) fn deserialized<T: serde::de::DeserializeOwned>(
    object: &Bound<'_, PyAny>,
    what: &'static str,
) -> Result<T> {
    serde_json::from_value(to_value(object)?).map_err(|err| {
        Error::new(ErrorKind::InvalidInput, "python.convert", "the value has not the form that is expected")
            .with("field", what)
            .with("reason", err)
    })
}
