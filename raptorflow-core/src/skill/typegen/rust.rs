//! Structures of Rust for serde.

use crate::skill::{
    Field, FieldKind,
    typegen::names::{capitalized, comment, quoted},
};

/// How a file begins.
pub(super) const HEAD: &str = "// Written from skills; do not edit.\n";
/// What every type derives.
const DERIVE: &str = "#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]";
/// Words that a field can have only with `r#`.
const KEYWORDS: [&str; 43] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else",
    "enum", "extern", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match",
    "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait", "try",
    "type", "typeof", "unsafe", "unsized", "use", "where",
];

pub(super) fn object(name: &str, fields: &[Field], about: &str, text: &mut String) {
    if !about.is_empty() {
        text.push_str(&format!("\n/// {}", comment(about, "")));
    }
    text.push_str(&format!("\n{DERIVE}\n#[serde(deny_unknown_fields)]\npub struct {name} {{\n"));
    for field in fields {
        if !field.description.is_empty() {
            text.push_str(&format!("    /// {}\n", comment(&field.description, "")));
        }
        let typed = kind(&format!("{name}{}", capitalized(&field.name)), &field.kind);
        let (written, renamed) = field_name(&field.name);
        if renamed {
            text.push_str(&format!("    #[serde(rename = {})]\n", quoted(&field.name)));
        }
        if field.required {
            text.push_str(&format!("    pub {written}: {typed},\n"));
        } else {
            text.push_str("    #[serde(default, skip_serializing_if = \"Option::is_none\")]\n");
            text.push_str(&format!("    pub {written}: Option<{typed}>,\n"));
        }
    }
    text.push_str("}\n");
    for field in fields {
        nested(&format!("{name}{}", capitalized(&field.name)), &field.kind, text);
    }
}

/// The name in small letters, and whether serde has to be told the other.
fn field_name(name: &str) -> (String, bool) {
    let mut small = String::new();
    let mut before_is_small = false;
    for c in name.chars() {
        if c.is_uppercase() && before_is_small {
            small.push('_');
        }
        before_is_small = c.is_lowercase() || c.is_ascii_digit();
        small.extend(c.to_lowercase());
    }
    match small.as_str() {
        "self" | "super" | "crate" | "true" | "false" | "while" | "yield" | "virtual" => {
            (format!("{small}_"), true)
        }
        word if KEYWORDS.contains(&word) => (format!("r#{small}"), small != name),
        _ => {
            let renamed = small != name;
            (small, renamed)
        }
    }
}

fn nested(name: &str, of: &FieldKind, text: &mut String) {
    match of {
        FieldKind::Object { properties } if !properties.is_empty() => object(name, properties, "", text),
        FieldKind::List { items: Some(items), .. } => nested(name, items, text),
        FieldKind::String { choices, .. } if !choices.is_empty() => {
            text.push_str(&format!("\n{DERIVE}\npub enum {name} {{\n"));
            let mut used: Vec<String> = Vec::new();
            for choice in choices {
                let mut variant = capitalized(choice);
                if !variant.starts_with(|c: char| c.is_alphabetic()) || variant == "Self" {
                    variant.insert_str(0, "Is");
                }
                while used.contains(&variant) {
                    variant.push('_');
                }
                text.push_str(&format!("    #[serde(rename = {})]\n    {variant},\n", quoted(choice)));
                used.push(variant);
            }
            text.push_str("}\n");
        }
        _ => {}
    }
}

fn kind(name: &str, of: &FieldKind) -> String {
    match of {
        FieldKind::String { choices, .. } if !choices.is_empty() => name.to_owned(),
        FieldKind::String { .. } => "String".to_owned(),
        FieldKind::Integer { .. } => "i64".to_owned(),
        FieldKind::Number { .. } => "f64".to_owned(),
        FieldKind::Boolean => "bool".to_owned(),
        FieldKind::List { items, .. } => {
            let items =
                items.as_ref().map_or_else(|| "serde_json::Value".to_owned(), |items| kind(name, items));
            format!("Vec<{items}>")
        }
        FieldKind::Object { properties } if properties.is_empty() => {
            "serde_json::Map<String, serde_json::Value>".to_owned()
        }
        FieldKind::Object { .. } => name.to_owned(),
        FieldKind::Any => "serde_json::Value".to_owned(),
    }
}
