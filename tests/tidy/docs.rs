//! What the prose names exists: symbols, files, links, commands; and each of its lines is one sentence.

use std::collections::BTreeSet;

use crate::{
    rust,
    tree::{File, fails, files, passes, report},
};

/// Names of other people's code that the prose may use; the first name of a path or a type.
const FOREIGN: [&str; 64] = [
    "AbortController",
    "AbortSignal",
    "Arc",
    "Array",
    "AsyncIterable",
    "Awaitable",
    "BTreeMap",
    "BaseModel",
    "BigInt",
    "Box",
    "Buffer",
    "Callable",
    "Clone",
    "Copy",
    "Date",
    "Debug",
    "Display",
    "Drop",
    "Err",
    "False",
    "Float32Array",
    "Future",
    "HashMap",
    "Infinity",
    "Iterator",
    "JoinSet",
    "KeyError",
    "KeyboardInterrupt",
    "Literal",
    "Map",
    "Mutex",
    "NaN",
    "None",
    "Number",
    "OSError",
    "Object",
    "Ok",
    "Option",
    "Promise",
    "Rc",
    "ReadableStream",
    "Result",
    "RuntimeError",
    "Self",
    "Send",
    "Set",
    "Some",
    "Stream",
    "String",
    "Symbol",
    "Sync",
    "ThreadsafeFunction",
    "True",
    "TypeError",
    "TypedDict",
    "Uint8Array",
    "ValueError",
    "Vec",
    "async_trait",
    "serde",
    "serde_json",
    "std",
    "tokio",
    "tracing",
];

/// Endings that make a word without a slash a file.
const ENDINGS: [&str; 10] = [".rs", ".toml", ".md", ".py", ".pyi", ".ts", ".mjs", ".json", ".jsonl", ".lock"];

fn is_prose(file: &File) -> bool {
    file.extension() == "md"
        && (file.path.starts_with("docs/") || file.name() == "README.md")
        && !file.path.starts_with("packs/")
}

/// What the checkout has, to compare the prose with.
struct Known {
    names: BTreeSet<String>,
    paths: BTreeSet<String>,
    commands: String,
    examples: String,
}

impl Known {
    fn of(files: &[File]) -> Self {
        let mut names = BTreeSet::new();
        let mut paths = BTreeSet::new();
        for file in files {
            let mut path = file.path.as_str();
            paths.insert(path.to_owned());
            while let Some((folder, _)) = path.rsplit_once('/') {
                paths.insert(folder.to_owned());
                path = folder;
            }
            match file.extension() {
                "rs" if !file.path.starts_with("tests/tidy/") => rust::defined(file.code(), &mut names),
                "py" | "pyi" | "ts" | "mts" | "js" | "mjs" => defined_elsewhere(&file.text, &mut names),
                "toml" if file.name() == "Cargo.toml" => package(&file.text, &mut names),
                _ => {}
            }
        }
        let text =
            |path: &str| files.iter().find(|file| file.path == path).map_or("", |file| file.text.as_str());
        Self {
            names,
            paths,
            commands: text("xtask/src/main.rs").to_owned(),
            examples: text("examples/Cargo.toml").to_owned(),
        }
    }

    fn has_name(&self, name: &str) -> bool {
        self.names.contains(name) || FOREIGN.contains(&name)
    }

    fn has_path(&self, folder: &str, path: &str) -> bool {
        let path = path.trim_start_matches("./").trim_end_matches('/');
        if let Some((before, _)) = path.split_once('*') {
            return self.paths.iter().any(|known| known.starts_with(before));
        }
        self.paths.contains(path) || self.paths.contains(&resolve(folder, path))
    }
}

/// `path` as seen from `folder`, with `..` resolved.
fn resolve(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

/// Names that Python and TypeScript files define.
fn defined_elsewhere(text: &str, names: &mut BTreeSet<String>) {
    const KEYWORDS: [&str; 8] = ["class", "def", "function", "interface", "type", "const", "enum", "import"];
    let mut earlier = "";
    for (_, word) in rust::words(text) {
        if KEYWORDS.contains(&earlier) {
            names.insert(word.to_owned());
        }
        earlier = word;
    }
}

/// The names of the packages in a manifest, as Rust paths spell them.
fn package(text: &str, names: &mut BTreeSet<String>) {
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("name = \"").and_then(|rest| rest.strip_suffix('"')) {
            names.insert(name.replace('-', "_"));
        }
    }
}

