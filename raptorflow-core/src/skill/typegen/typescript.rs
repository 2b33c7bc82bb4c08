//! Interfaces of TypeScript.

use crate::skill::{
    Field, FieldKind,
    typegen::names::{comment, quoted},
};

/// How a file begins.
pub(super) const HEAD: &str = "// Written from skills; do not edit.\n";

pub(super) fn object(name: &str, fields: &[Field], about: &str, text: &mut String) {
    text.push_str(&format!(
        "\n/** {} */\nexport interface {name} {}\n",
        comment(about, "*/"),
        body(fields, 1)
    ));
}

fn body(fields: &[Field], depth: usize) -> String {
    let indent = "  ".repeat(depth);
    let mut text = "{\n".to_owned();
    for field in fields {
        if !field.description.is_empty() {
            text.push_str(&format!("{indent}/** {} */\n", comment(&field.description, "*/")));
        }
        let mark = if field.required { "" } else { "?" };
        text.push_str(&format!("{indent}{}{mark}: {};\n", field.name, kind(&field.kind, depth)));
    }
    text.push_str(&"  ".repeat(depth - 1));
    text.push('}');
    text
}

fn kind(of: &FieldKind, depth: usize) -> String {
    match of {
        FieldKind::String { choices, .. } if !choices.is_empty() => {
            choices.iter().map(|choice| quoted(choice)).collect::<Vec<_>>().join(" | ")
        }
        FieldKind::String { .. } => "string".to_owned(),
        FieldKind::Integer { .. } | FieldKind::Number { .. } => "number".to_owned(),
        FieldKind::Boolean => "boolean".to_owned(),
        FieldKind::List { items, .. } => {
            let items = items.as_ref().map_or_else(|| "unknown".to_owned(), |items| kind(items, depth));
            format!("Array<{items}>")
        }
        FieldKind::Object { properties } if properties.is_empty() => "Record<string, unknown>".to_owned(),
        FieldKind::Object { properties } => body(properties, depth + 1),
        FieldKind::Any => "unknown".to_owned(),
    }
}
