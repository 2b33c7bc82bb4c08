//! What an error inside of a stream says, on both wires.

use serde_json::Value;

use crate::{
    error::Error,
    model::http::{Origin, provider_error},
};

/// The error that an object with `code` or `type`, and `message`, stands for; some hosts send a text alone.
pub(super) fn failure(origin: &Origin, error: &Value) -> Error {
    let text = |key: &str| match error.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let message = text("message").or_else(|| error.as_str().map(str::to_owned));
    provider_error(origin, &text("code").or_else(|| text("type")), &message)
}
