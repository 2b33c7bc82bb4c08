//! Inputs and outputs of a typed skill, read from front matter.

use serde_json::Value;

use crate::{
    skill::{
        Field, FieldKind,
        reader::{Fields, Reader},
        yaml::{Node, Yaml},
    },
    types::Schema,
};

/// How deep inputs and outputs may be nested.
const MAX_DEPTH: usize = 8;
/// What a field may say of itself.
const KNOWN: [&str; 14] = [
    "type",
    "description",
    "required",
    "default",
    "enum",
    "pattern",
    "min_length",
    "max_length",
    "minimum",
    "maximum",
    "items",
    "min_items",
    "max_items",
    "properties",
];
/// Which of these go with which type; the rest go with all.
const OF_TYPE: [(&str, &[&str]); 6] = [
    ("string", &["enum", "pattern", "min_length", "max_length"]),
    ("integer", &["minimum", "maximum"]),
    ("number", &["minimum", "maximum"]),
    ("list", &["items", "min_items", "max_items"]),
    ("object", &["properties"]),
    ("any", &[]),
];
/// Names that mean something else in a body.
const RESERVED: [&str; 12] =
    ["true", "false", "none", "and", "or", "not", "in", "is", "if", "else", "loop", "self"];

/// The inputs or outputs.
pub(super) fn read_fields(reader: &mut Reader, node: Option<&Node>, name: &str) -> Vec<Field> {
    let Some(node) = node else { return Vec::new() };
    fields_at(reader, node, name, 0)
}

fn fields_at(reader: &mut Reader, node: &Node, name: &str, depth: usize) -> Vec<Field> {
    if depth > MAX_DEPTH {
        reader.problem(node.at, "too_deep", format!("`{name}` is nested deeper than {MAX_DEPTH}"));
        return Vec::new();
    }
    let mut fields = Vec::new();
    for (field, node) in reader.entries(node, name) {
        let usable = field.starts_with(|c: char| c.is_ascii_alphabetic())
            && field.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && field.len() <= 64;
        if !usable || RESERVED.contains(&field) {
            let message =
                format!("`{field}` cannot name a field of `{name}`; expected letters, digits and `_`");
            reader.problem(node.at, "invalid_name", message);
        }
        fields.extend(field_of(reader, node, field, depth));
    }
    fields
}

fn field_of(reader: &mut Reader, node: &Node, name: &str, depth: usize) -> Option<Field> {
    if let Yaml::Text = node.value {
        let kind = kind_of(reader, &node.text, None, node, depth)?;
        return Some(Field {
            name: name.to_owned(),
            description: String::new(),
            required: true,
            default: None,
            kind,
        });
    }
    let fields = reader.fields(node, name, &KNOWN);
    let kind = kind_in(reader, &fields, node, depth)?;
    let default = fields.get("default").map(Node::to_json);
    if let (Some(default), Some(place)) = (&default, fields.get("default")) {
        check_default(reader, &kind, default, place);
    }
    let required = reader.flag(&fields, "required");
    if required == Some(true) && default.is_some() {
        let message = format!("`{name}` is required and has a default; expected one of the two");
        reader.problem(fields.at, "required_default", message);
    }
    Some(Field {
        name: name.to_owned(),
        description: reader.optional(&fields, "description").unwrap_or_default(),
        required: required.unwrap_or(default.is_none()),
        default,
        kind,
    })
}

fn kind_in(reader: &mut Reader, fields: &Fields<'_>, node: &Node, depth: usize) -> Option<FieldKind> {
    let Some(type_of) = fields.get("type") else {
        reader.problem(fields.at, "missing_field", "`type` is missing");
        return None;
    };
    kind_of(reader, &type_of.text, Some(fields), type_of, depth).inspect(|_| {
        let allowed = OF_TYPE.iter().find(|(name, _)| *name == canonical(&type_of.text));
        let allowed = allowed.map_or(&[][..], |(_, allowed)| *allowed);
        let narrow = OF_TYPE.iter().flat_map(|(_, names)| names.iter());
        let mut seen: Vec<&str> = Vec::new();
        for option in narrow {
            if let Some(place) =
                fields.get(option).filter(|_| !allowed.contains(option) && !seen.contains(option))
            {
                seen.push(option);
                let message = format!("`{option}` does not go with the type `{}`", type_of.text);
                reader.problem(place.at, "misplaced_option", message);
            }
        }
        let _ = node;
    })
}

fn canonical(name: &str) -> &str {
    match name {
        "text" => "string",
        "array" => "list",
        "float" => "number",
        "bool" => "boolean",
        other => other,
    }
}

