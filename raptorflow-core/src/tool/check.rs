//! Checks the arguments of a call and tells the model every problem beside what was expected.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::{error::ErrorKind, types::ToolSpec};

/// How large a part of a schema may be to be quoted whole, in bytes of JSON.
const MAX_QUOTED: usize = 1024;
/// How many properties the outline of a larger part names.
const MAX_OUTLINED: usize = 50;
/// How many references are followed at one place, so that a schema that refers to itself ends.
const MAX_REFERENCES: usize = 8;

/// The arguments to call the tool with, or what to tell the model.
///
/// Nothing at all (`null`, blank text) stands for no arguments, as some models send it.
pub(super) fn checked(spec: &ToolSpec, arguments: &Value) -> Result<Value, Value> {
    let arguments = match arguments {
        Value::Null => Value::Object(Map::new()),
        Value::String(text) if text.trim().is_empty() => Value::Object(Map::new()),
        Value::Object(_) => arguments.clone(),
        other => return Err(not_an_object(spec, other)),
    };
    let problems = spec.parameters.validate(&arguments);
    if problems.is_empty() {
        return Ok(arguments);
    }
    // Models write null for what they leave out, and must where the provider enforces the strict form.
    let shorter = spec.parameters.without_nulls(&arguments);
    if shorter != arguments && spec.parameters.validate(&shorter).is_empty() {
        return Ok(shorter);
    }
    let schema = spec.parameters.as_value();
    let mut quoted = HashSet::new();
    let problems: Vec<Value> = problems
        .into_iter()
        .map(|problem| {
            let mut entry = json!({"at": problem.pointer, "problem": problem.message});
            if let Some(fields) = entry.as_object_mut()
                && quoted.insert(problem.pointer.clone())
            {
                fields.insert("expected".to_owned(), outline(part(schema, &problem.pointer)));
            }
            entry
        })
        .collect();
    let mut content = failure(ErrorKind::InvalidInput, "the arguments do not fit the schema");
    if let Some(fields) = content.as_object_mut() {
        fields.insert("problems".to_owned(), Value::Array(problems));
    }
    Err(content)
}

/// What a failed call tells the model.
pub(super) fn failure(kind: ErrorKind, message: impl Into<String>) -> Value {
    json!({"error": kind.code(), "message": message.into()})
}

fn not_an_object(spec: &ToolSpec, arguments: &Value) -> Value {
    let message = match arguments {
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(_) => "the arguments are text that holds JSON; send the object itself".to_owned(),
            Err(err) => format!("the arguments are not valid JSON: {err}"),
        },
        Value::Array(_) => "the arguments are an array; expected an object".to_owned(),
        _ => "the arguments are a single value; expected an object".to_owned(),
    };
    let mut content = failure(ErrorKind::InvalidInput, message);
    if let Some(fields) = content.as_object_mut() {
        fields.insert("expected".to_owned(), outline(spec.parameters.as_value()));
    }
    content
}

/// The part of `schema` that speaks about the value at `pointer`, or about the nearest value around it.
fn part<'a>(schema: &'a Value, pointer: &str) -> &'a Value {
    let mut at = resolved(schema, schema);
    for token in pointer.split('/').skip(1) {
        let key = token.replace("~1", "/").replace("~0", "~");
        match step(schema, at, &key) {
            Some(next) => at = resolved(schema, next),
            None => break,
        }
    }
    at
}

fn step<'a>(root: &'a Value, at: &'a Value, key: &str) -> Option<&'a Value> {
    let own = || {
        let listed = at.get("properties").and_then(|properties| properties.get(key));
        let placed = || at.get("prefixItems").and_then(|items| items.get(key.parse::<usize>().ok()?));
        let other = || match key.parse::<usize>() {
            Ok(_) => at.get("items"),
            Err(_) => at.get("additionalProperties"),
        };
        listed.or_else(placed).or_else(other).filter(|part| part.is_object())
    };
    let branches = || {
        let lists = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|list| at.get(list)?.as_array());
        lists.flatten().find_map(|branch| {
            resolved(root, branch).get("properties").and_then(|properties| properties.get(key))
        })
    };
    own().or_else(branches)
}

fn resolved<'a>(root: &'a Value, mut at: &'a Value) -> &'a Value {
    for _ in 0..MAX_REFERENCES {
        let target = at.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
        match target.and_then(|pointer| root.pointer(pointer)) {
            Some(next) => at = next,
            None => break,
        }
    }
    at
}

