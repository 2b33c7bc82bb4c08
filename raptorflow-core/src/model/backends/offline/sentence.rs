//! Takes sentences out of Markdown: prose and list items, without code, tables, headings and bare links.

use unicode_segmentation::UnicodeSegmentation as _;

/// Ends of words after which a full stop rarely ends a sentence.
const ABBREVIATIONS: [&str; 22] = [
    "e.g.", "i.e.", "etc.", "vs.", "cf.", "ca.", "approx.", "al.", "fig.", "eq.", "sec.", "no.", "vol.",
    "pp.", "dr.", "mr.", "mrs.", "ms.", "prof.", "st.", "inc.", "rs.",
];

/// The sentences of a Markdown text in order, with white space folded and nothing else changed.
pub(super) fn sentences(markdown: &str) -> Vec<String> {
    blocks(markdown).iter().flat_map(|block| split(block)).collect()
}

/// Every line that holds anything, with white space folded; for passages without a single sentence.
pub(super) fn lines(markdown: &str) -> Vec<String> {
    markdown.lines().map(fold).filter(|line| line.chars().any(char::is_alphanumeric)).collect()
}

/// Paragraphs and list items, each on one line.
fn blocks(markdown: &str) -> Vec<String> {
    let mut blocks = Blocks::default();
    let mut fence: Option<char> = None;
    let mut lines = markdown.lines().peekable();
    if lines.peek().is_some_and(|line| line.trim_end() == "---") {
        skip_front_matter(&mut lines, markdown);
    }
    for line in lines {
        let text = strip_quote(line);
        if let Some(mark) = fence_mark(text) {
            blocks.close();
            fence = match fence {
                Some(open) if open == mark => None,
                None => Some(mark),
                open => open,
            };
        } else if fence.is_some() {
            continue;
        } else if is_underline(text) {
            // The paragraph above was a heading.
            blocks.open.clear();
        } else if text.is_empty() || is_furniture(text) {
            blocks.close();
            blocks.in_list &= text.is_empty();
        } else if is_indented(line) && blocks.open.is_empty() && !blocks.in_list {
            continue;
        } else if let Some(item) = list_item(text) {
            blocks.close();
            blocks.in_list = true;
            if !is_furniture(item) {
                blocks.add(item);
            }
        } else {
            blocks.in_list &= is_indented(line) || !blocks.open.is_empty();
            blocks.add(text);
        }
    }
    blocks.close();
    blocks.done
}

#[derive(Default)]
struct Blocks {
    done: Vec<String>,
    open: String,
    in_list: bool,
}

impl Blocks {
    fn add(&mut self, text: &str) {
        for word in text.split_whitespace() {
            if !self.open.is_empty() {
                self.open.push(' ');
            }
            self.open.push_str(word);
        }
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.done.push(std::mem::take(&mut self.open));
        }
    }
}

fn skip_front_matter<'a>(lines: &mut impl Iterator<Item = &'a str>, markdown: &str) {
    // Without a closing line it was a rule, and the text below counts.
    if markdown.lines().skip(1).any(|line| line.trim_end() == "---") {
        let _ = lines.skip(1).find(|line| line.trim_end() == "---");
    }
}

fn strip_quote(line: &str) -> &str {
    let mut text = line.trim();
    while let Some(rest) = text.strip_prefix('>') {
        text = rest.trim_start();
    }
    text
}

fn fence_mark(text: &str) -> Option<char> {
    ['`', '~'].into_iter().find(|mark| text.chars().take_while(|c| c == mark).count() >= 3)
}

fn is_underline(text: &str) -> bool {
    text.len() >= 2 && (text.bytes().all(|b| b == b'=') || text.bytes().all(|b| b == b'-'))
}

fn is_indented(line: &str) -> bool {
    line.starts_with('\t') || line.starts_with("    ")
}

/// The text behind `- `, `* `, `+ `, `1. ` or `1) `, without a task's check box.
fn list_item(text: &str) -> Option<&str> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = if digits == 0 {
        text.strip_prefix(['-', '*', '+', '•'])?
    } else if digits <= 4 {
        text.get(digits..)?.strip_prefix(['.', ')'])?
    } else {
        return None;
    };
    let item = rest.strip_prefix([' ', '\t'])?.trim_start();
    let boxed = ["[ ] ", "[x] ", "[X] "].into_iter().find_map(|mark| item.strip_prefix(mark));
    Some(boxed.unwrap_or(item))
}

/// Whether a line is a heading, table, rule, directive, bare link or markup instead of prose.
fn is_furniture(text: &str) -> bool {
    is_heading(text)
        || text.starts_with('|')
        || text.matches(" | ").count() >= 2
        || (text.starts_with('<') && text.ends_with('>'))
        || [".. ", "!!! ", "??? ", ":::", "[!", "{{", "{%", "import ", "@"]
            .iter()
            .any(|mark| text.starts_with(mark))
        || is_field(text)
        || !text.chars().any(char::is_alphabetic)
        || is_only_links(text)
}

fn is_heading(text: &str) -> bool {
    let rest = text.trim_start_matches('#');
    (1..=6).contains(&(text.len() - rest.len())) && (rest.is_empty() || rest.starts_with([' ', '\t']))
}

/// `:name: value` of reStructuredText and AsciiDoc, and `[name]: target` of Markdown.
fn is_field(text: &str) -> bool {
    let named = |rest: &str, end: &str| {
        rest.find(end).is_some_and(|at| at > 0 && rest.get(..at).is_some_and(|name| !name.contains(' ')))
    };
    text.strip_prefix(':').is_some_and(|rest| named(rest, ": "))
        || text.strip_prefix('[').is_some_and(|rest| rest.contains("]: "))
}

