//! `{ "$ref" = "pack:NAME" }`: a schema of the pack, put in place where it is named.

use std::collections::BTreeMap;

use serde_json::Value;

/// How deep a pack's schemas may refer to each other.
const MAX_DEPTH: usize = 8;
/// How many references one schema may lead to in all; schemas that name each other often would grow without end.
const MAX_PLACED: usize = 1000;
const SCHEME: &str = "pack:";

/// Puts the pack's schemas in place; each reference that does not resolve is a message.
pub(super) fn resolve(value: &mut Value, schemas: &BTreeMap<String, Value>) -> Vec<String> {
    let mut walk = Walk { schemas, placed: 0, problems: Vec::new() };
    walk.visit(value, 0);
    walk.problems
}

struct Walk<'a> {
    schemas: &'a BTreeMap<String, Value>,
    placed: usize,
    problems: Vec<String>,
}

impl Walk<'_> {
    fn visit(&mut self, value: &mut Value, depth: usize) {
        if let Some(name) = reference(value) {
            return self.place(value, &name, depth);
        }
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.visit(item, depth)),
            Value::Object(fields) => fields.values_mut().for_each(|item| self.visit(item, depth)),
            _ => {}
        }
    }

    fn place(&mut self, value: &mut Value, name: &str, depth: usize) {
        let Some(schema) = self.schemas.get(name) else {
            let known: Vec<&str> = self.schemas.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return self.problem(format!("no schema `{name}` in the pack; known: {known}"));
        };
        if depth >= MAX_DEPTH {
            return self
                .problem(format!("`{SCHEME}{name}` refers to itself, or is nested over {MAX_DEPTH} deep"));
        }
        self.placed += 1;
        if self.placed > MAX_PLACED {
            return self.problem(format!("over {MAX_PLACED} references in one schema"));
        }
        *value = schema.clone();
        self.visit(value, depth + 1);
    }

    /// The same is said once.
    fn problem(&mut self, problem: String) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

fn reference(value: &Value) -> Option<String> {
    value.get("$ref")?.as_str()?.strip_prefix(SCHEME).map(str::to_owned)
}
