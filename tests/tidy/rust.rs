//! Reading Rust sources as text: comments and strings blanked out, test modules left out, paths and items found.

use std::collections::BTreeSet;

/// What stays when a source is blanked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Code only.
    Code,
    /// Code and the content of string literals.
    CodeAndStrings,
}

/// Replaces comments, and strings unless kept, by spaces; lines stay where they are.
pub(crate) fn blank(text: &str, keep: Keep) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let (end, kept) = token(&chars, at, keep);
        for c in &chars[at..end] {
            out.push(if kept || *c == '\n' { *c } else { ' ' });
        }
        at = end;
    }
    out
}

/// The end of the token at `at`, and whether it stays.
fn token(chars: &[char], at: usize, keep: Keep) -> (usize, bool) {
    let next = chars.get(at + 1).copied();
    let strings = keep == Keep::CodeAndStrings;
    match chars[at] {
        '/' if next == Some('/') => (line_end(chars, at), false),
        '/' if next == Some('*') => (block_end(chars, at), false),
        '"' => (string_end(chars, at + 1), strings),
        '\'' => char_end(chars, at).map_or((at + 1, true), |end| (end, strings)),
        c if c.is_alphanumeric() || c == '_' => {
            let end = word_end(chars, at);
            let word: String = chars[at..end].iter().collect();
            let raw = matches!(word.as_str(), "r" | "br" | "cr").then(|| raw_end(chars, end)).flatten();
            raw.map_or((end, true), |end| (end, strings))
        }
        _ => (at + 1, true),
    }
}

fn line_end(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|c| *c == '\n').map_or(chars.len(), |length| at + length)
}

fn block_end(chars: &[char], at: usize) -> usize {
    let (mut depth, mut end) = (0_usize, at);
    while end < chars.len() {
        match (chars[end], chars.get(end + 1)) {
            ('/', Some('*')) => (depth, end) = (depth + 1, end + 2),
            ('*', Some('/')) if depth == 1 => return end + 2,
            ('*', Some('/')) => (depth, end) = (depth - 1, end + 2),
            _ => end += 1,
        }
    }
    end
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// The end of a character literal; `None` when the quote begins a lifetime.
fn char_end(chars: &[char], at: usize) -> Option<usize> {
    match (chars.get(at + 1)?, chars.get(at + 2)) {
        ('\\', _) => chars[at + 3..].iter().position(|c| *c == '\'').map(|length| at + length + 4),
        (_, Some('\'')) => Some(at + 3),
        _ => None,
    }
}

fn raw_end(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
    (chars.get(at + hashes) == Some(&'"')).then_some(())?;
    let mut end = at + hashes + 1;
    while end < chars.len() {
        let closing = chars[end] == '"'
            && chars[end + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
        end += 1;
        if closing {
            return Some(end + hashes);
        }
    }
    Some(end)
}

fn word_end(chars: &[char], at: usize) -> usize {
    chars[at..]
        .iter()
        .position(|c| !(c.is_alphanumeric() || *c == '_'))
        .map_or(chars.len(), |length| at + length)
}

/// Blanks out `#[cfg(test)]` modules of blanked code.
pub(crate) fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    let mut from = 0;
    while let Some(found) = find_test_module(&out[from..]) {
        let (start, end) = (from + found.0, from + found.1);
        let spaces: String = out[start..end].bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect();
        from = end;
        out.replace_range(start..end, &spaces);
    }
    out
}

fn find_test_module(code: &str) -> Option<(usize, usize)> {
    let start = code.match_indices("#[cfg(").find(|(at, _)| {
        let condition = &code[*at..*at + code[*at..].find(']').unwrap_or(0)];
        words(condition).any(|(_, word)| word == "test") && !words(condition).any(|(_, word)| word == "not")
    })?;
    let open = code[start.0..].find(['{', ';'])? + start.0;
    if code.as_bytes()[open] == b';' {
        return Some((start.0, open + 1));
    }
    Some((start.0, closing(code, open)?))
}

/// The offset after the brace that closes the one at `open`.
pub(crate) fn closing(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return Some(open + at + 1),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The line of an offset, from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// Identifiers and keywords with their offsets.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + code[rest..].find(|c: char| c.is_alphanumeric() || c == '_')?;
        let length = code[start..].find(|c: char| !(c.is_alphanumeric() || c == '_'));
        rest = length.map_or(code.len(), |length| start + length);
        Some((start, &code[start..rest]))
    })
}

