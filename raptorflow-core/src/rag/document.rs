//! `Document` and `Chunk`: what goes in, the pieces that come out, and where exactly each piece stands.

use std::{ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    error::{Error, ErrorKind, Result},
    types::Digest,
};

/// The longest id of a document, in bytes.
const MAX_ID: usize = 512;

/// A text that a knowledge base keeps.
///
/// ```
/// use raptorflow_core::rag::Document;
/// let document = Document::new("pricing", "# Pricing\n\nThe basic plan costs ₹499.").with("lang", "en");
/// assert_eq!(document.metadata["lang"], "en");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// What names it; adding another document of this id replaces it. 1 to 512 bytes, no control characters.
    pub id: String,
    /// The text, Markdown unless `source` ends in `.txt`.
    pub text: String,
    /// What it is called; searched together with the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is, by a name of the host's choice, for example `policy` or `case_study`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Where it comes from, for citations: a path or URL. The id when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The host's own fields; searches filter by them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// A vector that the host computed, of the embedder's dimension; such a document stays one chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector: Option<Vec<f32>>,
}

impl Document {
    /// A document of an id and a text.
    pub fn new(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            text: text.into(),
            title: None,
            kind: None,
            source: None,
            metadata: Map::new(),
            vector: None,
        }
    }

    /// Adds one field of metadata.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// What citations name: the source, or the id when there is none.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.source.as_deref().unwrap_or(&self.id)
    }

    /// The digest of everything in it; equal documents have equal digests.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let option = |value: &Option<String>| {
            value.as_ref().map_or_else(Vec::new, |text| [b"+", text.as_bytes()].concat())
        };
        let vector = self.vector.as_ref().map_or_else(Vec::new, |vector| {
            std::iter::once(b'+').chain(vector.iter().flat_map(|x| x.to_le_bytes())).collect()
        });
        Digest::of_all([
            self.id.as_bytes(),
            self.text.as_bytes(),
            &option(&self.title),
            &option(&self.kind),
            &option(&self.source),
            canonical(&Value::Object(self.metadata.clone())).as_bytes(),
            &vector,
        ])
    }

    /// Checks what can be checked without a knowledge base.
    ///
    /// # Errors
    /// `InvalidInput` that names the field: an id out of bounds, or a text without anything to find.
    pub fn check(&self) -> Result<()> {
        let bad = |field: &'static str, expected: &'static str| {
            let shown: String = self.id.chars().take(80).collect();
            Err(Error::new(ErrorKind::InvalidInput, "document.check", expected)
                .with("field", field)
                .with("document", shown))
        };
        if self.id.is_empty() || self.id.len() > MAX_ID || self.id.chars().any(char::is_control) {
            return bad("id", "expected 1 to 512 bytes without control characters");
        }
        if self.text.trim().is_empty() {
            return bad("text", "expected a text that is not empty");
        }
        Ok(())
    }
}

/// The JSON of a value with sorted keys, so that the order of metadata does not change a digest.
pub(crate) fn canonical(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let mut entries: Vec<_> =
                    map.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                Value::Object(entries.into_iter().collect())
            }
            Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
            other => other.clone(),
        }
    }
    sorted(value).to_string()
}

/// Where a piece of text stands in its document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The bytes of the document's text.
    pub bytes: Range<usize>,
    /// First and last line, from 1, both included; a line ends with `\n`.
    pub lines: (u32, u32),
    /// Headings above it, outermost first, joined with ` > `; empty when there are none.
    pub heading: Arc<str>,
}

/// A piece of a document, small enough to be one search result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The document's id, `#` and the place of this piece in it, from 0.
    pub id: String,
    /// The document's id.
    pub document: Arc<str>,
    /// What citations name; see [`Document::origin`].
    pub source: Arc<str>,
    /// Where it stands.
    pub place: Place,
    /// The text, exactly as in the document.
    pub text: String,
}

impl Chunk {
    /// The digest of the text; equal for copies of one text in several documents.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.text)
    }
}

/// Maps bytes of one text to its lines.
#[derive(Debug)]
pub(crate) struct Lines {
    /// The byte behind each line break.
    starts: Vec<usize>,
}

impl Lines {
    pub(crate) fn of(text: &str) -> Self {
        Self { starts: text.match_indices('\n').map(|(at, _)| at + 1).collect() }
    }

    /// The line that holds a byte, from 1.
    fn line(&self, byte: usize) -> u32 {
        let before = self.starts.partition_point(|start| *start <= byte);
        u32::try_from(before + 1).unwrap_or(u32::MAX)
    }

    /// First and last line of a range; of an empty one the line that it stands in.
    pub(crate) fn of_range(&self, bytes: &Range<usize>) -> (u32, u32) {
        let last = bytes.end.saturating_sub(1).max(bytes.start);
        (self.line(bytes.start), self.line(last))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
    use serde_json::json;

    use super::*;

    #[test]
    fn the_digest_sees_every_field_and_not_the_order_of_metadata() {
        let base = Document::new("a", "text").with("x", 1).with("y", json!({"b": 1, "c": 2}));
        let same = Document::new("a", "text").with("y", json!({"c": 2, "b": 1})).with("x", 1);
        assert_eq!(base.digest(), same.digest());
        let changed = [
            Document { id: "b".into(), ..base.clone() },
            Document { text: "other".into(), ..base.clone() },
            Document { title: Some(String::new()), ..base.clone() },
            Document { kind: Some("text".into()), ..base.clone() },
            Document { source: Some("text".into()), ..base.clone() },
            Document { vector: Some(vec![]), ..base.clone() },
            base.clone().with("z", Value::Null),
        ];
        for other in changed {
            assert_ne!(base.digest(), other.digest(), "{other:?}");
        }
    }

    #[test]
    fn an_empty_text_and_a_bad_id_are_refused_by_name() {
        for (document, field) in [
            (Document::new("", "x"), "id"),
            (Document::new("a\0", "x"), "id"),
            (Document::new("a", " \n"), "text"),
        ] {
            let err = document.check().unwrap_err();
            assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, Some(field)));
        }
    }

    proptest! {
        #[test]
        fn the_lines_of_a_range_contain_its_text(text in "[a-c\n\u{e9}]{1,60}", a in 0usize..60, b in 0usize..60) {
            let bounds: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let (a, b) = (bounds[a % bounds.len()], bounds[b % bounds.len()]);
            let range = a.min(b)..a.max(b);
            let (first, last) = Lines::of(&text).of_range(&range);
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            prop_assert!(first >= 1 && first <= last);
            if !range.is_empty() {
                let cited = lines[first as usize - 1..last as usize].concat();
                prop_assert!(cited.contains(&text[range.clone()]));
                let before: usize = lines[..first as usize - 1].iter().map(|line| line.len()).sum();
                prop_assert_eq!(&cited[range.start - before..range.end - before], &text[range]);
            }
        }
    }
}
