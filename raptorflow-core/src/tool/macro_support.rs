//! What the expansion of `#[tool]` uses, so that its user depends on no other crate; not for other use.

use std::time::Duration;

pub use async_trait::async_trait;
pub use schemars;
pub use serde;
use serde::{Serialize, de::DeserializeOwned};
pub use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result},
    tool::IntoToolResult,
    types::{Effects, Money, Schema, ToolSpec},
};

/// The spec of a function with arguments of type `Args`.
#[must_use]
pub fn spec<Args: schemars::JsonSchema>(
    name: &str,
    description: &str,
    effects: Effects,
    timeout_seconds: Option<u64>,
) -> ToolSpec {
    let mut spec = ToolSpec::new(name, description, parameters::<Args>());
    spec.effects = effects;
    if let Some(seconds) = timeout_seconds {
        spec.timeout = Duration::from_secs(seconds);
    }
    spec
}

/// A cost in the form that the attribute checks.
#[must_use]
pub fn cost(text: &str) -> Option<Money> {
    text.parse().ok()
}

/// The schema of a type of arguments, without the parts that tell a model nothing.
#[must_use]
pub fn parameters<Args: schemars::JsonSchema>() -> Schema {
    let mut schema = Schema::of::<Args>().as_value().clone();
    if let Some(root) = schema.as_object_mut() {
        root.shift_remove("$schema");
        root.shift_remove("title");
    }
    default_to_null(&mut schema);
    Schema::unchecked(schema)
}

/// Says of each `Option` that may be left out that this is the same as `null`: for serde it is.
fn default_to_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(default_to_null),
        Value::Object(fields) => {
            let required: Vec<Value> =
                fields.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
            if let Some(Value::Object(properties)) = fields.get_mut("properties") {
                for (name, property) in properties {
                    if !required.contains(&Value::from(name.as_str()))
                        && is_option(property)
                        && let Some(property) = property.as_object_mut()
                    {
                        property.entry("default").or_insert(Value::Null);
                    }
                }
            }
            fields.values_mut().for_each(default_to_null);
        }
        _ => {}
    }
}

/// Whether a schema is one that an `Option` has.
fn is_option(schema: &Value) -> bool {
    let null = Value::from("null");
    let kinds = schema.get("type").and_then(Value::as_array);
    let branches = schema.get("anyOf").and_then(Value::as_array);
    kinds.is_some_and(|kinds| kinds.contains(&null))
        || branches.is_some_and(|all| all.iter().any(|branch| branch.get("type") == Some(&null)))
}

/// Arguments that fit the schema of `Args`, as `Args`.
///
/// # Errors
/// `InvalidInput` for what the schema cannot say, such as a text that does not parse.
pub fn arguments<Args: DeserializeOwned>(arguments: &Value) -> Result<Args> {
    Args::deserialize(arguments).or_else(|err| {
        // For JSON Schema 3.0 is an integer, for serde it is not.
        Args::deserialize(&with_integers(arguments)).map_err(|_| {
            Error::new(ErrorKind::InvalidInput, "tool.arguments", "the arguments do not fit")
                .with("reason", &err)
                .caused_by(err)
        })
    })
}

fn with_integers(value: &Value) -> Value {
    /// Up to here every integer has its own float.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => match number.as_f64() {
            #[expect(clippy::cast_possible_truncation, reason = "the value is whole and within the range")]
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() <= EXACT => {
                Value::from(float as i64)
            }
            _ => value.clone(),
        },
        Value::Array(items) => items.iter().map(with_integers).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, field)| (key.clone(), with_integers(field))).collect())
        }
        Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
    }
}

/// A value as JSON.
///
/// # Errors
/// `InvalidOutput` when it does not serialize.
pub fn value(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|err| {
        Error::new(ErrorKind::InvalidOutput, "tool.result", "the result does not serialize to JSON")
            .with("reason", &err)
            .caused_by(err)
    })
}

/// What a function returned whose type is not spelled `Result`: an alias of one or a plain value.
///
/// Method lookup tries [`AliasOfResult`] on the value before [`Plain`] on a reference to it.
#[derive(Debug)]
pub struct Answer<T>(pub T);

/// The answer is a `Result` behind a type alias.
pub trait AliasOfResult {
    /// The value as JSON.
    ///
    /// # Errors
    /// See [`IntoToolResult`].
    fn into_value(self) -> Result<Value>;
}

impl<T: IntoToolResult> AliasOfResult for Answer<T> {
    fn into_value(self) -> Result<Value> {
        self.0.into_tool_result()
    }
}

/// The answer is a plain value.
pub trait Plain {
    /// The value as JSON.
    ///
    /// # Errors
    /// `InvalidOutput` when it does not serialize.
    fn into_value(self) -> Result<Value>;
}

impl<T: Serialize> Plain for &Answer<T> {
    fn into_value(self) -> Result<Value> {
        value(&self.0)
    }
}