/// A schema as it is when it is small, else only its type, its required names and the types of properties.
fn outline(schema: &Value) -> Value {
    if schema.to_string().len() <= MAX_QUOTED {
        return schema.clone();
    }
    let mut short = Map::new();
    for keyword in ["type", "required"] {
        if let Some(value) = schema.get(keyword) {
            short.insert(keyword.to_owned(), value.clone());
        }
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let types = properties.iter().take(MAX_OUTLINED).map(|(name, property)| {
            let kept = property.get("type").map_or_else(|| json!({}), |kind| json!({"type": kind}));
            (name.clone(), kept)
        });
        short.insert("properties".to_owned(), types.collect());
    }
    Value::Object(short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Schema;

    fn check(schema: Value, arguments: &Value) -> Value {
        let spec = ToolSpec::new("tool", "Does nothing.", Schema::new(schema).unwrap());
        match checked(&spec, arguments) {
            Ok(arguments) => json!({ "ok": arguments }),
            Err(content) => content,
        }
    }

    fn order() -> Value {
        json!({
            "type": "object", "required": ["items", "to"], "additionalProperties": false,
            "properties": {
                "items": {"type": "array", "items": {"$ref": "#/$defs/item"}},
                "to": {"type": "string", "enum": ["home", "shop"]},
            },
            "$defs": {"item": {"type": "object", "properties": {"count": {"type": "integer", "minimum": 1}}}},
        })
    }

    #[test]
    fn every_problem_is_told_beside_the_expected_part() {
        let content = check(order(), &json!({"items": [{"count": 0}], "to": "moon", "x": 1}));
        assert_eq!(content["error"], "invalid_input");
        let problems = content["problems"].as_array().unwrap();
        let at = |pointer: &str| problems.iter().find(|problem| problem["at"] == pointer).unwrap();
        assert_eq!(problems.len(), 3, "{content}");
        assert_eq!(at("/items/0/count")["expected"], json!({"type": "integer", "minimum": 1}));
        assert_eq!(at("/to")["expected"]["enum"], json!(["home", "shop"]));
        assert_eq!(at("")["expected"]["required"], json!(["items", "to"]));
    }

    #[test]
    fn a_part_is_quoted_once() {
        let content = check(order(), &json!({"x": 1}));
        let problems = content["problems"].as_array().unwrap();
        assert!(problems.len() > 1, "{content}");
        assert_eq!(problems.iter().filter(|problem| problem.get("expected").is_some()).count(), 1);
    }

    #[test]
    fn nothing_at_all_is_no_arguments() {
        for nothing in [json!(null), json!(""), json!(" \n")] {
            assert_eq!(check(json!({"type": "object"}), &nothing), json!({"ok": {}}));
            assert_eq!(check(order(), &nothing)["problems"].as_array().unwrap().len(), 2);
        }
    }

    #[test]
    fn null_for_what_may_be_left_out_is_left_out() {
        let schema = json!({"type": "object", "required": ["a"], "properties": {
            "a": {"type": "string"}, "b": {"type": "integer"}, "c": {"type": ["integer", "null"]}}});
        assert_eq!(
            check(schema.clone(), &json!({"a": "x", "b": null, "c": null})),
            json!({"ok": {"a": "x", "c": null}})
        );
        let content = check(schema, &json!({"a": null, "b": null}));
        assert!(
            content["problems"].as_array().unwrap().iter().any(|problem| problem["at"] == "/a"),
            "{content}"
        );
    }

    #[test]
    fn what_is_no_object_is_refused_with_the_reason() {
        for (arguments, reason) in [
            (json!("{\"to\": "), "not valid JSON: EOF"),
            (json!("{\"to\": \"home\"}"), "text that holds JSON"),
            (json!([1]), "an array"),
            (json!(7), "a single value"),
        ] {
            let content = check(order(), &arguments);
            assert!(content["message"].as_str().unwrap().contains(reason), "{content}");
            assert_eq!(content["expected"]["required"], json!(["items", "to"]));
        }
    }

    #[test]
    fn a_large_schema_is_outlined() {
        let long = "x".repeat(2000);
        let schema = json!({"type": "object", "required": ["a"],
            "properties": {"a": {"type": "string", "description": long}, "b": {"enum": [1]}}});
        let content = check(schema, &json!({}));
        assert_eq!(
            content["problems"][0]["expected"],
            json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}, "b": {}}})
        );
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = json!({"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}});
        assert_eq!(part(&schema, "/a/b/c"), &json!({"$ref": "#/properties/a"}));
    }

    /// Rows of the Berkeley function-calling leaderboard (Apache-2.0), judged by its reference validator.
    #[test]
    fn arguments_from_the_leaderboard_are_judged_as_there() {
        let schema = json!({
            "type": "object",
            "properties": {"country": {"type": "string", "description": "Name of the country."}},
            "required": ["country"],
            "additionalProperties": false,
        });
        for (arguments, valid) in [
            (json!({"country": "Brazil"}), true),
            (json!({}), false),
            (json!({"country": {"x": [1]}}), false),
            (json!({"country": "Brazil", "__extra": 1}), false),
        ] {
            assert_eq!(check(schema.clone(), &arguments).get("ok").is_some(), valid, "{arguments}");
        }
    }
}
