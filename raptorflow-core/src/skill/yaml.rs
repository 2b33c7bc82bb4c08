//! `Node`: front matter as a tree in which every key and value knows its line and column.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{
    Location, Spanned,
    options::{DuplicateKeyPolicy, MergeKeyPolicy},
};

use crate::types::Diagnostic;

/// How long front matter may be, in bytes.
const MAX_BYTES: usize = 64 * 1024;
/// How deep it may be nested.
const MAX_DEPTH: usize = 16;
/// How many values it may have.
const MAX_NODES: usize = 5_000;

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) value: Yaml,
    /// A scalar as it is written, without quotes.
    pub(super) text: String,
    pub(super) at: Place,
}

/// Line and column, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

/// A key with its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) at: Place,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Yaml {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text,
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

impl Place {
    pub(super) fn problem(self, code: &str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(code, message).at(self.line, self.column)
    }
}

impl Node {
    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Yaml::Null => "nothing",
            Yaml::Bool(_) => "a truth value",
            Yaml::Integer(_) => "a whole number",
            Yaml::Float(_) => "a number",
            Yaml::Text => "a text",
            Yaml::List(_) => "a list",
            Yaml::Map(_) => "a mapping",
        }
    }

    /// The value as JSON; numbers and truth values keep their kind.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Yaml::Null => serde_json::Value::Null,
            Yaml::Bool(value) => (*value).into(),
            Yaml::Integer(value) => (*value).into(),
            Yaml::Float(value) => (*value).into(),
            Yaml::Text => self.text.clone().into(),
            Yaml::List(items) => items.iter().map(Self::to_json).collect(),
            Yaml::Map(fields) => {
                let fields = fields.iter().map(|(key, value)| (key.text.clone(), value.to_json()));
                serde_json::Value::Object(fields.collect())
            }
        }
    }

    /// The value as JSON in which every scalar is the text that was written.
    pub(super) fn to_texts(&self) -> serde_json::Value {
        match &self.value {
            Yaml::List(items) => items.iter().map(Self::to_texts).collect(),
            Yaml::Map(fields) => {
                let fields = fields.iter().map(|(key, value)| (key.text.clone(), value.to_texts()));
                serde_json::Value::Object(fields.collect())
            }
            _ => self.text.clone().into(),
        }
    }
}

/// Reads front matter that begins at a line of its file; `None` beside problems when it is no YAML at all.
///
/// Anchors and aliases are refused: nobody needs them here, and a few of them can stand for a billion values.
pub(super) fn parse(text: &str, first_line: u32) -> (Option<Node>, Vec<Diagnostic>) {
    if text.len() > MAX_BYTES {
        let message = format!("front matter of {} bytes; at most {MAX_BYTES} are read", text.len());
        return (None, vec![Diagnostic::error("too_large", message).at(first_line, 1)]);
    }
    let mut problems = Vec::new();
    let mut mended = String::with_capacity(text.len());
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let tabs = line.len() - line.trim_start_matches('\t').len();
        if tabs > 0 && !line.trim().is_empty() {
            let line = first_line.saturating_add(u32::try_from(index).unwrap_or(u32::MAX));
            problems.push(Diagnostic::error("tab", "a tab in the indentation; expected blanks").at(line, 1));
        }
        // Read on as if they were blanks, so that the problems behind it are found too.
        mended.extend(std::iter::repeat_n("  ", tabs));
        mended.push_str(line.get(tabs..).unwrap_or_default());
    }
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        reject_unsupported_tags: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_aliases: 0,
            max_anchors: 0,
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_documents: 1,
        },
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(&mended, options) {
        Ok(raw) => (Some(node(raw, &mended, first_line)), problems),
        // What tabs broke is said already.
        Err(_) if !problems.is_empty() => (None, problems),
        Err(err) => {
            problems.push(refused(&err, first_line));
            (None, problems)
        }
    }
}

