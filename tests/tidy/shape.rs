//! The shape of files: a first line that says what lives here, a length, `mod.rs` without code, plain imports.

use crate::{
    rust,
    tree::{File, fails, files, passes, report},
};

/// How long a source file may be, in lines.
const MOST_LINES: usize = 500;
/// Written by the Node build, not by us.
const GENERATED: [&str; 2] = ["raptorflow-node/native.d.ts", "raptorflow-node/native.js"];

fn the_first_line_says_what_lives_here(files: &[File]) -> Vec<String> {
    files
        .iter()
        .filter(|file| file.is_rust())
        .filter(|file| {
            let first = file.text.lines().next().unwrap_or_default();
            let sentence = first.strip_prefix("//! ").is_some_and(|line| !line.trim().is_empty());
            !sentence && !first.starts_with("#![doc = include_str!(")
        })
        .map(|file| file.finding(1, "the first line is not `//!` and a sentence"))
        .collect()
}

fn files_are_short(files: &[File]) -> Vec<String> {
    files
        .iter()
        .filter(|file| matches!(file.extension(), "rs" | "py" | "ts" | "mts" | "js" | "mjs"))
        .filter(|file| !GENERATED.contains(&file.path.as_str()))
        .filter_map(|file| {
            let lines = file.text.lines().count();
            (lines > MOST_LINES)
                .then(|| file.finding(lines, &format!("{lines} lines; make two files at {MOST_LINES}")))
        })
        .collect()
}

fn mod_files_have_no_code(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.name() == "mod.rs") {
        let code = without_attributes(file.code());
        let mut start = 0;
        while let Some(length) = code[start..].find(';') {
            check_statement(file, &code, start, start + length, &mut findings);
            start += length + 1;
        }
        if !code[start..].trim().is_empty() {
            check_statement(file, &code, start, code.len(), &mut findings);
        }
    }
    findings
}

fn check_statement(file: &File, code: &str, start: usize, end: usize, findings: &mut Vec<String>) {
    let statement = &code[start..end];
    let mut words =
        rust::words(statement).map(|(_, word)| word).filter(|word| !matches!(*word, "pub" | "crate"));
    let first = words.next();
    let declares = first == Some("mod") && !statement.contains('{');
    if !(declares || first == Some("use")) {
        let offset = statement.len() - statement.trim_start().len();
        let line = rust::line_of(code, start + offset);
        findings.push(file.finding(line, "`mod.rs` holds documentation, `mod` and `use` only"));
    }
}

/// Blanks out `#[…]` and `#![…]`.
fn without_attributes(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut depth = 0_usize;
    let mut before = ' ';
    for c in code.chars() {
        if c == '[' && (depth > 0 || matches!(before, '#' | '!')) {
            depth += 1;
        }
        let blank = depth > 0 || matches!(c, '#' | '!');
        out.push(if blank && c != '\n' { ' ' } else { c });
        if c == ']' && depth > 0 {
            depth -= 1;
        }
        before = c;
    }
    out
}

fn imports_are_plain(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        for (at, _) in file.code().match_indices("super::super") {
            findings.push(file.finding(rust::line_of(file.code(), at), "`super::super`; write `crate::`"));
        }
        if file.path.starts_with("tests/") {
            continue;
        }
        let library = file.library_code();
        for (at, _) in library.match_indices("::*") {
            // Foreign preludes are made for it, and the binding crates' macros need theirs.
            let prelude = library[..at].ends_with("prelude") && !file.in_core();
            if !prelude {
                findings.push(file.finding(rust::line_of(&library, at), "a glob import; name what is used"));
            }
        }
    }
    findings
}

fn packages_share_the_lints(files: &[File]) -> Vec<String> {
    files
        .iter()
        .filter(|file| file.name() == "Cargo.toml" && file.text.contains("[package]"))
        .filter(|file| !file.text.contains("[lints]\nworkspace = true"))
        .map(|file| file.finding(1, "the package does not take the lints of the workspace"))
        .collect()
}

