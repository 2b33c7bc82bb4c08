//! `Scan`: the words of a template's tags with their places, which the engine tells only for its first problem.

use std::ops::Range;

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Name,
    Text,
    Sign,
}

#[derive(Clone, Debug)]
struct Word {
    kind: Kind,
    at: Range<usize>,
}

/// One `{{ … }}` or `{% … %}`.
#[derive(Clone, Debug)]
struct Tag {
    is_block: bool,
    words: Vec<Word>,
}

/// The tags of a template, without comments and raw blocks.
#[derive(Clone, Debug)]
pub(crate) struct Scan<'a> {
    source: &'a str,
    tags: Vec<Tag>,
}

impl<'a> Scan<'a> {
    /// Reads the tags; a tag that does not end is left out, since the engine refuses it anyway.
    pub(crate) fn new(source: &'a str) -> Self {
        let mut scan = Self { source, tags: Vec::new() };
        let mut at = 0;
        while let Some(open) = source.get(at..).and_then(|rest| rest.find('{')).map(|found| at + found) {
            let rest = source.get(open..).unwrap_or_default();
            at = if rest.starts_with("{#") {
                rest.find("#}").map_or(source.len(), |end| open + end + 2)
            } else if rest.starts_with("{{") || rest.starts_with("{%") {
                scan.tag(open, rest.starts_with("{%"))
            } else {
                open + 1
            };
        }
        scan
    }

    /// Reads one tag and returns where the text goes on.
    fn tag(&mut self, open: usize, is_block: bool) -> usize {
        let end = if is_block { "%}" } else { "}}" };
        let (mut words, mut at, mut depth) = (Vec::new(), open + 2, 0_usize);
        loop {
            let rest = self.source.get(at..).unwrap_or_default();
            let Some(first) = rest.chars().next() else { return self.source.len() };
            // Braces of a dictionary may stand right before the end of the tag.
            if rest.starts_with(end) && (is_block || depth == 0) {
                break;
            }
            let (kind, length) = match first {
                '"' | '\'' => (Kind::Text, text_length(rest, first)),
                c if c.is_alphanumeric() || c == '_' => {
                    (Kind::Name, length_while(rest, |c| c.is_alphanumeric() || c == '_'))
                }
                c => (Kind::Sign, c.len_utf8()),
            };
            match first {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if !first.is_whitespace() {
                words.push(Word { kind, at: at..at + length });
            }
            at += length;
        }
        at += 2;
        // Signs of white space control belong to the tag and not to what it says.
        if words.first().is_some_and(|word| matches!(self.text(word), "-" | "+") && word.at.start == open + 2)
        {
            words.remove(0);
        }
        if words.last().is_some_and(|word| matches!(self.text(word), "-" | "+") && word.at.end + 2 == at) {
            words.pop();
        }
        let is_raw = is_block && words.first().is_some_and(|word| self.text(word) == "raw");
        self.tags.push(Tag { is_block, words });
        if is_raw { self.raw_end(at) } else { at }
    }

    fn raw_end(&self, from: usize) -> usize {
        let mut at = from;
        while let Some(open) =
            self.source.get(at..).and_then(|rest| rest.find("{%")).map(|found| at + found + 2)
        {
            let inner = self.source.get(open..).unwrap_or_default();
            let inner = inner.trim_start_matches(['-', '+']).trim_start();
            if inner.starts_with("endraw") {
                return self
                    .source
                    .get(open..)
                    .and_then(|rest| rest.find("%}"))
                    .map_or(open, |end| open + end + 2);
            }
            at = open;
        }
        self.source.len()
    }

    fn text(&self, word: &Word) -> &'a str {
        self.source.get(word.at.clone()).unwrap_or_default()
    }

