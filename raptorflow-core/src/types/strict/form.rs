//! Writes the strict form of a schema, and says what it cannot express.

use serde_json::{Map, Value, json};

use super::nulls::takes_null;
use crate::types::{Diagnostic, Schema};

/// Keywords that mean the same in the strict form.
const KEPT: [&str; 13] = [
    "type",
    "enum",
    "const",
    "title",
    "description",
    "multipleOf",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minItems",
    "maxItems",
    "$ref",
];
/// Keywords that are told in the description; who checks the value holds to them.
const TOLD: [&str; 12] = [
    "default",
    "examples",
    "format",
    "pattern",
    "minLength",
    "maxLength",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "contentEncoding",
    "contentMediaType",
    "deprecated",
];
/// Keywords without meaning for a value.
const DROPPED: [&str; 5] = ["$schema", "$id", "$comment", "readOnly", "writeOnly"];
/// Keywords that say nothing about which values fit.
const ANNOTATIONS: [&str; 2] = ["title", "description"];
/// Formats that providers enforce.
const FORMATS: [&str; 9] =
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"];
/// How deep strict schemas may nest.
const MAX_DEPTH: usize = 10;
/// How many properties a strict schema may have.
const MAX_PROPERTIES: usize = 5000;
/// How many values all lists of values may have together.
const MAX_VALUES: usize = 1000;

/// A schema as providers enforce it; see [`Schema::strict`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StrictSchema {
    /// The form: each object is closed and requires all its properties, and what could be left out may be `null`.
    pub schema: Schema,
    /// Bounds that are told in descriptions and not enforced, each with its place: who gets the value checks them.
    pub told: Vec<Diagnostic>,
}

/// The strict form of a schema, or everything in it that has none.
pub(crate) fn form(root: &Value) -> Result<StrictSchema, Vec<Diagnostic>> {
    let mut writer = Writer { root, problems: Vec::new(), told: Vec::new(), properties: 0, values: 0 };
    if root.get("type").and_then(Value::as_str) != Some("object") {
        writer.problem("", "strict_root", "the whole value is no plain object");
    }
    let written = writer.schema(root, "", 0);
    if writer.properties > MAX_PROPERTIES || writer.values > MAX_VALUES {
        let message =
            format!("more than {MAX_PROPERTIES} properties, or {MAX_VALUES} values in lists of them");
        writer.problem("", "strict_size", &message);
    }
    match writer.problems.is_empty() {
        true => Ok(StrictSchema { schema: Schema::unchecked(written), told: writer.told }),
        false => Err(writer.problems),
    }
}

struct Writer<'a> {
    root: &'a Value,
    problems: Vec<Diagnostic>,
    told: Vec<Diagnostic>,
    properties: usize,
    values: usize,
}

