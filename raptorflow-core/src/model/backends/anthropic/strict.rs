//! A schema in the subset that Anthropic enforces.

use serde_json::{Map, Value};

/// Keywords that mean the same there.
const KEPT: [&str; 8] = ["type", "required", "enum", "const", "description", "title", "default", "$ref"];
/// Keywords that bound a value; they are told in the description, and the caller's check of the answer holds to them.
const TOLD: [&str; 13] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minItems",
    "maxItems",
    "uniqueItems",
    "examples",
];
/// Keywords without meaning for a value.
const DROPPED: [&str; 3] = ["$schema", "$id", "$comment"];
/// Formats that are enforced.
const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];
/// How deep schemas may nest; a schema that contains itself is deeper.
const MAX_DEPTH: usize = 32;

/// The schema as the API enforces it: its bounds are told in descriptions, and its objects are closed.
///
/// `None` when it cannot be said there: when it is no object, has objects of any property, or contains itself.
pub(super) fn strict(schema: &Value) -> Option<Value> {
    let is_object = schema.get("type").and_then(Value::as_str) == Some("object");
    if !is_object || !ends(schema, schema, 0) {
        return None;
    }
    said(schema, 0)
}

fn said(schema: &Value, depth: usize) -> Option<Value> {
    let fields = schema.as_object().filter(|_| depth <= MAX_DEPTH)?;
    let mut out = Map::with_capacity(fields.len() + 1);
    let mut told: Vec<String> = Vec::new();
    for (key, value) in fields {
        let value = match key.as_str() {
            key if DROPPED.contains(&key) => continue,
            key if KEPT.contains(&key) => value.clone(),
            "format" if value.as_str().is_some_and(|format| FORMATS.contains(&format)) => value.clone(),
            key if TOLD.contains(&key) => {
                told.push(format!("{key}: {value}"));
                continue;
            }
            // A property of any name cannot be said; a closed object is said below.
            "additionalProperties" if *value == Value::Bool(false) => continue,
            "items" => said(value, depth + 1)?,
            "properties" | "$defs" | "definitions" => {
                let all = value.as_object()?.iter();
                let all: Option<Map<String, Value>> =
                    all.map(|(name, child)| Some((name.clone(), said(child, depth + 1)?))).collect();
                Value::Object(all?)
            }
            "anyOf" => {
                value.as_array()?.iter().map(|branch| said(branch, depth + 1)).collect::<Option<_>>()?
            }
            _ => return None,
        };
        out.insert(key.clone(), value);
    }
    let is_object = match fields.get("type") {
        Some(Value::String(kind)) => kind == "object",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        _ => false,
    };
    if is_object {
        let has_properties =
            fields.get("properties").and_then(Value::as_object).is_some_and(|all| !all.is_empty());
        if !has_properties {
            return None;
        }
        out.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    if !told.is_empty() {
        let before = out.get("description").and_then(Value::as_str).unwrap_or_default();
        let separator = if before.is_empty() { "" } else { " " };
        let description = format!("{before}{separator}({})", told.join(", "));
        out.insert("description".to_owned(), Value::String(description));
    }
    Some(Value::Object(out))
}

/// Whether references lead to an end.
fn ends(root: &Value, schema: &Value, depth: usize) -> bool {
    if depth > MAX_DEPTH {
        return false;
    }
    match schema {
        Value::Object(fields) => fields.iter().all(|(key, value)| match (key.as_str(), value) {
            ("$ref", Value::String(target)) => {
                let target = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
                target.is_some_and(|target| ends(root, target, depth + 1))
            }
            // Definitions count where they are used.
            ("$defs" | "definitions", _) => true,
            _ => ends(root, value, depth + 1),
        }),
        Value::Array(items) => items.iter().all(|item| ends(root, item, depth + 1)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bounds_are_told_and_objects_are_closed() {
        let schema = json!({"$schema": "x", "type": "object", "required": ["n"], "properties": {
            "n": {"type": "integer", "minimum": 1, "description": "How many."},
            "at": {"type": "string", "format": "date"},
            "code": {"type": "string", "format": "odd"},
            "all": {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/T"}}},
            "$defs": {"T": {"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 3}]}}});
        assert_eq!(
            strict(&schema).unwrap(),
            json!({"type": "object", "required": ["n"], "additionalProperties": false, "properties": {
                "n": {"type": "integer", "description": "How many. (minimum: 1)"},
                "at": {"type": "string", "format": "date"},
                "code": {"type": "string", "description": "(format: \"odd\")"},
                "all": {"type": "array", "items": {"$ref": "#/$defs/T"}, "description": "(minItems: 2)"}},
                "$defs": {"T": {"anyOf": [
                    {"type": "null"}, {"type": "string", "description": "(maxLength: 3)"}]}}})
        );
    }

    #[test]
    fn what_cannot_be_said_there_is_left_to_the_emulation() {
        let object = |of: Value| json!({"type": "object", "properties": {"a": of}});
        assert!(strict(&object(json!({"type": "string"}))).is_some());
        for of in [
            json!({"type": "object"}),
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            json!({"oneOf": [{"type": "string"}]}),
            json!({"$ref": "#"}),
            json!({"$ref": "https://host/schema"}),
            json!(true),
        ] {
            assert_eq!(strict(&object(of.clone())), None, "{of}");
        }
        assert_eq!(strict(&json!({"type": "array", "items": {"type": "string"}})), None);
    }
}
