//! Takes away the `null` that stands for a property which may be left out.

use serde_json::{Map, Value, json};

use crate::types::Schema;

/// How many branches are tried for one document, so that branches within branches end.
const MAX_TRIES: usize = 500;
/// How deep schemas and values within one another are followed, so that a schema that is its own part ends.
const MAX_DEPTH: usize = 200;
/// How many references are followed at one place.
const MAX_REFERENCES: usize = 8;

/// The value without each `null` of a property that may be left out and may not be `null`.
pub(crate) fn without_nulls(root: &Value, value: &Value) -> Value {
    Visit { root, tries: MAX_TRIES }.value(root, value, MAX_DEPTH)
}

/// Whether the schema may take `null`; true where that cannot be seen at once.
pub(super) fn takes_null(root: &Value, schema: &Value) -> bool {
    takes_null_within(root, schema, MAX_REFERENCES)
}

fn takes_null_within(root: &Value, schema: &Value, left: usize) -> bool {
    let Some(fields) = schema.as_object() else { return schema != &Value::Bool(false) };
    let Some(left) = left.checked_sub(1) else { return true };
    let branch = |branch: &Value| takes_null_within(root, branch, left);
    fields.iter().all(|(key, value)| match (key.as_str(), value) {
        ("type", Value::String(kind)) => kind == "null",
        ("type" | "enum", Value::Array(all)) => {
            let null = if key == "type" { Value::from("null") } else { Value::Null };
            all.contains(&null)
        }
        ("const", value) => value.is_null(),
        ("$ref", _) => target(root, schema).is_none_or(branch),
        ("anyOf" | "oneOf", Value::Array(all)) => all.iter().any(branch),
        ("allOf", Value::Array(all)) => all.iter().all(branch),
        _ => true,
    })
}

/// What the reference of a schema leads to, inside of the same document.
fn target<'a>(root: &'a Value, schema: &Value) -> Option<&'a Value> {
    root.pointer(schema.get("$ref")?.as_str()?.strip_prefix('#')?)
}

struct Visit<'a> {
    root: &'a Value,
    tries: usize,
}

impl Visit<'_> {
    fn value(&mut self, schema: &Value, value: &Value, depth: usize) -> Value {
        let Some(depth) = depth.checked_sub(1).filter(|_| value.is_object() || value.is_array()) else {
            return value.clone();
        };
        if let Some(target) = target(self.root, schema) {
            return self.value(target, value, depth);
        }
        let own = match value {
            Value::Object(fields) => self.object(schema, fields, depth),
            Value::Array(items) => match schema.get("items") {
                Some(of) => items.iter().map(|item| self.value(of, item, depth)).collect(),
                None => value.clone(),
            },
            other => other.clone(),
        };
        let lists = ["anyOf", "oneOf"].into_iter().filter_map(|list| schema.get(list)?.as_array());
        lists.fold(own, |own, branches| self.branch(branches, own, depth))
    }

    fn object(&mut self, schema: &Value, fields: &Map<String, Value>, depth: usize) -> Value {
        let properties = schema.get("properties").and_then(Value::as_object);
        let required = schema.get("required").and_then(Value::as_array);
        let is_required = |name: &str| required.is_some_and(|all| all.iter().any(|known| known == name));
        let kept = fields.iter().filter_map(|(name, field)| {
            let Some(of) = properties.and_then(|all| all.get(name)) else {
                return Some((name.clone(), field.clone()));
            };
            let left_out = field.is_null() && !is_required(name) && !takes_null(self.root, of);
            (!left_out).then(|| (name.clone(), self.value(of, field, depth)))
        });
        Value::Object(kept.collect())
    }

    /// The value as the first branch takes it that takes it; as it was when none does.
    fn branch(&mut self, branches: &[Value], value: Value, depth: usize) -> Value {
        for branch in branches {
            let Some(tries) = self.tries.checked_sub(1) else { break };
            self.tries = tries;
            let tried = self.value(branch, &value, depth);
            let mut alone = json!({ "anyOf": [branch] });
            for key in ["$defs", "definitions"] {
                if let (Some(all), Some(fields)) = (self.root.get(key), alone.as_object_mut()) {
                    fields.insert(key.to_owned(), all.clone());
                }
            }
            if Schema::unchecked(alone).validate(&tried).is_empty() {
                return tried;
            }
        }
        value
    }
}
