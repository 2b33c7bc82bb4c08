//! The files of the checkout, and how a rule reports what it found.

use std::{fs, path::Path, sync::OnceLock};

use crate::rust;

/// Folders that no rule looks into: built, installed or version control's own.
const SKIPPED: [&str; 11] = [
    "target",
    "node_modules",
    ".git",
    ".venv",
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".hypothesis",
    ".vscode",
    ".idea",
];

/// One text file; its path is relative to the root, with `/`.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
    code: OnceLock<String>,
}

impl File {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: OnceLock::new() }
    }

    /// The part after the last dot of the name.
    pub(crate) fn extension(&self) -> &str {
        self.name().rsplit_once('.').map_or("", |(_, extension)| extension)
    }

    /// The name without its folders.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.extension() == "rs"
    }

    /// Whether it is a source of the core library.
    pub(crate) fn in_core(&self) -> bool {
        self.is_rust() && self.path.starts_with("raptorflow-core/src/")
    }

    /// The text with comments and strings blanked out, line for line.
    pub(crate) fn code(&self) -> &str {
        self.code.get_or_init(|| rust::blank(&self.text, rust::Keep::Code))
    }

    /// The code without its test modules; nothing of a file that is one.
    pub(crate) fn library_code(&self) -> String {
        self.library(self.code())
    }

    /// The same of a text that [`rust::blank`] made.
    pub(crate) fn library(&self, code: &str) -> String {
        if self.path.split('/').any(|part| matches!(part, "tests" | "tests.rs")) {
            return code.bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect();
        }
        rust::without_tests(code)
    }

    /// One finding in this file; the line counts from 1.
    pub(crate) fn finding(&self, line: usize, message: &str) -> String {
        format!("{}:{line}: {message}", self.path)
    }
}

/// Every text file of the checkout, by path; read once.
pub(crate) fn files() -> &'static [File] {
    static FILES: OnceLock<Vec<File>> = OnceLock::new();
    FILES.get_or_init(|| {
        let root = raptorflow_tests::root();
        let mut files = Vec::new();
        let built = built(&root);
        walk(&root, "", &built, &mut files);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        assert!(files.len() > 20, "the checkout at {} looks empty", root.display());
        files
    })
}

/// The folders that `.gitignore` names by their whole path.
fn built(root: &Path) -> Vec<String> {
    let ignored = fs::read_to_string(root.join(".gitignore")).expect("the list of ignored files");
    ignored
        .lines()
        .filter_map(|line| Some(line.strip_prefix('/')?.trim_end_matches('/').to_owned()))
        .collect()
}

fn walk(folder: &Path, prefix: &str, built: &[String], files: &mut Vec<File>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .expect("a folder of the checkout")
        .map(|entry| entry.expect("an entry"))
        .collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().expect("a file type");
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        if built.contains(&path) {
            continue;
        }
        if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
            walk(&entry.path(), &path, built, files);
        } else if kind.is_file()
            && name != ".git"
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            files.push(File::new(&path, &text));
        }
    }
}

/// Fails with every finding of a rule.
pub(crate) fn report(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}\n", findings.join("\n  "));
}

/// Shows that a rule fails on planted files: exactly one finding, which contains `part`.
pub(crate) fn fails(rule: fn(&[File]) -> Vec<String>, files: &[(&str, &str)], part: &str) {
    let files: Vec<File> = files.iter().map(|(path, text)| File::new(path, text)).collect();
    let findings = rule(&files);
    assert!(
        findings.len() == 1 && findings[0].contains(part),
        "expected one finding with `{part}`: {findings:?}"
    );
}

/// Shows that a rule accepts files.
pub(crate) fn passes(rule: fn(&[File]) -> Vec<String>, files: &[(&str, &str)]) {
    let files: Vec<File> = files.iter().map(|(path, text)| File::new(path, text)).collect();
    assert_eq!(rule(&files), Vec::<String>::new());
}
