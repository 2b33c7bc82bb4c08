//! The tests that `docs/FAULTS.md` names exist.

use std::collections::HashSet;

use crate::{
    rust,
    tree::{File, fails, files, passes, report},
};

const TABLE: &str = "docs/FAULTS.md";

fn named_tests_exist(files: &[File]) -> Vec<String> {
    let Some(table) = files.iter().find(|file| file.path == TABLE) else {
        return vec![format!("{TABLE}:1: is missing")];
    };
    let mut functions = HashSet::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let words: Vec<&str> = rust::words(file.code()).map(|(_, word)| word).collect();
        functions.extend(words.windows(2).filter(|pair| pair[0] == "fn").map(|pair| pair[1]));
    }
    let mut findings = Vec::new();
    for (number, line) in table.text.lines().enumerate().filter(|(_, line)| line.starts_with("| ")) {
        let Some((fault, tests)) = line.trim_matches(['|', ' ']).split_once(" | ") else { continue };
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        if names.is_empty() && fault != "fault" {
            findings.push(table.finding(number + 1, &format!("no test is named for: {fault}")));
        }
        for name in names.into_iter().filter(|name| !functions.contains(name)) {
            findings.push(table.finding(number + 1, &format!("there is no test `{name}`")));
        }
    }
    findings
}

#[test]
fn every_known_fault_has_tests_that_exist() {
    report("known faults have tests", &named_tests_exist(files()));
}

#[test]
fn a_fault_without_a_test_is_found() {
    let test = ("a.rs", "#[test]\nfn it_is_so() {}\n");
    let head = "| fault | tests |\n|---|---|\n";
    let table = |row: &str| format!("{head}{row}\n");
    fails(named_tests_exist, &[test, (TABLE, &table("| it is not so | `it_was_so` |"))], "`it_was_so`");
    fails(named_tests_exist, &[test, (TABLE, &table("| it is not so | later |"))], "it is not so");
    passes(named_tests_exist, &[test, (TABLE, &table("| it is not so | `it_is_so` |"))]);
}