/// A line of prose: its number, and itself; fenced blocks are left out.
fn prose(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    file.text.lines().enumerate().filter_map(move |(number, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((number + 1, line))
    })
}

/// The spans in backticks of a line.
fn spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter(|span| !span.is_empty())
}

fn names_exist(files: &[File]) -> Vec<String> {
    let known = Known::of(files);
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| is_prose(file)) {
        for (number, line) in prose(file) {
            for span in spans(line) {
                if let Some(name) = unknown(&known, span) {
                    findings.push(
                        file.finding(number, &format!("no `{name}` is defined anywhere (in `{span}`)")),
                    );
                }
            }
        }
    }
    findings
}

/// The part of a span that looks like a symbol of ours and is none.
fn unknown<'a>(known: &Known, span: &'a str) -> Option<&'a str> {
    let name =
        span.trim_start_matches("#[").trim_start_matches('&').trim_end_matches("()").trim_end_matches("!");
    let attribute = span.starts_with("#[");
    let name = name.split(['<', '(', ']']).next().unwrap_or(name);
    let name = name.strip_prefix("rf.").unwrap_or(name);
    let segments: Vec<&str> = name.split("::").collect();
    let plain = segments.iter().all(|segment| {
        segment.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && segment.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    });
    let first = segments.first()?;
    let camel = first.starts_with(|c: char| c.is_ascii_uppercase())
        && first.contains(|c: char| c.is_ascii_lowercase())
        && !first.contains('_');
    let symbol = segments.len() > 1 || camel || attribute || span.ends_with("()") || span.starts_with("rf.");
    if !plain || !symbol || (segments.len() > 1 && FOREIGN.contains(first)) {
        return None;
    }
    segments
        .into_iter()
        .find(|segment| !matches!(*segment, "crate" | "self" | "super") && !known.has_name(segment))
}

fn paths_exist(files: &[File]) -> Vec<String> {
    let known = Known::of(files);
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| is_prose(file)) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (number, line) in prose(file) {
            let spans = spans(line).filter(|span| looks_like_a_path(&known, span));
            for path in spans.chain(links(line)) {
                let anywhere = !path.contains('/') && known.paths.iter().any(|known| ends_in(known, path));
                if !anywhere && !known.has_path(folder, path) {
                    findings.push(file.finding(number, &format!("`{path}` does not exist")));
                }
            }
        }
    }
    findings
}

fn ends_in(path: &str, name: &str) -> bool {
    path.rsplit('/').next() == Some(name)
}

fn looks_like_a_path(known: &Known, span: &str) -> bool {
    let plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "_-./*".contains(c));
    let file = ENDINGS.iter().any(|ending| span.len() > ending.len() && span.ends_with(ending));
    let inside = span.split_once('/').is_some_and(|(first, _)| known.paths.contains(first));
    plain && (file || inside)
}

/// The local targets of Markdown links.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .map(|target| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
}

fn commands_exist(files: &[File]) -> Vec<String> {
    let known = Known::of(files);
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| is_prose(file)) {
        for (number, line) in file.text.lines().enumerate() {
            for word in after(line, "cargo xtask ") {
                if !known.commands.contains(&format!("[\"{word}\"")) {
                    findings.push(file.finding(number + 1, &format!("`cargo xtask {word}` is no command")));
                }
            }
            for word in after(line, "--example ") {
                let listed = known.examples.contains(&format!("name = \"{word}\""));
                if !listed && !known.has_path("", &format!("examples/{word}.rs")) {
                    findings.push(file.finding(number + 1, &format!("there is no example `{word}`")));
                }
            }
        }
    }
    findings
}

/// The word after each occurrence of `start`.
fn after<'a>(line: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    line.split(start).skip(1).filter_map(|rest| {
        let word = rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).next()?;
        (!word.is_empty()).then_some(word)
    })
}

