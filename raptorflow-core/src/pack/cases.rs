//! Files of cases, one a line, by which skills and agents are judged: found, read and checked in the same way.

use std::{collections::BTreeSet, fs, path::Path};

use serde::de::DeserializeOwned;

use crate::types::Diagnostic;

/// How many cases whatever is judged should have.
const CASES_EACH: usize = 3;
/// The largest file of cases, in bytes.
const MAX_FILE: u64 = 1024 * 1024;
/// How a file of cases ends.
const ENDING: &str = ".jsonl";

/// What cases of any kind have.
pub(super) trait Case: DeserializeOwned {
    /// The name of the case, unique in its file.
    fn name(&self) -> &str;
    /// What a good output does.
    fn expect(&self) -> &[String];
}

/// A file of cases, by its path below the folder of the pack and its name without ending.
pub(super) struct CaseFile {
    pub(super) path: String,
    pub(super) stem: String,
}

/// The files of cases in a folder below the pack's, by name; a folder that does not exist has none.
pub(super) fn files(root: &Path, folder: &str, problems: &mut Vec<Diagnostic>) -> Vec<CaseFile> {
    let names = names(root, folder, problems);
    let file = |name: String| {
        let stem = name.strip_suffix(ENDING)?.to_owned();
        Some(CaseFile { path: format!("{folder}/{name}"), stem })
    };
    names.into_iter().filter_map(file).collect()
}

/// The folders in a folder below the pack's, by name.
pub(super) fn folders(root: &Path, folder: &str, problems: &mut Vec<Diagnostic>) -> Vec<String> {
    let names = names(root, folder, problems);
    names.into_iter().filter(|name| root.join(folder).join(name).is_dir()).collect()
}

fn names(root: &Path, folder: &str, problems: &mut Vec<Diagnostic>) -> Vec<String> {
    let path = root.join(folder);
    if !path.is_dir() {
        return Vec::new();
    }
    let mut names: Vec<String> = match fs::read_dir(&path) {
        Ok(entries) => {
            entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect()
        }
        Err(err) => {
            problems.push(problem(folder, 0, "unreadable", err.to_string()));
            return Vec::new();
        }
    };
    names.sort();
    names
}

/// The cases of a file with their lines from 1; each line that is none is a problem.
pub(super) fn rows<T: Case>(root: &Path, file: &str, problems: &mut Vec<Diagnostic>) -> Vec<(u32, T)> {
    let path = root.join(file);
    let read = match fs::metadata(&path) {
        Ok(metadata) if metadata.len() > MAX_FILE => Err(format!("over {MAX_FILE} bytes")),
        Ok(_) => fs::read_to_string(&path).map_err(|err| err.to_string()),
        Err(err) => Err(err.to_string()),
    };
    let text = match read {
        Ok(text) => text,
        Err(reason) => {
            problems.push(problem(file, 0, "unreadable", reason));
            return Vec::new();
        }
    };
    let mut names: BTreeSet<String> = BTreeSet::new();
    let mut cases = Vec::new();
    // Rows are split on `\n` only: texts may hold other characters that count as line ends.
    for (index, row) in text.split('\n').enumerate().filter(|(_, row)| !row.trim().is_empty()) {
        let line = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let case: T = match serde_json::from_str(row) {
            Ok(case) => case,
            Err(err) => {
                problems.push(problem(file, line, "invalid_case", err.to_string()));
                continue;
            }
        };
        let name = case.name();
        if !names.insert(name.to_owned()) {
            let message = format!("`{name}` is the name of a case above");
            problems.push(problem(file, line, "duplicate_case", message));
        }
        if case.expect().iter().all(|statement| statement.trim().is_empty()) {
            problems.push(problem(file, line, "empty_case", format!("`{name}` expects nothing")));
        }
        cases.push((line, case));
    }
    cases
}

/// A part of a case that does not fit its schema.
pub(super) fn unfit(
    file: &str,
    line: u32,
    part: &str,
    found: Vec<Diagnostic>,
) -> impl Iterator<Item = Diagnostic> {
    found.into_iter().map(move |found| {
        let pointer = format!("/{part}{}", found.pointer);
        problem(file, line, "unfit_case", found.message).at_pointer(pointer)
    })
}

/// A warning that something has too few cases, where it has; `file` is that of what is judged.
pub(super) fn few(file: String, id: &str, folder: &str, count: usize) -> Option<Diagnostic> {
    (count < CASES_EACH).then(|| {
        let message = format!("`{id}` has {count} cases under `{folder}`; expected at least {CASES_EACH}");
        Diagnostic::warning("few_cases", message).in_file(file)
    })
}

/// A problem of a file, at the beginning of a line where it has one.
pub(super) fn problem(file: &str, line: u32, code: &str, message: String) -> Diagnostic {
    let problem = Diagnostic::error(code, message).in_file(file);
    if line > 0 { problem.at(line, 1) } else { problem }
}
