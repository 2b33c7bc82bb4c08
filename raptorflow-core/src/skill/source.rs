//! `Source`: a file of a skill, split into front matter and body, and the body into sections.

use crate::types::Diagnostic;

/// What separates front matter from the body.
const FENCE: &str = "---";

/// A file split in two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source<'a> {
    pub(super) front: &'a str,
    /// The line of the file on which the front matter begins.
    pub(super) front_line: u32,
    pub(super) body: &'a str,
    pub(super) body_line: u32,
}

/// A piece of the body from one heading of the first two levels to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Section<'a> {
    /// The heading without its signs; empty before the first.
    pub(super) title: &'a str,
    /// The text, heading included.
    pub(super) text: &'a str,
    /// The line of the file on which it begins.
    pub(super) line: u32,
}

/// Splits a file; a byte order mark is skipped.
pub(super) fn split(text: &str) -> Result<Source<'_>, Diagnostic> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.split_inclusive('\n');
    let first = lines.next().unwrap_or_default();
    if first.trim_end() != FENCE {
        let message = "the file does not begin with front matter; expected `---` on the first line";
        return Err(Diagnostic::error("no_front_matter", message).at(1, 1));
    }
    let (mut at, mut line) = (first.len(), 2_u32);
    for content in lines {
        if content.trim_end() == FENCE {
            return Ok(Source {
                front: text.get(first.len()..at).unwrap_or_default(),
                front_line: 2,
                body: text.get(at + content.len()..).unwrap_or_default(),
                body_line: line + 1,
            });
        }
        at += content.len();
        line = line.saturating_add(1);
    }
    Err(Diagnostic::error("open_front_matter", "the front matter does not end; expected a line `---`")
        .at(1, 1))
}

/// The sections of a body, in order; a heading inside a block of code is text.
pub(super) fn sections<'a>(body: &'a str, body_line: u32) -> Vec<Section<'a>> {
    let mut sections = Vec::new();
    let (mut start, mut start_line, mut title) = (0, body_line, "");
    let (mut at, mut line, mut code) = (0, body_line, None::<&str>);
    let mut push = |from: usize, to: usize, line: u32, title: &'a str| {
        let text = body.get(from..to).unwrap_or_default();
        if !text.trim().is_empty() {
            let blank = text.len() - text.trim_start_matches(['\r', '\n']).len();
            let skipped = text.get(..blank).unwrap_or_default().matches('\n').count();
            sections.push(Section {
                title,
                text: text.trim_start_matches(['\r', '\n']).trim_end(),
                line: line.saturating_add(u32::try_from(skipped).unwrap_or(u32::MAX)),
            });
        }
    };
    for content in body.split_inclusive('\n') {
        let trimmed = content.trim_start();
        match code {
            Some(fence) if trimmed.starts_with(fence) => code = None,
            Some(_) => {}
            None if trimmed.starts_with("```") => code = Some("```"),
            None if trimmed.starts_with("~~~") => code = Some("~~~"),
            None => {
                if let Some(heading) = heading(content) {
                    push(start, at, start_line, title);
                    (start, start_line, title) = (at, line, heading);
                }
            }
        }
        at += content.len();
        line = line.saturating_add(1);
    }
    push(start, body.len(), start_line, title);
    sections
}

/// The text of a heading of the first two levels.
fn heading(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("##").or_else(|| line.strip_prefix('#'))?;
    rest.starts_with([' ', '\t']).then(|| rest.trim().trim_end_matches('#').trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_matter_and_body_know_their_lines() {
        let source = split("\u{feff}---\r\na: 1\r\n---\r\n# B\r\n").unwrap();
        assert_eq!((source.front, source.front_line), ("a: 1\r\n", 2));
        assert_eq!((source.body, source.body_line), ("# B\r\n", 4));
        assert_eq!(split("# B").unwrap_err().code, "no_front_matter");
        assert_eq!(split("---\na: 1\n").unwrap_err().code, "open_front_matter");
    }

    #[test]
    fn sections_begin_at_headings_outside_code() {
        let body = "\nintro\n\n# One\n\n```\n# no\n```\n### deeper\n## Two ##\nx\n";
        let found: Vec<_> =
            sections(body, 5).into_iter().map(|it| (it.title, it.line, it.text.lines().count())).collect();
        assert_eq!(found, [("", 6, 1), ("One", 8, 6), ("Two", 14, 2)]);
    }
}
