//! What the strict form is, what has none, and that a value fits a schema exactly when its strict form fits that.

use proptest::{prelude::*, sample::Index};
use serde_json::{Map, Value, json};

use crate::types::Schema;

#[expect(clippy::needless_pass_by_value, reason = "literals read better without a borrow")]
fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// The strict form of a value: null for each property that was left out.
fn with_nulls(root: &Value, schema: &Value, value: &Value) -> Value {
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        return with_nulls(root, root.pointer(&target[1..]).unwrap(), value);
    }
    if let Some(branches) = schema.get("anyOf").and_then(Value::as_array) {
        let fits = |branch: &&Value| {
            let mut alone = json!({"anyOf": [branch]});
            alone["$defs"] = root["$defs"].clone();
            Schema::unchecked(alone).validate(value).is_empty()
        };
        return branches
            .iter()
            .find(fits)
            .map_or_else(|| value.clone(), |branch| with_nulls(root, branch, value));
    }
    match value {
        Value::Object(fields) => {
            let mut out = fields.clone();
            for (name, of) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                let is_required = schema["required"].as_array().unwrap().iter().any(|known| known == name);
                match fields.get(name) {
                    Some(field) => drop(out.insert(name.clone(), with_nulls(root, of, field))),
                    None if !is_required => drop(out.insert(name.clone(), Value::Null)),
                    None => {}
                }
            }
            Value::Object(out)
        }
        Value::Array(items) => match schema.get("items") {
            Some(of) => items.iter().map(|item| with_nulls(root, of, item)).collect(),
            None => value.clone(),
        },
        other => other.clone(),
    }
}

#[test]
fn what_may_be_left_out_may_be_null_and_bounds_are_told() {
    let schema = json!({"$comment": "x", "type": "object", "required": ["n"], "properties": {
        "n": {"type": "integer", "minimum": 1},
        "text": {"type": "string", "minLength": 2, "description": "A text."},
        "kind": {"enum": ["a", "b"]},
        "one": {"const": 1},
        "place": {"$ref": "#/$defs/Place", "description": "Where."},
        "maybe": {"type": ["integer", "null"], "default": null},
        "tags": {"type": "array", "items": {"oneOf": [{"type": "string"}, {"type": "boolean"}]}}},
        "$defs": {"Place": {"type": "object", "properties": {"x": {"type": "number"}}}}});
    let schema = Schema::new(schema).unwrap();
    let strict = schema.strict().unwrap();
    assert_eq!(
        strict.schema.as_value(),
        &json!({"type": "object", "properties": {
            "n": {"type": "integer", "minimum": 1},
            "text": {"type": ["string", "null"], "description": "A text. (minLength: 2)"},
            "kind": {"enum": ["a", "b", null], "type": ["string", "null"]},
            "one": {"anyOf": [{"const": 1, "type": "number"}, {"type": "null"}]},
            "place": {"description": "Where.", "anyOf": [{"$ref": "#/$defs/Place"}, {"type": "null"}]},
            "maybe": {"type": ["integer", "null"]},
            "tags": {"type": ["array", "null"], "items": {"anyOf": [{"type": "string"}, {"type": "boolean"}]}}},
            "required": ["n", "text", "kind", "one", "place", "maybe", "tags"], "additionalProperties": false,
            "$defs": {"Place": {"type": "object", "properties": {"x": {"type": ["number", "null"]}},
                "required": ["x"], "additionalProperties": false}}})
    );
    let told: Vec<_> =
        strict.told.iter().map(|told| (told.pointer.as_str(), told.message.as_str())).collect();
    assert_eq!(told, [("/properties/text", "`minLength` is told and not enforced")]);
    strict.schema.check().unwrap();
}

