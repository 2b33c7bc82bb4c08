//! `{ "$ref" = "pack:NAME" }`: a schema of the pack, put in place where it is named.

use std::collections::BTreeMap;

use serde_json::Value;

/// How deep a pack's schemas may refer to each other.
const MAX_DEPTH: usize = 8;
const SCHEME: &str = "pack:";

/// Puts the pack's schemas in place; each reference that does not resolve is a message.
pub(super) fn resolve(value: &mut Value, schemas: &BTreeMap<String, Value>) -> Vec<String> {
    let mut problems = Vec::new();
    walk(value, schemas, 0, &mut problems);
    problems
}

fn walk(value: &mut Value, schemas: &BTreeMap<String, Value>, depth: usize, problems: &mut Vec<String>) {
    if let Some(name) = reference(value) {
        match schemas.get(&name) {
            Some(_) if depth >= MAX_DEPTH => {
                problems
                    .push(format!("`{SCHEME}{name}` refers to itself, or is nested over {MAX_DEPTH} deep"));
            }
            Some(schema) => {
                *value = schema.clone();
                walk(value, schemas, depth + 1, problems);
            }
            None => {
                let known: Vec<&str> = schemas.keys().map(String::as_str).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                problems.push(format!("no schema `{name}` in the pack; known: {known}"));
            }
        }
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, schemas, depth, problems)),
        Value::Object(fields) => fields.values_mut().for_each(|item| walk(item, schemas, depth, problems)),
        _ => {}
    }
}

fn reference(value: &Value) -> Option<String> {
    value.get("$ref")?.as_str()?.strip_prefix(SCHEME).map(str::to_owned)
}
