//! HTML to Markdown within bounds: a small page cannot take minutes or all memory.

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

/// How deep elements may be nested.
const MAX_DEPTH: usize = 200;
/// How many elements and texts a page may have.
const MAX_NODES: usize = 200_000;
/// How much is parsed between two looks at the tree, in bytes.
const PIECE: usize = 4096;
/// Elements whose text is not for readers.
const SKIPPED: [&str; 11] =
    ["script", "style", "noscript", "template", "svg", "iframe", "object", "nav", "form", "button", "canvas"];

/// A page's text.
#[derive(Debug)]
pub(crate) struct HtmlText {
    /// The title of a page of HTML.
    pub(crate) title: Option<String>,
    /// Markdown for HTML, else the text as it came.
    pub(crate) text: String,
    /// Whether the page was too large or nested too deep, and what follows was left out.
    pub(crate) cut: bool,
}

/// The Markdown of HTML.
pub(crate) fn from_html(html: &str) -> HtmlText {
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
    HtmlText { title: title.filter(|words| !words.is_empty()), text, cut }
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
}