impl Writer<'_> {
    fn problem(&mut self, at: &str, code: &str, message: &str) {
        self.problems.push(Diagnostic::error(code, message).at_pointer(at));
    }

    fn schema(&mut self, schema: &Value, at: &str, depth: usize) -> Value {
        let Some(fields) = schema.as_object() else {
            self.problem(at, "strict_any_value", "any value may stand here");
            return Value::Null;
        };
        if depth > MAX_DEPTH {
            self.problem(at, "strict_depth", &format!("values are nested deeper than {MAX_DEPTH}"));
            return Value::Null;
        }
        let mut out = Map::with_capacity(fields.len() + 2);
        let mut told = Vec::new();
        for (key, value) in fields {
            let place = format!("{at}/{key}");
            match key.as_str() {
                "format" if value.as_str().is_some_and(|format| FORMATS.contains(&format)) => {
                    out.insert(key.clone(), value.clone());
                }
                // Providers know no groups but plain ones.
                "pattern" if value.as_str().is_some_and(|pattern| !pattern.contains("(?")) => {
                    out.insert(key.clone(), value.clone());
                }
                "default" if value.is_null() => {}
                kept if KEPT.contains(&kept) => {
                    out.insert(key.clone(), value.clone());
                }
                keyword if TOLD.contains(&keyword) => {
                    told.push(format!("{key}: {value}"));
                    let message = format!("`{key}` is told and not enforced");
                    self.told.push(Diagnostic::warning("strict_told", message).at_pointer(at));
                }
                dropped if DROPPED.contains(&dropped) => {}
                // The object as a whole is written below.
                "properties" | "required" | "additionalProperties" => {}
                "$defs" | "definitions" => {
                    let all = value.as_object().into_iter().flatten();
                    let all = all.map(|(name, of)| {
                        (name.clone(), self.schema(of, &format!("{place}/{}", token(name)), 1))
                    });
                    let all: Map<_, _> = all.collect();
                    out.insert(key.clone(), Value::Object(all));
                }
                "items" => {
                    let items = self.schema(value, &place, depth + 1);
                    out.insert(key.clone(), items);
                }
                "anyOf" | "oneOf" | "allOf" => self.branches(key, value, &place, depth, &mut out),
                _ => self.problem(at, "strict_keyword", &format!("`{key}` cannot be enforced")),
            }
        }
        self.shape(fields, at, depth, &mut out);
        let mut out = alone(out);
        tell(&mut out, &told);
        Value::Object(out)
    }

    /// One branch of `oneOf` is as good as any: who checks the value refuses one that fits two.
    fn branches(
        &mut self,
        key: &str,
        value: &Value,
        place: &str,
        depth: usize,
        out: &mut Map<String, Value>,
    ) {
        let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
        if all.is_empty() || (key == "allOf" && all.len() > 1) || out.contains_key("anyOf") {
            self.problem(place, "strict_keyword", &format!("this `{key}` cannot be enforced"));
            return;
        }
        let written = all.iter().enumerate();
        let written = written.map(|(index, branch)| self.schema(branch, &format!("{place}/{index}"), depth));
        let written: Vec<Value> = written.collect();
        out.insert("anyOf".to_owned(), Value::Array(written));
    }

    /// Checks what kind of value it is, and writes what an object has.
    fn shape(&mut self, fields: &Map<String, Value>, at: &str, depth: usize, out: &mut Map<String, Value>) {
        let values = fields.get("enum").and_then(Value::as_array);
        self.values += values.map_or(0, Vec::len);
        let others = ["anyOf", "$ref"].into_iter().find(|other| out.contains_key(*other));
        if let Some(other) = others {
            let beside = |key: &&String| *key != other && !ANNOTATIONS.contains(&key.as_str());
            let definition = |key: &&String| *key == "$defs" || *key == "definitions";
            if at.is_empty()
                || out.keys().any(|key| beside(&key) && !definition(&key))
                || fields.contains_key("properties")
            {
                self.problem(
                    at,
                    "strict_composed",
                    &format!("`{other}` beside other keywords cannot be enforced"),
                );
            }
            if let Some(target) = fields.get("$ref").and_then(Value::as_str) {
                let name = ["#/$defs/", "#/definitions/"].iter().find_map(|start| target.strip_prefix(start));
                let known = self.root.pointer(target.trim_start_matches('#')).is_some();
                if !known || name.is_none_or(|name| name.contains('/')) {
                    self.problem(at, "strict_reference", "a reference leads elsewhere than to a definition");
                }
            }
            return;
        }
        let constant = fields.get("const").map(std::slice::from_ref);
        match (fields.get("type"), constant.or(values.map(Vec::as_slice))) {
            (Some(_), _) => {}
            (None, Some(values)) => {
                out.insert("type".to_owned(), kinds(values));
            }
            (None, None) => self.problem(at, "strict_any_value", "any value may stand here"),
        }
        if is(out, "array") && !fields.contains_key("items") {
            self.problem(at, "strict_any_value", "items of any value may stand here");
        }
        match is(out, "object") {
            true => self.object(fields, at, depth, out),
            false if fields.contains_key("properties") => {
                self.problem(at, "strict_composed", "properties of what is no object");
            }
            false => {}
        }
    }

    fn object(&mut self, fields: &Map<String, Value>, at: &str, depth: usize, out: &mut Map<String, Value>) {
        let none = Map::new();
        let properties = fields.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let more = fields.get("additionalProperties");
        let open = more.is_some_and(|more| more != &Value::Bool(false));
        if open || (more.is_none() && properties.is_empty()) {
            self.problem(at, "strict_open_object", "properties of any name may stand here");
        }
        self.properties += properties.len();
        let names = fields.get("required").and_then(Value::as_array).into_iter().flatten();
        let required: Vec<&str> = names.filter_map(Value::as_str).collect();
        if required.iter().any(|name| !properties.contains_key(*name)) {
            self.problem(at, "strict_required", "a property is required that is not described");
        }
        let mut written = Map::with_capacity(properties.len());
        for (name, of) in properties {
            let place = format!("{at}/properties/{}", token(name));
            let mut property = self.schema(of, &place, depth + 1);
            if !required.contains(&name.as_str()) {
                let same = of.get("default").is_some_and(Value::is_null);
                match (takes_null(self.root, of), same) {
                    (false, _) => property = nullable(property),
                    (true, true) => {}
                    (true, false) => {
                        let message =
                            "left out and null would look the same; `\"default\": null` says that they are";
                        self.problem(&place, "strict_null", message);
                    }
                }
            }
            written.insert(name.clone(), property);
        }
        out.insert("required".to_owned(), written.keys().map(|name| Value::from(name.as_str())).collect());
        out.insert("properties".to_owned(), Value::Object(written));
        out.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
}