/// The first names after `crate::` (or another root) in blanked code, groups opened, with their offsets.
pub(crate) fn names_under<'a>(code: &'a str, root: &'a str) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    for (at, word) in words(code).filter(|(_, word)| *word == root) {
        let after = &code[at + word.len()..];
        let Some(tail) = after.trim_start().strip_prefix("::").map(str::trim_start) else { continue };
        let start = code.len() - tail.len();
        if tail.starts_with('{') {
            found.extend(group(&code[start..closing(code, start).unwrap_or(code.len())], start));
        } else if let Some((offset, name)) = words(tail).next().filter(|(offset, _)| *offset == 0) {
            found.push((start + offset, name));
        }
    }
    found
}

/// The first name of every element of a use group such as `{a, b::{c, d}}`.
fn group(text: &str, base: usize) -> Vec<(usize, &str)> {
    let mut depth = 0;
    let mut starts = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '{' => {
                depth += 1;
                if depth == 1 {
                    starts.push(at + 1);
                }
            }
            '}' => depth -= 1,
            ',' if depth == 1 => starts.push(at + 1),
            _ => {}
        }
    }
    starts
        .into_iter()
        .filter_map(|start| {
            let (offset, name) = words(&text[start..]).next()?;
            text[start..start + offset].trim().is_empty().then_some((base + start + offset, name))
        })
        .collect()
}

/// The names that blanked code defines: items, methods, constants, fields, variants and macros.
pub(crate) fn defined(code: &str, names: &mut BTreeSet<String>) {
    const KEYWORDS: [&str; 10] =
        ["fn", "struct", "enum", "trait", "type", "mod", "const", "static", "union", "macro_rules"];
    let mut earlier = "";
    for (at, word) in words(code) {
        let after = code[at + word.len()..].trim_start();
        let field = earlier == "pub" && after.starts_with(':') && !after.starts_with("::");
        if KEYWORDS.contains(&earlier) || field {
            names.insert(word.to_owned());
        }
        if earlier == "enum"
            && let Some(open) = code[at..].find('{')
            && let Some(end) = closing(code, at + open)
        {
            variants(&code[at + open + 1..end - 1], names);
        }
        earlier = word;
    }
}

fn variants(body: &str, names: &mut BTreeSet<String>) {
    let mut depth = 0;
    let mut top = String::new();
    for c in body.chars() {
        match c {
            '{' | '(' | '[' | '<' => depth += 1,
            '}' | ')' | ']' | '>' => depth -= 1,
            _ if depth == 0 => top.push(c),
            _ => {}
        }
    }
    for variant in top.split(',') {
        names.extend(words(variant).next().map(|(_, name)| name.to_owned()));
    }
}

mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_blanked_and_lines_stay() {
        let text = "let a = \"use crate::x\"; // crate::y\n/* crate::z /* nested */ */ let c = '\"'; let r = r#\"crate::w\"#;\n";
        let code = blank(text, Keep::Code);
        assert!(!code.contains("crate"), "{code}");
        assert_eq!(code.matches('\n').count(), 2);
        assert!(code.contains("let r = "));
    }

    #[test]
    fn strings_can_be_kept() {
        let code = blank("let a = \"kept\"; // gone", Keep::CodeAndStrings);
        assert!(code.contains("kept") && !code.contains("gone"));
    }

    #[test]
    fn lifetimes_are_not_character_literals() {
        assert_eq!(blank("fn f<'a>(x: &'a str) {}", Keep::Code), "fn f<'a>(x: &'a str) {}");
        assert_eq!(blank("let q = '\\''; let n = '\\n';", Keep::Code).matches(';').count(), 2);
    }

    #[test]
    fn grouped_imports_are_opened() {
        let code =
            "use crate::{error::{Error, Result}, storage::KeyValue,\n types};\nlet x = crate::event::Bus;";
        let names: Vec<&str> = names_under(code, "crate").into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["error", "storage", "types", "event"]);
    }

    #[test]
    fn test_modules_are_left_out() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { if x { } }\n}\nfn c() {}\n";
        let library = without_tests(code);
        assert!(library.contains("fn a") && library.contains("fn c") && !library.contains("fn b"));
        assert_eq!(library.matches('\n').count(), 6);
    }

    #[test]
    fn items_fields_and_variants_are_found() {
        let code = "pub struct A { pub field: u8 }\nenum B { One, Two(u8), #[serde(x)] Three { y: u8 } }\nfn go() {}";
        let mut names = BTreeSet::new();
        defined(code, &mut names);
        for name in ["A", "field", "B", "One", "Two", "Three", "go"] {
            assert!(names.contains(name), "{name} of {names:?}");
        }
    }
}