fn refused(err: &serde_saphyr::Error, first_line: u32) -> Diagnostic {
    let code = match err {
        serde_saphyr::Error::Budget { .. } => "yaml_limit",
        _ => "yaml_syntax",
    };
    let text = err.to_string();
    // The place is a field of ours; the parser repeats it at the end of its message.
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    let message = match code {
        "yaml_limit" => format!("{message}; anchors, aliases and deep or long front matter are refused"),
        _ => message.to_owned(),
    };
    let at = err.location().map_or(Place { line: first_line, column: 1 }, |at| place(at, first_line));
    at.problem(code, message)
}

fn place(at: Location, first_line: u32) -> Place {
    let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX).max(1);
    Place { line: first_line.saturating_add(number(at.line()) - 1), column: number(at.column()) }
}

/// The same tree as the parser gives it.
enum Raw {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

fn node(raw: Spanned<Raw>, source: &str, first_line: u32) -> Node {
    let at = place(raw.referenced, first_line);
    let written = || {
        let (from, length) = (raw.referenced.span().byte_offset(), raw.referenced.span().byte_len());
        let range = from.zip(length).map(|(from, length)| (from as usize, length as usize));
        range.and_then(|(from, length)| source.get(from..from + length)).unwrap_or_default().trim().to_owned()
    };
    let (value, text) = match raw.value {
        Raw::Null => (Yaml::Null, String::new()),
        Raw::Bool(value) => (Yaml::Bool(value), written()),
        Raw::Integer(value) => (Yaml::Integer(value), written()),
        Raw::Float(value) => (Yaml::Float(value), written()),
        Raw::Text(text) => (Yaml::Text, text),
        Raw::List(items) => {
            let items = items.into_iter().map(|item| node(item, source, first_line));
            (Yaml::List(items.collect()), String::new())
        }
        Raw::Map(fields) => {
            let fields = fields.into_iter().map(|(key, value)| {
                let key = Key { at: place(key.referenced, first_line), text: key.value };
                (key, node(value, source, first_line))
            });
            (Yaml::Map(fields.collect()), String::new())
        }
    };
    Node { value, text, at }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Integer(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Raw, E> {
        i64::try_from(value).map(Raw::Integer).map_err(|_| E::custom("a number too large"))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Raw, A::Error> {
        let mut map: Vec<(Spanned<String>, Spanned<Raw>)> = Vec::new();
        while let Some(field) = fields.next_entry()? {
            map.push(field);
            if map.len() > MAX_NODES {
                return Err(A::Error::custom("too many fields"));
            }
        }
        Ok(Raw::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<String> {
        parse(text, 2)
            .1
            .iter()
            .map(|problem| format!("{}:{} {}", problem.line, problem.column, problem.code))
            .collect()
    }

    #[test]
    fn scalars_keep_what_was_written_and_where() {
        let (node, problems) = parse("version: 1.10\nyes: on\nlist: [a, 'b']\n", 2);
        assert!(problems.is_empty(), "{problems:?}");
        let Yaml::Map(fields) = node.unwrap().value else { panic!("a mapping was expected") };
        assert_eq!((fields[0].1.text.as_str(), fields[0].1.at), ("1.10", Place { line: 2, column: 10 }));
        assert_eq!((fields[1].1.text.as_str(), &fields[1].1.value), ("on", &Yaml::Bool(true)));
        assert_eq!(fields[2].1.to_texts(), serde_json::json!(["a", "b"]));
    }

    #[test]
    fn anchors_tabs_tags_and_deep_trees_are_refused_with_their_place() {
        assert_eq!(codes("a: &x 1\nb: *x\n"), ["2:7 yaml_limit"]);
        assert_eq!(codes("a:\n\tb: 1\n\tc: 2\n"), ["3:1 tab", "4:1 tab"]);
        assert_eq!(codes("a: b: c\n"), ["2:5 yaml_syntax"]);
        assert_eq!(codes("a: !thing 1\n").len(), 1);
        assert_eq!(codes(&"[".repeat(100)).len(), 1);
        assert_eq!(codes(&"a".repeat(MAX_BYTES + 1)), ["2:1 too_large"]);
        assert_eq!(codes("a: 1\n---\nb: 1\n").len(), 1);
    }
}
