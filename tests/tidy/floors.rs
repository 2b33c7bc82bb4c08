//! Modules of core import only modules of strictly lower rows.

use std::collections::BTreeMap;

use crate::{
    rust,
    tree::{File, fails, files, passes, report},
};

/// Every module of core and its row; one row may not import another of the same height.
const ROWS: [(&str, u8); 21] = [
    ("error", 0),
    ("types", 1),
    ("runtime", 2),
    ("storage", 3),
    ("security", 4),
    ("event", 4),
    ("economics", 4),
    ("journal", 5),
    ("observability", 5),
    ("model", 6),
    ("tool", 7),
    ("skill", 7),
    ("rag", 7),
    ("memory", 8),
    ("agent", 9),
    ("workflow", 10),
    ("orchestrator", 11),
    ("distributed", 11),
    ("pack", 12),
    ("engine", 13),
    ("testing", 14),
];

fn row(module: &str) -> Option<u8> {
    ROWS.iter().find(|(name, _)| *name == module).map(|(_, row)| *row)
}

/// The top-level module of a source of core; `None` for `lib.rs`.
fn module(file: &File) -> Option<&str> {
    let inside = file.path.strip_prefix("raptorflow-core/src/")?;
    let first = inside.split('/').next()?;
    let module = first.strip_suffix(".rs").unwrap_or(first);
    (module != "lib").then_some(module)
}

fn every_module_has_a_row(files: &[File]) -> Vec<String> {
    files
        .iter()
        .filter(|file| file.in_core())
        .filter(|file| module(file).is_some_and(|module| row(module).is_none()))
        .map(|file| file.finding(1, "the module is in no row of tests/tidy/floors.rs"))
        .collect()
}

fn modules_are_declared_from_the_ground_up(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path == "raptorflow-core/src/lib.rs") {
        let mut last = 0;
        for (number, line) in file.code().lines().enumerate() {
            let Some(name) = line.trim().strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';'))
            else {
                continue;
            };
            let row = row(name).unwrap_or(last);
            if row < last {
                findings.push(file.finding(number + 1, &format!("`{name}` stands above a lower row")));
            }
            last = row.max(last);
        }
    }
    findings
}

/// The names that `lib.rs` re-exports, and their modules.
fn root_names(files: &[File]) -> BTreeMap<&str, &str> {
    let mut names = BTreeMap::new();
    for file in files.iter().filter(|file| file.path == "raptorflow-core/src/lib.rs") {
        for statement in file.code().split(';') {
            let Some((_, used)) = statement.split_once("pub use ") else { continue };
            let mut words = rust::words(used).map(|(_, word)| word);
            let Some(module) = words.next() else { continue };
            names.extend(words.filter(|word| row(word).is_none()).map(|word| (word, module)));
        }
    }
    names
}

fn imports_go_down(files: &[File]) -> Vec<String> {
    let names = root_names(files);
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.in_core()) {
        let Some((own, own_row)) = module(file).and_then(|own| Some((own, row(own)?))) else { continue };
        let library = file.library_code();
        for root in ["crate", "raptorflow_core"] {
            for (at, name) in rust::names_under(file.code(), root) {
                if file.code()[at + name.len()..].starts_with('!') {
                    continue;
                }
                let target =
                    if row(name).is_some() { name } else { names.get(name).copied().unwrap_or(name) };
                let tested = library[at..].starts_with(' ');
                let message = match row(target) {
                    _ if target == own => continue,
                    // The doubles of `testing` are there for the tests of every floor.
                    Some(_) if tested && target == "testing" => continue,
                    Some(row) if row < own_row => continue,
                    Some(row) => format!("`{own}` (row {own_row}) may not import `{target}` (row {row})"),
                    None => format!("`crate::{name}` is no module; name the module it lives in"),
                };
                findings.push(file.finding(rust::line_of(file.code(), at), &message));
            }
        }
        if is_module_root(file) {
            for (at, _) in library.match_indices("super::") {
                let line = rust::line_of(&library, at);
                findings.push(file.finding(line, "`super` of a module is the crate; write `crate::`"));
            }
        }
    }
    findings
}

fn is_module_root(file: &File) -> bool {
    let inside = file.path.strip_prefix("raptorflow-core/src/").unwrap_or_default();
    !inside.contains('/') || (inside.ends_with("/mod.rs") && inside.matches('/').count() == 1)
}

#[test]
fn every_module_of_core_has_a_row() {
    report("modules", &every_module_has_a_row(files()));
}

#[test]
fn core_declares_its_modules_from_the_ground_up() {
    report("order of modules", &modules_are_declared_from_the_ground_up(files()));
}

#[test]
fn core_imports_only_lower_rows() {
    report("floors", &imports_go_down(files()));
}

#[test]
fn an_import_upward_is_found() {
    let text = "//! x\nuse crate::{error::Result, engine::Engine};\n";
    fails(
        imports_go_down,
        &[("raptorflow-core/src/storage/handle.rs", text)],
        "handle.rs:2: `storage` (row 3)",
    );
}

#[test]
fn an_import_sideways_is_found() {
    fails(imports_go_down, &[("raptorflow-core/src/tool/a.rs", "use crate::rag::Hit;")], "`rag` (row 7)");
}

#[test]
fn a_path_in_the_middle_of_code_is_found() {
    let text = "fn f() { let x = crate::engine::Engine::new(); }";
    fails(imports_go_down, &[("raptorflow-core/src/agent/run.rs", text)], "may not import `engine`");
}

#[test]
fn a_name_of_the_root_counts_as_its_module() {
    let lib = ("raptorflow-core/src/lib.rs", "pub use engine::{Engine};\npub use error::Error;");
    fails(
        imports_go_down,
        &[lib, ("raptorflow-core/src/rag/a.rs", "use crate::Engine;")],
        "`engine` (row 13)",
    );
    passes(imports_go_down, &[lib, ("raptorflow-core/src/rag/a.rs", "use crate::Error;")]);
}

#[test]
fn an_unknown_name_of_the_root_is_found() {
    fails(imports_go_down, &[("raptorflow-core/src/rag/a.rs", "use crate::Nothing;")], "is no module");
}

#[test]
fn super_of_a_module_root_is_found() {
    fails(
        imports_go_down,
        &[("raptorflow-core/src/rag/mod.rs", "use super::engine::Engine;")],
        "write `crate::`",
    );
}

#[test]
fn downward_imports_comments_strings_and_doubles_in_tests_pass() {
    let text = "// crate::engine\nuse crate::{error::Error, types::{RunId, Usage}};\nlet s = \"crate::engine\";\n\
                #[cfg(test)]\nmod tests {\n use crate::testing::ManualClock;\n use super::*;\n}";
    passes(imports_go_down, &[("raptorflow-core/src/runtime/clock.rs", text)]);
}

#[test]
fn a_module_without_a_row_is_found() {
    fails(every_module_has_a_row, &[("raptorflow-core/src/helpers/a.rs", "")], "in no row");
}

#[test]
fn a_module_declared_too_early_is_found() {
    let text = "pub mod error;\npub mod engine;\npub mod rag;\n";
    fails(
        modules_are_declared_from_the_ground_up,
        &[("raptorflow-core/src/lib.rs", text)],
        "lib.rs:3: `rag`",
    );
}