fn kind_of(
    reader: &mut Reader,
    name: &str,
    fields: Option<&Fields<'_>>,
    node: &Node,
    depth: usize,
) -> Option<FieldKind> {
    let kind = match (canonical(name), fields) {
        ("string", Some(fields)) => string(reader, fields),
        ("string", None) => {
            FieldKind::String { choices: Vec::new(), pattern: None, min_length: None, max_length: None }
        }
        ("integer", fields) => {
            let mut get = |name| fields.and_then(|it| reader.integer(it, name, i64::MIN, i64::MAX));
            FieldKind::Integer { minimum: get("minimum"), maximum: get("maximum") }
        }
        ("number", fields) => {
            let mut get = |name| fields.and_then(|it| reader.number(it, name));
            FieldKind::Number { minimum: get("minimum"), maximum: get("maximum") }
        }
        ("boolean", _) => FieldKind::Boolean,
        ("list", Some(fields)) => list(reader, fields, depth),
        ("list", None) => FieldKind::List { items: None, min_items: None, max_items: None },
        ("object", fields) => {
            let properties = fields.and_then(|it| it.get("properties"));
            let read = |node| fields_at(reader, node, "properties", depth + 1);
            FieldKind::Object { properties: properties.map(read).unwrap_or_default() }
        }
        ("any", _) => FieldKind::Any,
        (other, _) => {
            let message =
                format!("no type `{other}`; known: string, integer, number, boolean, list, object, any");
            reader.problem(node.at, "unknown_type", message);
            return None;
        }
    };
    check_bounds(reader, &kind, node);
    Some(kind)
}

fn string(reader: &mut Reader, fields: &Fields<'_>) -> FieldKind {
    let choices = fields.get("enum").map(|node| reader.placed_texts(node, "enum")).unwrap_or_default();
    for (index, (choice, at)) in choices.iter().enumerate() {
        if choices.iter().take(index).any(|(other, _)| other == choice) {
            reader.problem(*at, "duplicate_choice", format!("`{choice}` stands twice in `enum`"));
        }
    }
    let pattern = reader.optional(fields, "pattern");
    if let (Some(pattern), Some(node)) = (&pattern, fields.get("pattern"))
        && Schema::new(serde_json::json!({ "pattern": pattern })).is_err()
    {
        reader.problem(node.at, "invalid_pattern", format!("`{pattern}` is no regular expression"));
    }
    FieldKind::String {
        choices: choices.into_iter().map(|(choice, _)| choice).collect(),
        pattern,
        min_length: reader.size(fields, "min_length"),
        max_length: reader.size(fields, "max_length"),
    }
}

fn list(reader: &mut Reader, fields: &Fields<'_>, depth: usize) -> FieldKind {
    let items = fields.get("items").and_then(|node| {
        if depth >= MAX_DEPTH {
            reader.problem(node.at, "too_deep", format!("lists are nested deeper than {MAX_DEPTH}"));
            return None;
        }
        match node.value {
            Yaml::Text => kind_of(reader, &node.text, None, node, depth + 1),
            _ => {
                let fields = reader.fields(node, "items", &KNOWN);
                kind_in(reader, &fields, node, depth + 1)
            }
        }
    });
    FieldKind::List {
        items: items.map(Box::new),
        min_items: reader.size(fields, "min_items"),
        max_items: reader.size(fields, "max_items"),
    }
}

/// A least that is above the largest leaves no value.
fn check_bounds(reader: &mut Reader, kind: &FieldKind, node: &Node) {
    let crossed = match kind {
        FieldKind::String { min_length: Some(least), max_length: Some(most), .. }
        | FieldKind::List { min_items: Some(least), max_items: Some(most), .. } => least > most,
        FieldKind::Integer { minimum: Some(least), maximum: Some(most) } => least > most,
        FieldKind::Number { minimum: Some(least), maximum: Some(most) } => least > most,
        _ => false,
    };
    if crossed {
        reader.problem(node.at, "crossed_bounds", "the least value is above the largest");
    }
}

fn check_default(reader: &mut Reader, kind: &FieldKind, default: &Value, node: &Node) {
    let schema = Schema::unchecked(Value::Object(kind.to_schema()));
    // A schema that cannot be used is a problem of its pattern, and said there.
    if schema.check().is_ok()
        && let Some(problem) = schema.validate(default).first()
    {
        reader.problem(node.at, "invalid_default", format!("the default does not fit: {}", problem.message));
    }
}
