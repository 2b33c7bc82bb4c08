//! Classes of Python's `TypedDict`; a field that may be missing is in a class of its own, since `NotRequired` is newer
//! than the oldest Python that is supported.

use crate::skill::{
    Field, FieldKind,
    typegen::names::{capitalized, comment, quoted},
};

/// How a file begins.
pub(super) const HEAD: &str = "# Written from skills; do not edit.\n\
    from __future__ import annotations\n\nfrom typing import Any, Literal, TypedDict\n";
/// Words that cannot name a field of a class.
const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def",
    "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is",
    "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

pub(super) fn object(name: &str, fields: &[Field], about: &str, text: &mut String) {
    for field in fields {
        nested(&format!("{name}{}", capitalized(&field.name)), &field.kind, text);
    }
    let (required, optional): (Vec<&Field>, Vec<&Field>) = fields.iter().partition(|field| field.required);
    match (required.is_empty(), optional.is_empty()) {
        (_, true) => part(name, name, &required, true, about, text),
        (true, false) => part(name, name, &optional, false, about, text),
        (false, false) => {
            part(&format!("_{name}Required"), name, &required, true, "", text);
            part(&format!("_{name}Optional"), name, &optional, false, "", text);
            let bases = format!("_{name}Required, _{name}Optional");
            text.push_str(&format!("\n\nclass {name}({bases}):\n    \"\"\"{}\"\"\"\n", docs(about)));
        }
    }
}

/// A class, or a call where a field has the name of a keyword.
fn part(name: &str, owner: &str, fields: &[&Field], total: bool, about: &str, text: &mut String) {
    let total = if total { "" } else { ", total=False" };
    let typed = |field: &&Field| kind(&format!("{owner}{}", capitalized(&field.name)), &field.kind);
    if fields.iter().any(|field| KEYWORDS.contains(&field.name.as_str())) {
        let fields: Vec<String> = fields
            .iter()
            .map(|field| format!("{}: {}", quoted(&field.name), quoted(&typed(field))))
            .collect();
        text.push_str(&format!("\n\n{name} = TypedDict(\"{name}\", {{{}}}{total})\n", fields.join(", ")));
        return;
    }
    text.push_str(&format!("\n\nclass {name}(TypedDict{total}):\n"));
    if !about.is_empty() {
        text.push_str(&format!("    \"\"\"{}\"\"\"\n\n", docs(about)));
    }
    for field in fields {
        text.push_str(&format!("    {}: {}\n", field.name, typed(field)));
        if !field.description.is_empty() {
            text.push_str(&format!("    \"\"\"{}\"\"\"\n", docs(&field.description)));
        }
    }
}

fn docs(text: &str) -> String {
    let line = comment(text, "\"\"\"").replace('\\', "\\\\");
    // A quote at the end would join those that close the text.
    if line.ends_with('"') { format!("{line} ") } else { line }
}

fn nested(name: &str, kind: &FieldKind, text: &mut String) {
    match kind {
        FieldKind::Object { properties } if !properties.is_empty() => object(name, properties, "", text),
        FieldKind::List { items: Some(items), .. } => nested(name, items, text),
        _ => {}
    }
}

fn kind(name: &str, of: &FieldKind) -> String {
    match of {
        FieldKind::String { choices, .. } if !choices.is_empty() => {
            let choices: Vec<String> = choices.iter().map(|choice| quoted(choice)).collect();
            format!("Literal[{}]", choices.join(", "))
        }
        FieldKind::String { .. } => "str".to_owned(),
        FieldKind::Integer { .. } => "int".to_owned(),
        FieldKind::Number { .. } => "float".to_owned(),
        FieldKind::Boolean => "bool".to_owned(),
        FieldKind::List { items, .. } => {
            let items = items.as_ref().map_or_else(|| "Any".to_owned(), |items| kind(name, items));
            format!("list[{items}]")
        }
        FieldKind::Object { properties } if properties.is_empty() => "dict[str, Any]".to_owned(),
        FieldKind::Object { .. } => name.to_owned(),
        FieldKind::Any => "Any".to_owned(),
    }
}
