//! `Field`: one input or output of a skill, and the JSON Schema of a list of them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::types::Schema;

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FieldKind {
    /// A text.
    String {
        /// The texts that are allowed; all of them when empty.
        #[serde(default, rename = "enum")]
        choices: Vec<String>,
        /// A regular expression that it matches.
        #[serde(default)]
        pattern: Option<String>,
        /// The least number of characters.
        #[serde(default)]
        min_length: Option<u64>,
        /// The largest number of characters.
        #[serde(default)]
        max_length: Option<u64>,
    },
    /// A whole number.
    Integer {
        /// The least value.
        #[serde(default)]
        minimum: Option<i64>,
        /// The largest value.
        #[serde(default)]
        maximum: Option<i64>,
    },
    /// A number.
    Number {
        /// The least value.
        #[serde(default)]
        minimum: Option<f64>,
        /// The largest value.
        #[serde(default)]
        maximum: Option<f64>,
    },
    /// True or false.
    Boolean,
    /// A list.
    List {
        /// What each item is; anything when `None`.
        #[serde(default)]
        items: Option<Box<FieldKind>>,
        /// The least number of items.
        #[serde(default)]
        min_items: Option<u64>,
        /// The largest number of items.
        #[serde(default)]
        max_items: Option<u64>,
    },
    /// An object.
    Object {
        /// Its fields; anything when empty.
        #[serde(default)]
        properties: Vec<Field>,
    },
    /// Any JSON.
    Any,
}

/// One input or output of a skill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// Its name, which is also the variable in the body.
    pub name: String,
    /// What it means.
    #[serde(default)]
    pub description: String,
    /// Whether it has to be given; yes unless there is a default.
    pub required: bool,
    /// What it is when it is not given.
    #[serde(default)]
    pub default: Option<Value>,
    /// What it holds.
    pub kind: FieldKind,
}

impl FieldKind {
    /// Whether every value of it is one that the author of the skill has foreseen: choices, numbers, truth values.
    ///
    /// Such a value cannot carry instructions.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::String { choices, .. } => !choices.is_empty(),
            Self::Integer { .. } | Self::Number { .. } | Self::Boolean => true,
            Self::List { items, .. } => items.as_ref().is_some_and(|items| items.is_closed()),
            Self::Object { properties } => {
                !properties.is_empty() && properties.iter().all(|field| field.kind.is_closed())
            }
            Self::Any => false,
        }
    }

    /// The choices in it, of any depth.
    pub(super) fn choices<'a>(&'a self, found: &mut Vec<&'a str>) {
        match self {
            Self::String { choices, .. } => found.extend(choices.iter().map(String::as_str)),
            Self::List { items: Some(items), .. } => items.choices(found),
            Self::Object { properties } => properties.iter().for_each(|field| field.kind.choices(found)),
            _ => {}
        }
    }

    pub(super) fn to_schema(&self) -> Map<String, Value> {
        let mut schema = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                schema.insert(key.to_owned(), value);
            }
        };
        match self {
            Self::String { choices, pattern, min_length, max_length } => {
                put("type", Some("string".into()));
                put("enum", (!choices.is_empty()).then(|| choices.clone().into()));
                put("pattern", pattern.clone().map(Into::into));
                put("minLength", min_length.map(Into::into));
                put("maxLength", max_length.map(Into::into));
            }
            Self::Integer { minimum, maximum } => {
                put("type", Some("integer".into()));
                put("minimum", minimum.map(Into::into));
                put("maximum", maximum.map(Into::into));
            }
            Self::Number { minimum, maximum } => {
                put("type", Some("number".into()));
                put("minimum", minimum.map(Into::into));
                put("maximum", maximum.map(Into::into));
            }
            Self::Boolean => put("type", Some("boolean".into())),
            Self::List { items, min_items, max_items } => {
                put("type", Some("array".into()));
                put("items", items.as_ref().map(|items| Value::Object(items.to_schema())));
                put("minItems", min_items.map(Into::into));
                put("maxItems", max_items.map(Into::into));
            }
            Self::Object { properties } if properties.is_empty() => put("type", Some("object".into())),
            Self::Object { properties } => return object(properties),
            Self::Any => {}
        }
        schema
    }
}

/// The schema of an object with these fields and no others.
pub(super) fn schema(fields: &[Field]) -> Schema {
    Schema::unchecked(Value::Object(object(fields)))
}

fn object(fields: &[Field]) -> Map<String, Value> {
    let mut properties = Map::with_capacity(fields.len());
    for field in fields {
        let mut schema = field.kind.to_schema();
        if !field.description.is_empty() {
            schema.insert("description".to_owned(), field.description.clone().into());
        }
        if let Some(default) = &field.default {
            schema.insert("default".to_owned(), default.clone());
        }
        properties.insert(field.name.clone(), Value::Object(schema));
    }
    let required: Vec<&str> =
        fields.iter().filter(|field| field.required).map(|field| field.name.as_str()).collect();
    let mut object = Map::new();
    object.insert("type".to_owned(), "object".into());
    object.insert("properties".to_owned(), Value::Object(properties));
    if !required.is_empty() {
        object.insert("required".to_owned(), json!(required));
    }
    object.insert("additionalProperties".to_owned(), false.into());
    object
}

/// Puts defaults where nothing was given, inside objects and lists too.
pub(super) fn fill(fields: &[Field], value: &mut Value) {
    let Value::Object(given) = value else { return };
    for field in fields {
        match given.get_mut(&field.name) {
            Some(value) => fill_kind(&field.kind, value),
            None => {
                if let Some(default) = &field.default {
                    given.insert(field.name.clone(), default.clone());
                }
            }
        }
    }
}

fn fill_kind(kind: &FieldKind, value: &mut Value) {
    match (kind, value) {
        (FieldKind::Object { properties }, value) => fill(properties, value),
        (FieldKind::List { items: Some(items), .. }, Value::Array(list)) => {
            list.iter_mut().for_each(|item| fill_kind(items, item));
        }
        _ => {}
    }
}