#[test]
fn what_has_no_strict_form_is_said_with_its_place() {
    let text = json!({"type": "string"});
    for (of, code) in [
        (json!(true), "strict_any_value"),
        (json!({}), "strict_any_value"),
        (json!({"type": "array"}), "strict_any_value"),
        (json!({"type": "object"}), "strict_open_object"),
        (json!({"type": "object", "additionalProperties": text}), "strict_open_object"),
        (json!({"type": "object", "required": ["b"], "properties": {"a": text}}), "strict_required"),
        (json!({"properties": {"a": text}, "type": "string"}), "strict_composed"),
        (json!({"anyOf": [text], "type": "string"}), "strict_composed"),
        (json!({"allOf": [text, text]}), "strict_keyword"),
        (json!({"type": "string", "not": {"const": "x"}}), "strict_keyword"),
        (
            json!({"type": "object", "patternProperties": {"^a": text}, "properties": {"a": text}}),
            "strict_keyword",
        ),
        (json!({"type": "array", "prefixItems": [text], "items": text}), "strict_keyword"),
        (json!({"$ref": "#/properties/b"}), "strict_reference"),
        (json!({"$ref": "https://host/schema"}), "strict_reference"),
    ] {
        let schema = Schema::unchecked(object(json!({"p": of, "b": text}), &["p", "b"]));
        let problems = schema.strict().unwrap_err();
        assert!(problems.iter().any(|problem| problem.code == code), "{of}: {problems:?}");
        assert!(problems.iter().all(|problem| problem.pointer.starts_with("/properties/p")), "{problems:?}");
    }
    let nullable = Schema::unchecked(object(json!({"p": {"type": ["string", "null"]}}), &[]));
    assert_eq!(nullable.strict().unwrap_err()[0].code, "strict_null");
    for root in [json!({"type": "array", "items": text}), json!({"$ref": "#/$defs/A"}), json!(true)] {
        assert_eq!(Schema::unchecked(root).strict().unwrap_err()[0].code, "strict_root");
    }
    let mut deep = text;
    (0..11).for_each(|_| deep = object(json!({"p": deep}), &["p"]));
    assert_eq!(Schema::unchecked(deep).strict().unwrap_err()[0].code, "strict_depth");
    let many: Vec<u32> = (0..1001).collect();
    let many = Schema::unchecked(object(json!({"p": {"enum": many}}), &["p"]));
    assert_eq!(many.strict().unwrap_err()[0].code, "strict_size");
}

#[test]
fn nulls_inside_of_branches_go_where_the_branch_lets_them() {
    let a = object(json!({"kind": {"const": "a"}, "x": {"type": "integer"}}), &["kind"]);
    let b = object(json!({"kind": {"const": "b"}, "x": {"type": ["integer", "null"]}}), &["kind"]);
    let schema = Schema::new(object(json!({"p": {"anyOf": [a, b]}}), &["p"])).unwrap();
    for (value, expected) in [
        (json!({"p": {"kind": "a", "x": null}}), json!({"p": {"kind": "a"}})),
        (json!({"p": {"kind": "b", "x": null}}), json!({"p": {"kind": "b", "x": null}})),
        (json!({"p": {"kind": "c", "x": null}}), json!({"p": {"kind": "c", "x": null}})),
        (json!({"q": null}), json!({"q": null})),
    ] {
        assert_eq!(schema.without_nulls(&value), expected);
    }
}

#[test]
fn branches_within_branches_end() {
    let node =
        json!({"type": "object", "properties": {"n": {"$ref": "#/$defs/T"}, "x": {"type": "integer"}}});
    let schema = json!({"type": "object", "properties": {"t": {"$ref": "#/$defs/T"}},
        "$defs": {"T": {"anyOf": [node, node, node]}}});
    let mut value = json!({"x": "wrong"});
    (0..5).for_each(|_| value = json!({"n": value, "x": null}));
    let value = json!({"t": value});
    assert_eq!(Schema::unchecked(schema).without_nulls(&value), value);
    let own = json!({"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}});
    assert_eq!(Schema::unchecked(own).without_nulls(&json!({"a": {"b": null}})), json!({"a": {"b": null}}));
}

/// Schemas whose every bound is enforced by the strict form too.
fn schemas() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "string"})),
        Just(json!({"type": "integer", "minimum": 0})),
        Just(json!({"type": ["number", "boolean"]})),
        Just(json!({"enum": ["a", "b"]})),
        Just(json!({"const": 7})),
        Just(json!({"$ref": "#/$defs/Place"})),
    ];
    let inner = leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|of| json!({"type": "array", "items": of, "maxItems": 3})),
            fields(inner.clone()),
            (fields(inner.clone()), fields(inner)).prop_map(|(mut a, mut b)| {
                for (schema, kind) in [(&mut a, "first"), (&mut b, "second")] {
                    schema["properties"]["kind"] = json!({"const": kind});
                    schema["required"].as_array_mut().unwrap().push("kind".into());
                }
                json!({"anyOf": [{"type": "string"}, a, b]})
            }),
        ]
    });
    fields(inner).prop_map(|mut root| {
        root["$defs"] =
            json!({"Place": object(json!({"x": {"type": "string"}, "y": {"const": true}}), &["x"])});
        root
    })
}

