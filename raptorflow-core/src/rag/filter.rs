//! `Filter`: which documents a search may return, by their metadata.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::rag::document::Document;

/// Conditions that must all hold; an empty filter allows everything.
///
/// A condition names a field of the metadata, or where the metadata has none of that name, `kind`, `title`, `source`
/// or `id` of the document.
/// The field must equal the value; a list in the condition means one of them, and a list in the metadata must contain
/// it.
/// A missing field counts as `null`.
///
/// ```
/// use raptorflow_core::rag::{Document, Filter};
/// let document = Document::new("1", "text").with("lang", "en").with("tags", vec!["price", "plan"]);
/// assert!(Filter::new().with("lang", vec!["en", "hi"]).with("tags", "price").allows(&document));
/// assert!(!Filter::new().with("lang", "hi").allows(&document));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Filter(Map<String, Value>);

impl Filter {
    /// A filter that allows everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more condition; a second one for the same field replaces the first.
    #[must_use]
    pub fn with(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.insert(field.into(), value.into());
        self
    }

    /// Whether it allows everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a document fulfills all conditions.
    #[must_use]
    pub fn allows(&self, document: &Document) -> bool {
        self.0.iter().all(|(field, wanted)| holds(document, field, wanted))
    }
}

impl From<Map<String, Value>> for Filter {
    fn from(conditions: Map<String, Value>) -> Self {
        Self(conditions)
    }
}

fn holds(document: &Document, field: &str, wanted: &Value) -> bool {
    if let Some(found) = document.metadata.get(field) {
        return fits(found, wanted);
    }
    let built_in = match field {
        "id" => Some(&document.id),
        "kind" => document.kind.as_ref(),
        "title" => document.title.as_ref(),
        "source" => document.source.as_ref(),
        _ => None,
    };
    built_in.map_or_else(|| fits(&Value::Null, wanted), |text| fits_text(text, wanted))
}

fn fits(found: &Value, wanted: &Value) -> bool {
    let one = |wanted: &Value| match found {
        Value::Array(items) => items.contains(wanted),
        found => found == wanted,
    };
    found == wanted
        || match wanted {
            Value::Array(any) => any.iter().any(one),
            wanted => one(wanted),
        }
}

fn fits_text(found: &str, wanted: &Value) -> bool {
    match wanted {
        Value::String(wanted) => wanted == found,
        Value::Array(any) => any.iter().any(|wanted| wanted.as_str() == Some(found)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_match_values_lists_and_built_in_fields() {
        let document = Document { kind: Some("policy".into()), ..Document::new("7", "x") }
            .with("n", 2)
            .with("tags", json!(["a", "b"]));
        let check = |field: &str, wanted: Value, expected: bool| {
            assert_eq!(
                Filter::new().with(field, wanted.clone()).allows(&document),
                expected,
                "{field} {wanted}"
            );
        };
        check("n", json!(2), true);
        check("n", json!("2"), false);
        check("n", json!([1, 2]), true);
        check("tags", json!("b"), true);
        check("tags", json!(["c", "a"]), true);
        check("tags", json!(["a", "b"]), true);
        check("tags", json!("c"), false);
        check("kind", json!("policy"), true);
        check("id", json!(["7", "8"]), true);
        check("missing", json!(null), true);
        check("missing", json!("x"), false);
        check("title", json!(null), true);
        assert!(Filter::new().allows(&document));
    }
}