/// The schema, which takes `null` too.
fn nullable(schema: Value) -> Value {
    let Value::Object(mut fields) = schema else { return schema };
    if let Some(Value::Array(branches)) = fields.get_mut("anyOf") {
        branches.push(json!({ "type": "null" }));
        return Value::Object(fields);
    }
    if fields.contains_key("const") || fields.contains_key("$ref") {
        let kept =
            ANNOTATIONS.into_iter().filter_map(|key| Some((key.to_owned(), fields.shift_remove(key)?)));
        let mut outer: Map<String, Value> = kept.collect();
        outer.insert("anyOf".to_owned(), json!([fields, { "type": "null" }]));
        return Value::Object(outer);
    }
    match fields.get_mut("type") {
        Some(Value::Array(kinds)) => kinds.push("null".into()),
        Some(kind) => *kind = json!([kind, "null"]),
        None => {}
    }
    if let Some(Value::Array(values)) = fields.get_mut("enum") {
        values.push(Value::Null);
    }
    Value::Object(fields)
}

/// A reference stands alone: what is said beside it moves around it.
fn alone(mut fields: Map<String, Value>) -> Map<String, Value> {
    if fields.len() < 2 {
        return fields;
    }
    if let Some(target) = fields.shift_remove("$ref") {
        fields.insert("anyOf".to_owned(), json!([{ "$ref": target }]));
    }
    fields
}

fn tell(fields: &mut Map<String, Value>, told: &[String]) {
    if told.is_empty() {
        return;
    }
    if let Some(target) = fields.shift_remove("$ref") {
        fields.insert("anyOf".to_owned(), json!([{ "$ref": target }]));
    }
    let before = fields.get("description").and_then(Value::as_str).unwrap_or_default();
    let separator = if before.is_empty() { "" } else { " " };
    let description = format!("{before}{separator}({})", told.join(", "));
    fields.insert("description".to_owned(), Value::String(description));
}

fn is(fields: &Map<String, Value>, kind: &str) -> bool {
    match fields.get("type") {
        Some(Value::String(only)) => only == kind,
        Some(Value::Array(all)) => all.iter().any(|one| one == kind),
        _ => false,
    }
}

/// The kinds of the values, each once.
fn kinds(values: &[Value]) -> Value {
    let mut kinds: Vec<&str> = Vec::new();
    for value in values {
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    match kinds.as_slice() {
        [only] => Value::from(*only),
        _ => json!(kinds),
    }
}

/// A name as a part of a JSON Pointer.
fn token(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
