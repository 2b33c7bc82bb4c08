//! HTML to Markdown, and one section of it.

use std::{
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
};

use htmd::{Element, HtmlToMarkdown, Node, element_handler::Handlers};
use html5ever::{
    ParseOpts, parse_document,
    tendril::{StrTendril, TendrilSink as _},
    tree_builder::TreeSink as _,
};
use markup5ever_rcdom::RcDom;
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::error::{Error, ErrorKind, Result};

/// How deep elements may be nested.
const MAX_DEPTH: usize = 200;
/// How many elements and texts a page may have.
const MAX_NODES: usize = 200_000;
/// How much is parsed between two looks at the tree, in bytes.
const PIECE: usize = 4096;
/// How many headings an error lists.
const MAX_LISTED: usize = 40;

/// Elements whose text is not for readers.
const SKIPPED: [&str; 11] =
    ["script", "style", "noscript", "template", "svg", "iframe", "object", "nav", "form", "button", "canvas"];

/// A page's text.
#[derive(Debug)]
pub(super) struct Text {
    /// The title of a page of HTML.
    pub(super) title: Option<String>,
    /// Markdown for HTML, else the text as it came.
    pub(super) text: String,
    /// Whether the page was too large or nested too deep, and what follows was left out.
    pub(super) cut: bool,
}

/// The Markdown of HTML.
pub(super) fn from_html(html: &str) -> Text {
    let title = Arc::new(Mutex::new(None));
    let found = Arc::clone(&title);
    let converter = HtmlToMarkdown::builder()
        .skip_tags(SKIPPED.to_vec())
        .add_handler(vec!["title"], move |handlers: &dyn Handlers, element: Element<'_>| {
            let words = handlers.walk_children(element.node).content;
            let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
            found.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(words);
            None
        })
        .build();
    let (tree, cut) = tree(html);
    let text = converter.tree_to_markdown(&tree);
    let title = title.lock().unwrap_or_else(PoisonError::into_inner).take();
    Text { title: title.filter(|words| !words.is_empty()), text, cut }
}

/// The elements of HTML, and whether there were too many of them.
///
/// The parser looks through all open elements at many a tag, and some tags repeat all that are open: without bounds a
/// small page takes minutes and all memory.
fn tree(html: &str) -> (Rc<Node>, bool) {
    let mut parser = parse_document(RcDom::default(), ParseOpts::default());
    let document = parser.tokenizer.sink.sink.get_document();
    let mut rest = html;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(rest.ceil_char_boundary(PIECE));
        parser.process(StrTendril::from_slice(piece));
        if !measure(&document).fits() {
            prune(&document);
            return (document, true);
        }
        rest = behind;
    }
    parser.finish();
    (document, false)
}

/// How large a tree is.
#[derive(Clone, Copy)]
struct Size {
    nodes: usize,
    depth: usize,
}

impl Size {
    fn fits(self) -> bool {
        self.nodes <= MAX_NODES && self.depth <= MAX_DEPTH
    }
}

fn measure(root: &Rc<Node>) -> Size {
    let mut size = Size { nodes: 0, depth: 0 };
    walk(root, |_, depth| {
        size = Size { nodes: size.nodes.saturating_add(1), depth: size.depth.max(depth) };
    });
    size
}

/// Cuts what is nested too deep: the converter calls itself for each level.
fn prune(root: &Rc<Node>) {
    walk(root, |node, depth| {
        if depth >= MAX_DEPTH {
            node.children.borrow_mut().clear();
        }
    });
}

/// Visits all nodes, without a call for each level.
fn walk(root: &Rc<Node>, mut visit: impl FnMut(&Node, usize)) {
    let mut open = vec![(Rc::clone(root), 0_usize)];
    while let Some((node, depth)) = open.pop() {
        visit(&node, depth);
        let children = node.children.borrow();
        open.extend(children.iter().map(|child| (Rc::clone(child), depth.saturating_add(1))));
    }
}

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
    fn html_becomes_markdown_without_what_is_not_for_readers() {
        let html = "<html><head><title> A  shop </title><style>p{}</style></head><body><nav>menu</nav>\
            <h1>Prices</h1><p>See <a href='/b'>the list</a>.</p><script>alert(1)</script>\
            <table><tr><th>Plan</th></tr><tr><td>Basic</td></tr></table></body></html>";
        let page = from_html(html);
        assert_eq!(page.title.as_deref(), Some("A shop"));
        assert!(page.text.starts_with("# Prices\n\nSee [the list](/b)."), "{}", page.text);
        assert!(page.text.contains("| Basic"), "{}", page.text);
        for gone in ["menu", "alert", "p{}", "A  shop"] {
            assert!(!page.text.contains(gone), "{}", page.text);
        }
    }

    #[test]
    fn a_page_that_is_nested_or_repeats_itself_without_end_is_cut() {
        let bold: String = (0..250).map(|n| format!("<b id={n}>")).collect();
        for tail in
            ["<div>".repeat(100_000), "<span>".repeat(100_000), format!("{bold}{}", "<p>x".repeat(100_000))]
        {
            let page = from_html(&format!("<p>start</p>{tail}"));
            assert!(page.cut && page.text.starts_with("start"), "{:.80}", page.text);
        }
        assert!(!from_html(&"<p>a <b>b</b></p>".repeat(1000)).cut);
    }

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
