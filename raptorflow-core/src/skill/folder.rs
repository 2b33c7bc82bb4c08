//! Finds the skills in a folder and reads their files, within bounds.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::types::Diagnostic;

/// How many files a folder of skills may have.
const MAX_FILES: usize = 20_000;
/// How deep it may be nested.
const MAX_DEPTH: usize = 8;
/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 512 * 1024;
/// The file that makes a folder an open skill.
const OPEN: &str = "SKILL.md";

/// A file that holds a skill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its path from the folder of skills, with `/`.
    pub(super) file: String,
    /// For an open skill, the name of its folder and the files beside it.
    pub(super) open: Option<(String, Vec<String>)>,
}

/// The skills below a folder, by path.
pub(super) fn find(root: &Path) -> (Vec<Found>, Vec<Diagnostic>) {
    let mut walk = Walk { root, found: Vec::new(), problems: Vec::new(), seen: 0 };
    walk.folder("", 0);
    walk.found.sort_by(|a, b| a.file.cmp(&b.file));
    (walk.found, walk.problems)
}

/// The text of a file below the folder of skills.
pub(super) fn read(root: &Path, file: &str) -> io::Result<String> {
    let path: PathBuf = root.join(file);
    let metadata = fs::metadata(&path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    if metadata.len() > MAX_BYTES {
        let message = format!("the file has {} bytes; at most {MAX_BYTES} are read", metadata.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    fs::read_to_string(path)
}

struct Walk<'a> {
    root: &'a Path,
    found: Vec<Found>,
    problems: Vec<Diagnostic>,
    seen: usize,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &str, depth: usize) {
        let (files, folders) = match self.list(folder) {
            Ok(listed) => listed,
            Err(reason) => return self.problem(folder, "unreadable", reason),
        };
        if let Some(open) = files.iter().find(|name| name.eq_ignore_ascii_case(OPEN)) {
            let file = joined(folder, open);
            let mut resources = Vec::new();
            self.resources(folder, "", depth, &mut resources);
            resources.retain(|name| name != open);
            resources.sort();
            let name = match folder.rsplit('/').next().filter(|name| !name.is_empty()) {
                Some(name) => name.to_owned(),
                None => {
                    self.root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
                }
            };
            self.found.push(Found { file, open: Some((name, resources)) });
            return;
        }
        for name in files {
            let is_skill = Path::new(&name).extension().is_some_and(|it| it.eq_ignore_ascii_case("md"))
                && !name.starts_with('_')
                && !name.eq_ignore_ascii_case("README.md");
            if is_skill {
                self.found.push(Found { file: joined(folder, &name), open: None });
            }
        }
        for name in folders {
            let folder = joined(folder, &name);
            if depth >= MAX_DEPTH {
                self.problem(&folder, "too_deep", format!("folders are nested deeper than {MAX_DEPTH}"));
            } else {
                self.folder(&folder, depth + 1);
            }
        }
    }

    /// Files beside an open skill, of any depth.
    fn resources(&mut self, root: &str, below: &str, depth: usize, found: &mut Vec<String>) {
        let Ok((files, folders)) = self.list(&joined(root, below)) else { return };
        found.extend(files.iter().map(|name| joined(below, name)));
        if depth < MAX_DEPTH {
            folders.iter().for_each(|name| self.resources(root, &joined(below, name), depth + 1, found));
        }
    }

    /// Files and folders, without hidden ones; a link to a folder is not followed, since it may lead back.
    fn list(&mut self, folder: &str) -> Result<(Vec<String>, Vec<String>), String> {
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(self.root.join(folder)).map_err(|err| err.to_string())? {
            let entry = entry.map_err(|err| err.to_string())?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            self.seen += 1;
            if self.seen > MAX_FILES {
                return Err(format!("the folder has over {MAX_FILES} files"));
            }
            let kind = entry.file_type().map_err(|err| err.to_string())?;
            if kind.is_dir() {
                folders.push(name);
            } else if kind.is_file() || fs::metadata(entry.path()).is_ok_and(|it| it.is_file()) {
                files.push(name);
            }
        }
        files.sort();
        folders.sort();
        Ok((files, folders))
    }

    fn problem(&mut self, file: &str, code: &str, message: String) {
        self.problems.push(Diagnostic::error(code, message).in_file(file));
    }
}

fn joined(folder: &str, name: &str) -> String {
    match (folder.is_empty(), name.is_empty()) {
        (true, _) => name.to_owned(),
        (_, true) => folder.to_owned(),
        _ => format!("{folder}/{name}"),
    }
}