fn fields(of: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop::collection::vec((of, any::<bool>()), 1..4).prop_map(|all| {
        let names = ["a", "b", "c"];
        let required: Vec<&str> = names
            .into_iter()
            .zip(&all)
            .filter(|(_, (_, required))| *required)
            .map(|(name, _)| name)
            .collect();
        let properties: Map<String, Value> =
            names.into_iter().zip(&all).map(|(name, (of, _))| (name.to_owned(), of.clone())).collect();
        object(Value::Object(properties), &required)
    })
}

/// A value that fits, as the choices have it.
fn fitting(root: &Value, schema: &Value, choices: &mut impl Iterator<Item = bool>) -> Value {
    let mut next = || choices.next().unwrap_or(true);
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        return fitting(root, root.pointer(&target[1..]).unwrap(), choices);
    }
    if let Some(branches) = schema.get("anyOf").and_then(Value::as_array) {
        let place = usize::from(next()) + usize::from(next());
        return fitting(root, &branches[place], choices);
    }
    if let Some(only) = schema.get("const") {
        return only.clone();
    }
    if let Some(values) = schema.get("enum") {
        return values[usize::from(next())].clone();
    }
    match schema["type"].as_str() {
        Some("object") => {
            let required = schema["required"].as_array().unwrap();
            let mut out = Map::new();
            for (name, of) in schema["properties"].as_object().unwrap() {
                if required.iter().any(|known| known == name) || choices.next().unwrap_or(true) {
                    out.insert(name.clone(), fitting(root, of, choices));
                }
            }
            Value::Object(out)
        }
        Some("array") => {
            let count = usize::from(next()) + usize::from(next());
            (0..count).map(|_| fitting(root, &schema["items"], choices)).collect()
        }
        Some("integer") => json!(u8::from(next())),
        Some("string") => json!("x"),
        _ if next() => json!(true),
        _ => json!(0.5),
    }
}

/// The places of a value, in a fixed order.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, field)| places(field, &format!("{at}/{key}"), out));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| places(item, &format!("{at}/{index}"), out));
        }
        _ => {}
    }
}

/// Changes a value somewhere, mostly so that it does not fit any more; null is what the strict form adds.
fn spoil(value: &mut Value, place: Index, with: u8) {
    let mut all = Vec::new();
    places(value, "", &mut all);
    let Some(target) = value.pointer_mut(place.get(&all).as_str()) else { return };
    match (with, target) {
        (0, Value::Object(fields)) => drop(fields.insert("more".to_owned(), json!(1))),
        (1, Value::Object(fields)) => drop(fields.pop_if_any()),
        (2, target) => *target = json!(-1),
        (3, target) => *target = json!({"kind": "first"}),
        (4, target) => *target = json!(["a"]),
        (_, target) => *target = json!("b"),
    }
}

trait PopIfAny {
    fn pop_if_any(&mut self) -> Option<Value>;
}

impl PopIfAny for Map<String, Value> {
    fn pop_if_any(&mut self) -> Option<Value> {
        let last = self.keys().next_back().cloned();
        last.and_then(|key| self.remove(&key))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_value_fits_exactly_when_its_strict_form_fits_the_strict_schema(
        schema in schemas(),
        choices in prop::collection::vec(any::<bool>(), 40),
        spoiled in prop::collection::vec((any::<Index>(), 0_u8..6), 0..3),
    ) {
        let original = Schema::new(schema.clone()).unwrap();
        let strict = original.strict().unwrap();
        strict.schema.check().unwrap();
        prop_assert_eq!(&strict.told, &[]);
        let mut value = fitting(&schema, &schema, &mut choices.into_iter());
        prop_assert!(original.validate(&value).is_empty());
        spoiled.into_iter().for_each(|(place, with)| spoil(&mut value, place, with));
        let fits = original.validate(&value).is_empty();
        let sent = with_nulls(&schema, &schema, &value);
        prop_assert_eq!(fits, strict.schema.validate(&sent).is_empty(), "{} {}", value, sent);
        if fits {
            prop_assert_eq!(original.without_nulls(&sent), value);
        }
    }
}
