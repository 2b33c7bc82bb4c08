//! Whether a schema keeps to the subset that OpenAI's strict mode enforces, and the parameters of tools in it.

use serde_json::Value;

use crate::{model::ModelInfo, types::ToolSpec};

/// Keywords that strict mode understands.
const KEYWORDS: [&str; 25] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "anyOf",
    "$ref",
    "$defs",
    "definitions",
    "description",
    "title",
    "pattern",
    "format",
    "multipleOf",
    "maximum",
    "minimum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "minItems",
    "maxItems",
    "$schema",
    "$id",
    "$comment",
];
/// Formats that strict mode understands.
const FORMATS: [&str; 9] =
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"];
/// How deep strict schemas may nest.
const MAX_DEPTH: usize = 10;

/// Whether strict mode accepts the schema: objects are closed and require every property, the root is an object,
/// and no other keywords are used.
///
/// A request with a schema outside of the subset would be refused as a whole, so it is sent without `strict`.
pub(super) fn is_strict(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("object")
        && schema.get("anyOf").is_none()
        && fits(schema, 0)
}

/// The schema of a tool's arguments, and whether the host is to enforce it.
///
/// Nulls of what a call leaves out are taken away again before its arguments are checked.
pub(super) fn parameters<'a>(info: &ModelInfo, spec: &'a ToolSpec) -> (&'a Value, bool) {
    if info.abilities.strict {
        match spec.parameters.strict() {
            Ok(strict) => return (strict.schema.as_value(), true),
            Err(problems) => {
                let (reason, at) = problems
                    .first()
                    .map_or(("", ""), |first| (first.message.as_str(), first.pointer.as_str()));
                tracing::debug!(tool = %spec.name, reason, at, "the arguments of a tool are not enforced");
            }
        }
    }
    (spec.parameters.as_value(), false)
}

fn fits(schema: &Value, depth: usize) -> bool {
    let Some(fields) = schema.as_object() else { return false };
    if depth > MAX_DEPTH || fields.keys().any(|key| !KEYWORDS.contains(&key.as_str())) {
        return false;
    }
    let format = fields.get("format").and_then(Value::as_str);
    let is_object = match fields.get("type") {
        Some(Value::String(kind)) => kind == "object",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        _ => false,
    };
    format.is_none_or(|format| FORMATS.contains(&format))
        && (!is_object || is_closed(schema))
        && ["properties", "$defs", "definitions"].iter().all(|key| children(schema, key, depth))
        && fields.get("items").is_none_or(|items| fits(items, depth + 1))
        && fields.get("anyOf").is_none_or(|branches| {
            branches.as_array().is_some_and(|all| all.iter().all(|branch| fits(branch, depth)))
        })
}

fn children(schema: &Value, key: &str, depth: usize) -> bool {
    let all = schema.get(key).and_then(Value::as_object);
    all.is_none_or(|all| all.values().all(|child| fits(child, depth + 1)))
}

fn is_closed(schema: &Value) -> bool {
    let required = schema.get("required").and_then(Value::as_array);
    let requires = |name: &String| required.is_some_and(|all| all.iter().any(|known| known == name));
    let properties = schema.get("properties").and_then(Value::as_object);
    schema.get("additionalProperties") == Some(&Value::Bool(false))
        && properties.is_none_or(|all| all.keys().all(requires))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_closed_objects_that_require_everything_are_strict() {
        let text = json!({"type": "string"});
        let object = |extra: Value| {
            let mut schema = json!({"type": "object", "additionalProperties": false, "required": ["a"],
                "properties": {"a": text}});
            extra.as_object().unwrap().iter().for_each(|(key, value)| schema[key] = value.clone());
            schema
        };
        assert!(is_strict(&object(json!({}))));
        assert!(is_strict(&object(
            json!({"properties": {"a": {"type": "array", "items": object(json!({}))}}})
        )));
        for changed in [
            json!({"additionalProperties": true}),
            json!({"required": []}),
            json!({"properties": {"a": {"type": "integer", "format": "citation"}}}),
            json!({"properties": {"a": {"type": "string", "minLength": 8}}}),
            json!({"properties": {"a": {"type": "array", "items": {"type": "object"}}}}),
            json!({"allOf": []}),
        ] {
            assert!(!is_strict(&object(changed.clone())), "{changed}");
        }
        assert!(!is_strict(&json!({"type": "array", "items": text})));
    }
}
