//! One section of a Markdown text.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::error::{Error, ErrorKind, Result};

/// How many headings an error lists.
const MAX_LISTED: usize = 40;

/// A heading of a Markdown text: its level, its words and where it begins.
struct Heading {
    level: HeadingLevel,
    words: String,
    start: usize,
}

fn headings(text: &str) -> Vec<Heading> {
    let mut found: Vec<Heading> = Vec::new();
    let mut inside = false;
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                inside = true;
                found.push(Heading { level, words: String::new(), start: range.start });
            }
            Event::End(TagEnd::Heading(_)) => inside = false,
            Event::Text(words) | Event::Code(words) if inside => {
                if let Some(last) = found.last_mut() {
                    last.words.push_str(&words);
                }
            }
            _ => {}
        }
    }
    found
}

/// The part of a Markdown text under a heading, up to the next one of its level.
///
/// The heading is found by its words, in any case; the first that has them exactly, else the first that contains them.
///
/// # Errors
/// `NotFound` that lists the headings.
pub(super) fn section<'a>(text: &'a str, heading: &str) -> Result<&'a str> {
    let wanted = heading.trim().trim_start_matches('#').trim().to_lowercase();
    let headings = headings(text);
    let has = |test: &dyn Fn(&str) -> bool| {
        headings.iter().position(|one| test(one.words.trim().to_lowercase().as_str()))
    };
    let found = has(&|words| words == wanted).or_else(|| has(&|words| words.contains(&wanted)));
    let Some((index, found)) = found.and_then(|index| Some((index, headings.get(index)?))) else {
        let known: Vec<&str> = headings.iter().take(MAX_LISTED).map(|one| one.words.trim()).collect();
        return Err(Error::new(ErrorKind::NotFound, "tool.fetch", "the page has no section of this heading")
            .with("section", heading.chars().take(100).collect::<String>())
            .with("known", if known.is_empty() { "none".to_owned() } else { known.join(" | ") }));
    };
    let next = headings.iter().skip(index.saturating_add(1)).find(|one| one.level <= found.level);
    let end = next.map_or(text.len(), |next| next.start);
    Ok(text.get(found.start..end).unwrap_or(text).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_ends_at_the_next_heading_of_its_level_and_code_is_no_heading() {
        let text = "# Top\n\nintro\n\n## Use `it`\n\nfirst\n\n```\n## no heading\n```\n\n### Detail\n\nmore\n\n## Next\n\nlast\n";
        let use_it = "## Use `it`\n\nfirst\n\n```\n## no heading\n```\n\n### Detail\n\nmore";
        assert_eq!(section(text, "use it").unwrap(), use_it);
        assert_eq!(section(text, "## DETAIL").unwrap(), "### Detail\n\nmore");
        assert_eq!(section(text, "nex").unwrap(), "## Next\n\nlast");
        assert_eq!(section(text, "Top").unwrap(), text.trim_end());
        let err = section(text, "Missing").unwrap_err();
        assert_eq!(
            (err.kind(), err.get("known")),
            (ErrorKind::NotFound, Some("Top | Use it | Detail | Next"))
        );
    }
}
