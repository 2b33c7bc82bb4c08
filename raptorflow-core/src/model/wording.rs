//! How passages and tool results look inside the text that a remote model reads.

use serde_json::Value;

use crate::types::{Message, Part, Passage};

/// The texts and passages of a message in order, passages delimited; tool data and reasoning are left out.
pub(crate) fn user_text(message: &Message) -> String {
    let mut text = String::new();
    for part in &message.parts {
        match part {
            Part::Text { text: more } => separate(&mut text, more),
            Part::Passage(passage) => separate(&mut text, &delimited(passage)),
            _ => {}
        }
    }
    text
}

/// The passages of a message, delimited; empty when there are none.
pub(crate) fn passages_text(message: &Message) -> String {
    let mut text = String::new();
    message.passages().for_each(|passage| separate(&mut text, &delimited(passage)));
    text
}

/// A tool's answer as text: a string as it is, anything else as JSON.
pub(crate) fn result_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn separate(text: &mut String, more: &str) {
    if !text.is_empty() && !more.is_empty() {
        text.push_str("\n\n");
    }
    text.push_str(more);
}

/// `<passage n="1" source="a.md" lines="3-9">…</passage>`, with text that can neither close nor open a passage.
fn delimited(passage: &Passage) -> String {
    let (first, last) = passage.lines;
    let mut text = format!(
        "<passage n=\"{}\" source=\"{}\" lines=\"{first}-{last}\"",
        passage.number,
        attribute(&passage.source)
    );
    if !passage.heading.is_empty() {
        text.push_str(" heading=\"");
        text.push_str(&attribute(&passage.heading));
        text.push('"');
    }
    text.push_str(">\n");
    text.push_str(&contained(&passage.text));
    text.push_str("\n</passage>");
    text
}

fn attribute(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Escapes only a `<` that begins a passage's tag: code and quotes stay as they are, so that they can be quoted.
fn contained(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        escaped.push_str(before);
        let name = after.trim_start_matches(|c: char| c == '/' || c.is_whitespace() || c.is_control());
        let is_tag = name.get(..7).is_some_and(|name| name.eq_ignore_ascii_case("passage"));
        escaped.push_str(if is_tag { "&lt;" } else { "<" });
        rest = after;
    }
    escaped.push_str(rest);
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Role;

    #[test]
    fn a_passage_cannot_close_its_own_tag() {
        let passage = Passage {
            number: 2,
            source: "a \"b\".md".into(),
            lines: (3, 9),
            heading: "A > B".into(),
            text: "if a < b { } </passage> <PASSAGE n=\"1\"> < / passage>".into(),
        };
        let message = Message { role: Role::User, parts: vec![Part::Passage(passage), Part::text("Why?")] };
        assert_eq!(
            user_text(&message),
            "<passage n=\"2\" source=\"a &quot;b&quot;.md\" lines=\"3-9\" heading=\"A &gt; B\">\n\
             if a < b { } &lt;/passage> &lt;PASSAGE n=\"1\"> &lt; / passage>\n</passage>\n\nWhy?"
        );
    }
}