/// Lines that a merge leaves where it does not know what to take.
fn merges_are_finished(files: &[File]) -> Vec<String> {
    let left = |line: &str| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ");
    let found = |file: &File| {
        let lines = (1..).zip(file.text.lines()).filter(|(_, line)| left(line));
        lines.map(|(number, _)| file.finding(number, "a merge was not finished")).collect::<Vec<_>>()
    };
    files.iter().flat_map(found).collect()
}

#[test]
fn every_source_begins_with_what_lives_there() {
    report("first lines", &the_first_line_says_what_lives_here(files()));
}

#[test]
fn no_source_is_longer_than_500_lines() {
    report("length", &files_are_short(files()));
}

#[test]
fn no_mod_file_has_code() {
    report("mod.rs", &mod_files_have_no_code(files()));
}

#[test]
fn no_glob_and_no_super_super_is_imported() {
    report("imports", &imports_are_plain(files()));
}

#[test]
fn no_file_has_the_marks_of_a_merge() {
    report("merges", &merges_are_finished(files()));
}

#[test]
fn a_mark_of_a_merge_is_found() {
    let marks = ["<".repeat(7), ">".repeat(7)];
    for mark in marks {
        fails(merges_are_finished, &[("docs/a.md", &format!("one\n{mark} main\n"))], "docs/a.md:2");
    }
    passes(merges_are_finished, &[("docs/a.md", "A heading\n=======\n")]);
}

#[test]
fn every_package_takes_the_lints_of_the_workspace() {
    report("lints", &packages_share_the_lints(files()));
}

#[test]
fn a_file_without_a_first_line_is_found() {
    fails(the_first_line_says_what_lives_here, &[("a/b.rs", "use std::fmt;\n")], "a/b.rs:1");
    fails(the_first_line_says_what_lives_here, &[("a/b.rs", "//!\n//! late\n")], "a/b.rs:1");
    passes(
        the_first_line_says_what_lives_here,
        &[("a/lib.rs", "#![doc = include_str!(\"../README.md\")]\n")],
    );
}

#[test]
fn a_long_file_is_found() {
    let (long, full) = ("x\n".repeat(501), "x\n".repeat(500));
    fails(files_are_short, &[("a/b.py", &long)], "501 lines");
    passes(files_are_short, &[("a/b.py", &full), ("raptorflow-node/native.js", &long), ("docs/a.md", &long)]);
}

#[test]
fn code_in_a_mod_file_is_found() {
    let message = "mod.rs` holds";
    fails(mod_files_have_no_code, &[("a/mod.rs", "//! x\nmod b;\n\nfn f() {}\n")], "a/mod.rs:4");
    fails(mod_files_have_no_code, &[("a/mod.rs", "//! x\nmod b { }\n")], message);
    fails(mod_files_have_no_code, &[("a/mod.rs", "//! x\npub const N: u8 = 1;\n")], message);
    let plain = "//! x\n#![allow(missing_docs)]\n#[cfg(feature = \"http\")]\npub mod b;\npub(crate) mod c;\n\
                 pub use b::{C, d::E};\n";
    passes(mod_files_have_no_code, &[("a/mod.rs", plain), ("a/other.rs", "fn f() {}")]);
}

#[test]
fn globs_and_super_super_are_found() {
    let core = "raptorflow-core/src/a/b.rs";
    fails(imports_are_plain, &[(core, "//! x\nuse super::super::c;\n")], "b.rs:2");
    fails(imports_are_plain, &[(core, "use crate::storage::*;\n")], "glob");
    fails(imports_are_plain, &[(core, "use tokio::prelude::*;\n")], "glob");
    let tested = "#[cfg(test)]\nmod tests {\n use super::*;\n}\n";
    passes(imports_are_plain, &[(core, tested), ("raptorflow-py/src/a.rs", "use pyo3::prelude::*;")]);
}

#[test]
fn a_package_with_its_own_lints_is_found() {
    fails(packages_share_the_lints, &[("a/Cargo.toml", "[package]\nname = \"a\"\n")], "lints");
    passes(packages_share_the_lints, &[("Cargo.toml", "[workspace]\n")]);
}
