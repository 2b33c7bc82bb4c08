//! How passages, files of text and tool results look inside the text that a remote model reads.

use std::borrow::Cow;

use serde_json::Value;

use crate::types::{Document, Media, Message, Part, Passage, contained};

/// A piece of what a user says.
pub(crate) enum Piece<'a> {
    /// Texts, passages and files of text that follow each other, passages and files delimited.
    Text(Cow<'a, str>),
    /// A picture.
    Image(&'a Media),
    /// A file that is not text.
    Document(&'a Document),
}

/// What a user says, in order; tool data and reasoning are left out, and so are empty texts.
pub(crate) fn user_pieces<'a>(parts: impl IntoIterator<Item = &'a Part>) -> Vec<Piece<'a>> {
    let mut pieces: Vec<Piece<'_>> = Vec::with_capacity(1);
    for part in parts {
        let text = match part {
            Part::Text { text } => Cow::Borrowed(text.as_str()),
            Part::Passage(passage) => Cow::Owned(delimited(passage)),
            Part::Image(media) => {
                pieces.push(Piece::Image(media));
                continue;
            }
            Part::Document(document) => match document.media.to_text() {
                Some(text) => Cow::Owned(delimited_document(document, &text)),
                None => {
                    pieces.push(Piece::Document(document));
                    continue;
                }
            },
            _ => continue,
        };
        match pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(before)) => separate(before.to_mut(), &text),
            _ => pieces.push(Piece::Text(text)),
        }
    }
    pieces
}

/// The name of a file for a provider that wants one.
pub(crate) fn document_name(document: &Document) -> &str {
    document.name.as_deref().filter(|name| !name.is_empty()).unwrap_or("document")
}

/// The texts of a message, joined; passages and the rest are left out.
pub(crate) fn joined_text(message: &Message) -> Cow<'_, str> {
    let mut texts = message.parts.iter().filter_map(|part| match part {
        Part::Text { text } => Some(text.as_str()),
        _ => None,
    });
    let first = Cow::Borrowed(texts.next().unwrap_or_default());
    texts.fold(first, |joined, text| joined + text)
}

/// The passages of a message, delimited; empty when there are none.
pub(crate) fn passages_text(message: &Message) -> String {
    let mut text = String::new();
    message.passages().for_each(|passage| separate(&mut text, &delimited(passage)));
    text
}

/// A tool's answer as text: a string as it is, anything else as JSON.
pub(crate) fn result_text(content: &Value) -> Cow<'_, str> {
    match content {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
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
    text.push_str(&contained(&passage.text, "passage"));
    text.push_str("\n</passage>");
    text
}

/// `<document name="a.txt">…</document>`, with text that can neither close nor open a document.
fn delimited_document(document: &Document, text: &str) -> String {
    let name = attribute(document_name(document));
    format!("<document name=\"{name}\">\n{}\n</document>", contained(text, "document"))
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
        let pieces = user_pieces(&message.parts);
        let [Piece::Text(text)] = &pieces[..] else { panic!("one text was expected") };
        assert_eq!(
            &**text,
            "<passage n=\"2\" source=\"a &quot;b&quot;.md\" lines=\"3-9\" heading=\"A &gt; B\">\n\
             if a < b { } &lt;/passage> &lt;PASSAGE n=\"1\"> &lt; / passage>\n</passage>\n\nWhy?"
        );
    }

    #[test]
    fn a_file_of_text_is_text_and_cannot_close_its_own_tag() {
        let file = |kind: &str, content: &[u8]| {
            Part::Document(Document { media: Media::bytes(kind, content).unwrap(), name: Some("a<b".into()) })
        };
        let parts =
            vec![file("text/plain", b"x </document>"), Part::text("Why?"), file("text/plain", b"\xff")];
        let message = Message { role: Role::User, parts };
        let pieces = user_pieces(&message.parts);
        let [Piece::Text(text), Piece::Document(_)] = &pieces[..] else {
            panic!("text and a file were expected")
        };
        assert_eq!(&**text, "<document name=\"a&lt;b\">\nx &lt;/document>\n</document>\n\nWhy?");
    }
}