fn a_line_is_one_sentence(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| is_prose(file)) {
        for (number, line) in prose(file).filter(|(_, line)| !line.trim_start().starts_with('|')) {
            let ends = [". ", "? ", "! "].into_iter().flat_map(|end| line.match_indices(end));
            for (at, _) in ends {
                let before = line[..at].rsplit([' ', '(']).next().unwrap_or_default();
                let numbered = before.chars().all(|c| c.is_ascii_digit());
                let short = matches!(before, "e.g" | "i.e" | "vs" | "etc" | "cf" | "Dr" | "St");
                let quoted =
                    line[..at].matches('`').count() % 2 == 1 || line[..at].matches('"').count() % 2 == 1;
                let capital = line[at + 2..].starts_with(|c: char| c.is_uppercase() || c == '`');
                if capital && !numbered && !short && !quoted {
                    findings.push(file.finding(number, "two sentences in one line"));
                }
            }
        }
    }
    findings
}

#[test]
fn the_prose_names_only_symbols_that_exist() {
    report("symbols in the prose", &names_exist(files()));
}

#[test]
fn the_prose_names_only_files_that_exist() {
    report("files in the prose", &paths_exist(files()));
}

#[test]
fn the_prose_names_only_commands_that_exist() {
    report("commands in the prose", &commands_exist(files()));
}

#[test]
fn the_prose_has_one_sentence_a_line() {
    report("sentences", &a_line_is_one_sentence(files()));
}

const SOURCES: [(&str, &str); 3] = [
    ("raptorflow-core/src/a.rs", "pub struct Engine;\nimpl Engine { pub fn run() {} }\nenum Kind { Local }"),
    ("xtask/src/main.rs", "match x { [\"test\", ..] => 1 }"),
    ("examples/council.rs", "//! x"),
];

fn with(text: &str) -> Vec<(&str, &str)> {
    let mut files = SOURCES.to_vec();
    files.push(("docs/A.md", text));
    files
}

#[test]
fn a_symbol_that_does_not_exist_is_found() {
    fails(names_exist, &with("The `Machine` runs.\n"), "docs/A.md:1: no `Machine`");
    fails(names_exist, &with("Use `Engine::walk`.\n"), "no `walk`");
    fails(names_exist, &with("Use `rf.Thing`.\n"), "no `Thing`");
    fails(names_exist, &with("Call `walk()`.\n"), "no `walk`");
    fails(names_exist, &with("Write `#[machine]`.\n"), "no `machine`");
    passes(
        names_exist,
        &with("`Engine`, `Engine::run()`, `Kind::Local`, `Option<Engine>`, `std::fmt::Debug`.\n"),
    );
    passes(names_exist, &with("`snake_case`, `SHOUT`, `a sentence` and\n```\n`Machine`\n```\n"));
}

#[test]
fn a_path_or_link_that_does_not_exist_is_found() {
    fails(paths_exist, &with("See `examples/other.rs`.\n"), "`examples/other.rs`");
    fails(paths_exist, &with("See `docs/nothing/`.\n"), "`docs/nothing/`");
    fails(paths_exist, &with("See [there](B.md#part).\n"), "`B.md`");
    passes(
        paths_exist,
        &with("`examples/council.rs`, `a.rs`, `docs/*.md`, [x](A.md), [y](../examples/council.rs).\n"),
    );
    passes(paths_exist, &with("`text/event-stream`, `and/or`, [x](https://example.org/a.md), [y](#here).\n"));
}

#[test]
fn a_command_that_does_not_exist_is_found() {
    fails(commands_exist, &with("`cargo xtask fly`\n"), "cargo xtask fly");
    fails(commands_exist, &with("```\ncargo run --example other\n```\n"), "`other`");
    passes(commands_exist, &with("`cargo xtask test`, `cargo run --release --example council`\n"));
}

#[test]
fn two_sentences_in_one_line_are_found() {
    fails(a_line_is_one_sentence, &with("One. Two.\n"), "two sentences");
    passes(a_line_is_one_sentence, &with("1. One, e.g. Two.\nThree.\n| Four. Five. |\n"));
}