/// Whether nothing but at most two words is left without links, images and addresses.
fn is_only_links(text: &str) -> bool {
    if !text.contains("://") && !text.contains("](") {
        return false;
    }
    let mut rest = String::new();
    let mut tail = text;
    while let Some((before, after)) = tail.split_once('[') {
        let Some((_, target)) = after.split_once("](") else { break };
        rest.push_str(before.trim_end_matches('!'));
        tail = target.split_once(')').map_or("", |(_, left)| left);
    }
    rest.push_str(tail);
    let words = rest
        .split_whitespace()
        .filter(|word| !word.contains("://") && word.chars().any(char::is_alphanumeric));
    words.count() <= 2
}

/// Sentences of one line of prose.
///
/// The boundaries are Unicode's (UAX 29); pieces are joined again where a boundary lies after an abbreviation
/// or inside brackets, quotation or code.
fn split(block: &str) -> Vec<String> {
    let mut sentences: Vec<String> = Vec::new();
    let mut open = String::new();
    for piece in block.split_sentence_bounds() {
        open.push_str(piece);
        if !ends_with_abbreviation(&open) && is_balanced(&open) {
            sentences.push(std::mem::take(&mut open).trim().to_owned());
        }
    }
    if !open.trim().is_empty() {
        // A bracket that is never closed must not glue the rest of the paragraph together.
        sentences.extend(open.split_sentence_bounds().map(|piece| piece.trim().to_owned()));
    }
    sentences.retain(|sentence| sentence.chars().any(char::is_alphanumeric));
    sentences
}

fn ends_with_abbreviation(text: &str) -> bool {
    let Some(word) = text.split_whitespace().next_back() else { return false };
    let word = word.trim_start_matches(['(', '[', '"', '*', '_']);
    // A single capital with a stop is an initial: "J. Smith".
    let initial =
        word.len() == 2 && word.starts_with(|c: char| c.is_ascii_uppercase()) && word.ends_with('.');
    initial || ABBREVIATIONS.iter().any(|known| word.eq_ignore_ascii_case(known))
}

fn is_balanced(text: &str) -> bool {
    let (mut round, mut square, mut ticks, mut stars) = (0_i32, 0_i32, 0_u32, 0_u32);
    let mut previous = ' ';
    for c in text.chars() {
        match c {
            '`' => ticks += 1,
            '(' => round += 1,
            ')' => round -= 1,
            '[' => square += 1,
            ']' => square -= 1,
            '*' if previous == '*' => stars += 1,
            _ => {}
        }
        previous = if c == '*' && previous == '*' { ' ' } else { c };
    }
    round <= 0 && square <= 0 && ticks % 2 == 0 && stars % 2 == 0
}

fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.push_str(word);
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(markdown: &str, expected: &[&str]) {
        assert_eq!(sentences(markdown), expected, "{markdown}");
    }

    #[test]
    fn prose_is_split_and_white_space_folded() {
        check("One is\n  here. Two is   there!", &["One is here.", "Two is there!"]);
        check(
            "Use e.g. SQLite, i.e. a file. J. Smith said so.",
            &["Use e.g. SQLite, i.e. a file.", "J. Smith said so."],
        );
        check(
            "Set it (see below. There) first. Call `a. B` then.",
            &["Set it (see below. There) first.", "Call `a. B` then."],
        );
        check(
            "An open ( bracket. Does not swallow. The rest",
            &["An open ( bracket.", "Does not swallow.", "The rest"],
        );
        check(
            "Version 1.2.3 is out. यह ठीक है। दूसरा वाक्य।",
            &["Version 1.2.3 is out.", "यह ठीक है।", "दूसरा वाक्य।"],
        );
    }

    #[test]
    fn list_items_stand_alone_without_their_markers() {
        check(
            "Intro:\n- first item\n  goes on\n* [x] second\n1. third\n2) fourth",
            &["Intro:", "first item goes on", "second", "third", "fourth"],
        );
        check("> - quoted item\n> goes on", &["quoted item goes on"]);
    }

    #[test]
    fn code_tables_headings_and_bare_links_are_left_out() {
        check("# Title\n\nText.\n\n```rust\nlet x = 1; // No. Not this.\n```\nMore.", &["Text.", "More."]);
        check("~~~\n```\nstill code\n~~~\nText.", &["Text."]);
        check("Heading\n=======\nText.\n\nOther\n-----\n", &["Text."]);
        check("| a | b |\n|---|---|\n| c | d |\n\nText.", &["Text."]);
        check("Text.\n\n    indented code\n\nMore.", &["Text.", "More."]);
        check(
            "- [Guide](https://a.b/c)\n- https://a.b\n![logo](x.png)\n[ref]: https://a.b\nText.",
            &["Text."],
        );
        check(
            "See [the guide](https://a.b/c) for how to begin.",
            &["See [the guide](https://a.b/c) for how to begin."],
        );
        check("---\ntitle: x\n---\nText.\n\n---\n\n<br>\n\nMore.", &["Text.", "More."]);
        check(".. note::\n:field: value\n!!! warning\n\nText.", &["Text."]);
    }

    #[test]
    fn every_sentence_is_a_verbatim_part_of_the_folded_text() {
        let text = "A **bold. Claim** here. \"Quoted. Words\" too (and. more).\n\n* item one. Item two";
        let folded = fold(text);
        assert!(sentences(text).iter().all(|sentence| folded.contains(sentence.as_str())));
    }
}