    /// Every text that the author wrote in a tag; one with escapes is left out.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &'a str> {
        let words = self.tags.iter().flat_map(|tag| &tag.words).filter(|word| word.kind == Kind::Text);
        words.filter_map(|word| unquoted(self.text(word)))
    }

    /// Where a variable, or a field such as `profile.name`, is read first.
    pub(crate) fn variable(&self, path: &str) -> Option<usize> {
        let parts: Vec<&str> = path.split('.').collect();
        self.tags.iter().find_map(|tag| {
            (0..tag.words.len()).find_map(|first| {
                let is_start = match first.checked_sub(1).and_then(|before| tag.words.get(before)) {
                    Some(before) => !matches!(self.text(before), "." | "|"),
                    None => !tag.is_block,
                };
                let matches = parts.iter().enumerate().all(|(step, part)| {
                    let word = tag.words.get(first + 2 * step);
                    let dot =
                        step == 0 || tag.words.get(first + 2 * step - 1).is_some_and(|w| self.text(w) == ".");
                    dot && word.is_some_and(|word| word.kind == Kind::Name && self.text(word) == *part)
                });
                let word = tag.words.get(first)?;
                (is_start && matches).then_some(word.at.start)
            })
        })
    }

    /// The filters that are named, with their places.
    pub(crate) fn filters(&self) -> Vec<(&'a str, usize)> {
        self.named(|before, tag| match before {
            Some("|") => true,
            Some("filter") => tag.is_block,
            _ => false,
        })
    }

    /// The tests that are named, with their places.
    pub(crate) fn tests(&self) -> Vec<(&'a str, usize)> {
        let mut found = Vec::new();
        for tag in &self.tags {
            let mut words = tag.words.iter().peekable();
            while let Some(word) = words.next() {
                if word.kind != Kind::Name || self.text(word) != "is" {
                    continue;
                }
                if words.peek().is_some_and(|next| self.text(next) == "not") {
                    words.next();
                }
                if let Some(name) = words.peek().filter(|next| next.kind == Kind::Name) {
                    found.push((self.text(name), name.at.start));
                }
            }
        }
        found
    }

    /// The templates that are included or imported, with their places; `Err` is the place of one that is computed.
    pub(crate) fn includes(&self) -> Vec<Result<(&'a str, usize), usize>> {
        let mut found = Vec::new();
        for tag in self.tags.iter().filter(|tag| tag.is_block) {
            let Some(keyword) = tag.words.first() else { continue };
            if !matches!(self.text(keyword), "include" | "import" | "from" | "extends") {
                continue;
            }
            let names = tag.words.iter().skip(1).take_while(|word| {
                word.kind == Kind::Text || matches!(self.text(word), "[" | "]" | "," | "(" | ")")
            });
            let names: Vec<_> = names.filter(|word| word.kind == Kind::Text).collect();
            if names.is_empty() {
                found.push(Err(keyword.at.start));
            }
            found.extend(names.into_iter().map(|word| {
                unquoted(self.text(word)).map(|name| (name, word.at.start)).ok_or(word.at.start)
            }));
        }
        found
    }

    fn named(&self, is_name: impl Fn(Option<&str>, &Tag) -> bool) -> Vec<(&'a str, usize)> {
        let mut found = Vec::new();
        for tag in &self.tags {
            let mut before = None;
            for word in &tag.words {
                if word.kind == Kind::Name && is_name(before, tag) {
                    found.push((self.text(word), word.at.start));
                }
                before = Some(self.text(word));
            }
        }
        found
    }

    /// Where the list of each `for` begins and ends.
    fn loops(&self) -> Vec<Range<usize>> {
        let is_loop =
            |tag: &&Tag| tag.is_block && tag.words.first().is_some_and(|word| self.text(word) == "for");
        self.tags.iter().filter(is_loop).filter_map(|tag| self.list_of(tag)).collect()
    }

    fn list_of(&self, tag: &Tag) -> Option<Range<usize>> {
        let begin = tag.words.iter().position(|word| self.text(word) == "in")? + 1;
        let mut depth = 0_usize;
        let mut end = None;
        for word in tag.words.iter().skip(begin) {
            match self.text(word) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                "if" | "recursive" if depth == 0 => break,
                _ => {}
            }
            end = Some(word.at.end);
        }
        Some(tag.words.get(begin)?.at.start..end?)
    }

    /// The places of signs such as in `+3`, which the engine does not read.
    fn plus_signs(&self) -> Vec<usize> {
        let mut found = Vec::new();
        for tag in &self.tags {
            let mut before: Option<&Word> = None;
            for word in &tag.words {
                let is_start = before.is_none_or(|before| {
                    before.kind == Kind::Sign && !matches!(self.text(before), ")" | "]" | "}")
                });
                if self.text(word) == "+" && is_start && !tag.is_block {
                    found.push(word.at.start);
                }
                before = Some(word);
            }
        }
        found
    }
}

/// The template as it is handed to the engine: a loop over `none` becomes an error, as it is in Jinja, and a sign
/// before a number is left out; lines stay what they are.
pub(crate) fn guarded(source: &str) -> String {
    let scan = Scan::new(source);
    let mut edits: Vec<(Range<usize>, &str)> = Vec::new();
    for list in scan.loops() {
        edits.push((list.start..list.start, "("));
        edits.push((list.end..list.end, ")|iterable__"));
    }
    edits.extend(scan.plus_signs().into_iter().map(|at| (at..at + 1, " ")));
    edits.sort_by_key(|(at, _)| at.start);
    let (mut text, mut from) = (String::with_capacity(source.len() + 16), 0);
    for (at, new) in edits {
        text.push_str(source.get(from..at.start).unwrap_or_default());
        text.push_str(new);
        from = at.end;
    }
    text.push_str(source.get(from..).unwrap_or_default());
    text
}

fn length_while(text: &str, is_part: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is_part(c)).unwrap_or(text.len())
}

/// How long a quoted text is, quotes included.
fn text_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn unquoted(text: &str) -> Option<&str> {
    let inner = text.get(1..text.len().checked_sub(1)?)?;
    (!inner.contains('\\')).then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_where_they_are_read() {
        let source = "{# a #}{% raw %}{{ b }}{% endraw %}{{ x.a }}\n{%- if a is not defined -%}{{ a|upper }}{% endif %}";
        let scan = Scan::new(source);
        assert_eq!(scan.variable("a").map(|at| &source[at..at + 5]), Some("a is "));
        assert_eq!(scan.variable("b"), None);
        assert!(scan.variable("x.a").is_some() && scan.variable("x.b").is_none());
        assert_eq!(scan.filters().iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["upper"]);
        assert_eq!(scan.tests().iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["defined"]);
    }

    #[test]
    fn braces_and_quotes_inside_a_tag_do_not_end_it() {
        let scan = Scan::new("{{ {'a': {'b': '}}'}} }}{% include \"x.md\" %}{% include y %}");
        assert_eq!(scan.texts().collect::<Vec<_>>(), ["a", "b", "}}", "x.md"]);
        assert!(matches!(scan.includes()[..], [Ok(("x.md", _)), Err(_)]));
    }

    #[test]
    fn lists_of_loops_are_guarded_and_the_rest_stays() {
        let source =
            "{% for a, b in x if a %}{{ +1 }}{{ 2 + 3 }}{% endfor %}{% for c in d(1, [2]) recursive %}";
        let expected = "{% for a, b in (x)|iterable__ if a %}{{  1 }}{{ 2 + 3 }}{% endfor %}{% for c in (d(1, [2]))|iterable__ recursive %}";
        assert_eq!(guarded(source), expected);
        assert_eq!(guarded("no tags, { or } or {"), "no tags, { or } or {");
    }
}
