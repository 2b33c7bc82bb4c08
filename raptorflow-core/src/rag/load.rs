//! Loads the Markdown, text and HTML files of a folder, and says which were left out and why.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

#[cfg(feature = "html")]
use crate::types::{HtmlText, from_html};
use crate::{
    error::{Error, ErrorKind, Result, Retry},
    rag::{chunk::first_heading, document::Document},
    runtime::Context,
    types::{Diagnostic, Diagnostics},
};

/// Bounds of [`load_folder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LoadLimits {
    /// The largest file, in bytes; a larger one is left out. 10 MiB by default.
    pub file: u64,
    /// How many files to read there may be; more are an error. 10,000 by default.
    pub files: usize,
    /// How many bytes they may have together; more are an error. 1 GiB by default.
    pub total: u64,
    /// How many folders deep the walk goes; a deeper one is an error. 64 by default.
    pub depth: usize,
}

impl Default for LoadLimits {
    fn default() -> Self {
        Self { file: 10 << 20, files: 10_000, total: 1 << 30, depth: 64 }
    }
}

/// What a folder held.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The documents, sorted by path; id and source are the path inside the folder, with `/` between its parts.
    pub documents: Vec<Document>,
    /// One for each file that was left out.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads every `.md`, `.markdown` and `.txt` file of a folder and its sub-folders, and with the feature `html` every
/// `.html` and `.htm` file, as Markdown.
///
/// Hidden files and folders and those named `node_modules` or `target` are passed over; symbolic links are not
/// followed.
/// A byte order mark is dropped, so byte ranges count from behind it; the rest of the text stays exactly as it is.
/// The title is that of a page of HTML, else the first heading, or else the file's name.
/// A page of HTML that is nested too deep or has too many elements is cut, which the diagnostics say; byte ranges count
/// in the Markdown that it became.
///
/// # Errors
/// `NotFound` when there is no such folder, `InvalidInput` when it is a file or holds nothing usable (the causes hold
/// the [`Diagnostics`]), `PermissionDenied` or `Unavailable` when it cannot be listed, `LimitExceeded` when it holds
/// too much.
///
/// # Cancellation
/// Reading stops at the next file; nothing is left behind.
pub async fn load_folder(ctx: &Context, path: impl Into<PathBuf>, limits: LoadLimits) -> Result<Loaded> {
    let (root, cancel) = (path.into(), ctx.cancel().clone());
    let walk = ctx.runtime().tasks().spawn_blocking(move || {
        let mut loader = Loader {
            root,
            limits,
            loaded: Loaded { documents: Vec::new(), diagnostics: Vec::new() },
            bytes: 0,
        };
        let stop = || cancel.is_cancelled();
        loader.run(&stop)?;
        Ok(loader.loaded)
    });
    ctx.bound("rag.load", walk).await??
}

struct Loader {
    root: PathBuf,
    limits: LoadLimits,
    loaded: Loaded,
    bytes: u64,
}

/// A file of a kind that is read.
struct Candidate {
    path: PathBuf,
    /// The path inside the folder, with `/`.
    name: Arc<str>,
}

impl Loader {
    fn run(&mut self, stop: &dyn Fn() -> bool) -> Result<()> {
        self.check_root()?;
        let mut files = Vec::new();
        self.walk(&self.root.clone(), "", 0, &mut files)?;
        files.sort_by(|a, b| a.name.cmp(&b.name));
        for file in files {
            if stop() {
                return Err(Error::new(ErrorKind::Cancelled, "rag.load", "the run was cancelled"));
            }
            match self.read(&file)? {
                Ok(text) => self.add(&file.name, text),
                Err(problem) => self.loaded.diagnostics.push(problem.in_file(file.name)),
            }
        }
        if self.loaded.documents.is_empty() {
            return Err(self.nothing());
        }
        Ok(())
    }

    fn add(&mut self, name: &str, text: String) {
        #[cfg(feature = "html")]
        if is_html(name) {
            let HtmlText { title, text, cut } = from_html(&text);
            if text.trim().is_empty() {
                return self.leave_out(name, "empty", "the page holds no text".to_owned());
            }
            if cut {
                let message = "the page is too large or nested too deep; what follows is left out";
                self.leave_out(name, "cut", message.to_owned());
            }
            let document = document(name, text);
            let title = title.or_else(|| document.title.clone());
            return self.loaded.documents.push(Document { title, ..document });
        }
        self.loaded.documents.push(document(name, text));
    }

    fn check_root(&self) -> Result<()> {
        let root = self.root.display();
        match fs::metadata(&self.root) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => {
                let expected = "expected a folder, got a file; name the folder that holds it";
                Err(Error::new(ErrorKind::InvalidInput, "rag.load", expected).with("path", root))
            }
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => {
                let message = "there is no such folder; check the spelling and the working directory";
                Err(Error::new(ErrorKind::NotFound, "rag.load", message).with("path", root).caused_by(err))
            }
            Err(err) => Err(unreadable(&self.root, err)),
        }
    }

    fn nothing(&mut self) -> Error {
        let problems = std::mem::take(&mut self.loaded.diagnostics);
        let message =
            "the folder holds no usable Markdown or text file; add .md, .markdown or .txt files in UTF-8";
        let err = if problems.is_empty() {
            Error::new(ErrorKind::InvalidInput, "rag.load", message)
        } else {
            Diagnostics(problems).into_error("rag.load", message)
        };
        err.with("path", self.root.display())
    }

    fn walk(&mut self, folder: &Path, prefix: &str, depth: usize, files: &mut Vec<Candidate>) -> Result<()> {
        if depth > self.limits.depth {
            return Err(self
                .too_much("folders are nested too deep", self.limits.depth)
                .with("folder", prefix));
        }
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(err) if depth == 0 => return Err(unreadable(folder, err)),
            Err(err) => {
                self.leave_out(prefix, "unreadable", format!("the folder cannot be listed: {err}"));
                return Ok(());
            }
        };
        for entry in entries {
            let entry = entry.map_err(|err| unreadable(folder, err))?;
            let Ok(name) = entry.file_name().into_string() else {
                let shown = format!("{prefix}{}", entry.file_name().to_string_lossy());
                self.leave_out(&shown, "bad_name", "the file's name is not UTF-8".to_owned());
                continue;
            };
            if name.starts_with('.') || name == "node_modules" || name == "target" {
                continue;
            }
            let inside = format!("{prefix}{name}");
            let kind = entry.file_type().map_err(|err| unreadable(&entry.path(), err))?;
            if kind.is_dir() {
                self.walk(&entry.path(), &format!("{inside}/"), depth + 1, files)?;
            } else if is_text(&name) && kind.is_symlink() {
                self.leave_out(&inside, "symlink", "symbolic links are not followed".to_owned());
            } else if is_text(&name) && kind.is_file() {
                if files.len() >= self.limits.files {
                    return Err(self.too_much("the folder holds too many files", self.limits.files));
                }
                files.push(Candidate { path: entry.path(), name: inside.into() });
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, name: &str, code: &str, message: String) {
        self.loaded.diagnostics.push(Diagnostic::warning(code, message).in_file(name));
    }

    fn too_much(&self, message: &'static str, limit: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::LimitExceeded, "rag.load", message)
            .with("path", self.root.display())
            .with("limit", limit)
    }

    /// The text of a file, or why it is left out.
    fn read(&mut self, file: &Candidate) -> Result<Result<String, Diagnostic>> {
        let limit = self.limits.file;
        let mut bytes = Vec::new();
        // One byte more than allowed, so that a file that grows while it is read is found too.
        let read = fs::File::open(&file.path).and_then(|file| {
            let size = file.metadata()?.len();
            if size > limit {
                return Ok(Some(size));
            }
            let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
            Ok((read as u64 > limit).then_some(read as u64))
        });
        match read {
            Ok(None) => {}
            Ok(Some(size)) => {
                let message = format!(
                    "the file has {size} bytes, and at most {limit} are allowed; split it or raise the limit"
                );
                return Ok(Err(Diagnostic::error("too_big", message)));
            }
            Err(err) => {
                return Ok(Err(Diagnostic::error("unreadable", format!("the file cannot be read: {err}"))));
            }
        }
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if self.bytes > self.limits.total {
            return Err(self.too_much("the files are too large together", self.limits.total));
        }
        Ok(check_text(bytes))
    }
}

fn check_text(bytes: Vec<u8>) -> Result<String, Diagnostic> {
    let text = String::from_utf8(bytes).map_err(|err| {
        let at = err.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(err.as_bytes().get(..at).unwrap_or_default()).into_owned();
        let message = format!("the file is not UTF-8 from byte {at} on; save it as UTF-8");
        Diagnostic::error("not_utf8", message).at_offset(&before, at)
    })?;
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    };
    if text.trim().is_empty() {
        return Err(Diagnostic::warning("empty", "the file holds no text"));
    }
    Ok(text)
}

fn is_text(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    let known = extension.is_some_and(|extension| {
        ["md", "markdown", "txt"].iter().any(|known| known.eq_ignore_ascii_case(extension))
    });
    known || is_html(name)
}

/// Whether a name is that of a page that this build can read.
fn is_html(name: &str) -> bool {
    let extension = Path::new(name).extension();
    cfg!(feature = "html")
        && extension.is_some_and(|it| it.eq_ignore_ascii_case("html") || it.eq_ignore_ascii_case("htm"))
}

fn document(name: &str, text: String) -> Document {
    let plain = name.to_ascii_lowercase().ends_with(".txt");
    let heading = if plain { None } else { first_heading(&text) };
    let stem = || Path::new(name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    Document { title: heading.or_else(stem), source: Some(name.to_owned()), ..Document::new(name, text) }
}

fn unreadable(path: &Path, err: std::io::Error) -> Error {
    let (kind, retry) = match err.kind() {
        std::io::ErrorKind::PermissionDenied => (ErrorKind::PermissionDenied, Retry::Never),
        _ => (ErrorKind::Unavailable, Retry::Soon),
    };
    Error::new(kind, "rag.load", "the folder cannot be read")
        .with("path", path.display())
        .retryable(retry)
        .caused_by(err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Runtime;

    fn ctx() -> Context {
        Context::new(&Runtime::current().unwrap())
    }

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        folder
    }

    async fn load(files: &[(&str, &[u8])], limits: LoadLimits) -> Result<Loaded> {
        let folder = folder(files);
        load_folder(&ctx(), folder.path(), limits).await
    }

    #[tokio::test]
    async fn markdown_and_text_are_read_in_the_order_of_their_paths() {
        let files: &[(&str, &[u8])] = &[
            ("b.md", "\u{feff}# Bé\n\ntext".as_bytes()),
            ("a/z.TXT", b"# plain"),
            ("a.markdown", b"no heading"),
            (".hidden/x.md", b"x"),
            (".x.md", b"x"),
            ("target/x.md", b"x"),
            ("a/node_modules/x.md", b"x"),
            ("image.png", b"x"),
        ];
        let loaded = load(files, LoadLimits::default()).await.unwrap();
        let found: Vec<_> = loaded
            .documents
            .iter()
            .map(|d| (d.id.as_str(), d.title.as_deref().unwrap(), d.text.as_str()))
            .collect();
        assert_eq!(
            found,
            [("a.markdown", "a", "no heading"), ("a/z.TXT", "z", "# plain"), ("b.md", "Bé", "# Bé\n\ntext")]
        );
        assert_eq!(loaded.diagnostics, []);
    }

    #[tokio::test]
    async fn each_file_left_out_is_named_with_its_reason() {
        let files: &[(&str, &[u8])] = &[
            ("bad.md", b"ok\nab\xff"),
            ("big.md", b"0123456789"),
            ("blank.md", b" \n"),
            ("good.md", b"good"),
        ];
        let loaded = load(files, LoadLimits { file: 9, ..LoadLimits::default() }).await.unwrap();
        let told: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "bad.md:2:3: error[not_utf8]: the file is not UTF-8 from byte 5 on; save it as UTF-8",
                "big.md: error[too_big]: the file has 10 bytes, and at most 9 are allowed; split it or raise the limit",
                "blank.md: warning[empty]: the file holds no text",
            ]
        );
        assert_eq!(loaded.documents.len(), 1);
    }

    #[cfg(feature = "html")]
    #[tokio::test]
    async fn a_page_of_html_becomes_markdown_with_its_title() {
        let page = b"<title>Plans</title><script>x()</script><h2>Basic</h2><p>Costs <b>499</b>.</p>";
        let deep = format!("<p>start</p>{}", "<div>".repeat(100_000));
        let files: &[(&str, &[u8])] = &[
            ("a.html", page),
            ("b.HTM", b"<h1>Only a heading</h1>"),
            ("c.html", b"<script>x()</script>"),
            ("d.html", deep.as_bytes()),
        ];
        let loaded = load(files, LoadLimits::default()).await.unwrap();
        let found: Vec<_> =
            loaded.documents.iter().map(|d| (d.title.as_deref().unwrap(), d.text.trim())).collect();
        let heading = ("Only a heading", "# Only a heading");
        assert_eq!(found, [("Plans", "## Basic\n\nCosts **499**."), heading, ("d", "start")]);
        let told: Vec<_> = loaded.diagnostics.iter().map(|it| it.code.as_str()).collect();
        assert_eq!(told, ["empty", "cut"]);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn symbolic_links_are_not_followed() {
        let folder = folder(&[("real.md", b"text")]);
        std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("real.md"), folder.path().join("link.md")).unwrap();
        let loaded = load_folder(&ctx(), folder.path(), LoadLimits::default()).await.unwrap();
        assert_eq!((loaded.documents.len(), loaded.diagnostics.len()), (1, 1));
        assert_eq!(loaded.diagnostics[0].code, "symlink");
    }

    #[tokio::test]
    async fn a_folder_that_cannot_serve_says_what_to_do() {
        let check = |err: Error, kind: ErrorKind, hint: &str| {
            assert_eq!(err.kind(), kind);
            assert!(err.message().contains(hint) && err.get("path").is_some(), "{err}");
        };
        let files = folder(&[("a.md", b"x"), ("b.md", b"y")]);
        let limits = LoadLimits::default();
        let missing = load_folder(&ctx(), files.path().join("nope"), limits).await.unwrap_err();
        check(missing, ErrorKind::NotFound, "check the spelling");
        let file = load_folder(&ctx(), files.path().join("a.md"), limits).await.unwrap_err();
        check(file, ErrorKind::InvalidInput, "name the folder");
        check(load(&[("a.pdf", b"x")], limits).await.unwrap_err(), ErrorKind::InvalidInput, ".md");
        let many = load_folder(&ctx(), files.path(), LoadLimits { files: 1, ..limits }).await.unwrap_err();
        check(many, ErrorKind::LimitExceeded, "too many");
        let large = load_folder(&ctx(), files.path(), LoadLimits { total: 1, ..limits }).await.unwrap_err();
        check(large, ErrorKind::LimitExceeded, "too large");
        let unusable = load(&[("a.md", b"\xff")], limits).await.unwrap_err();
        assert_eq!(unusable.cause::<Diagnostics>().unwrap().0[0].code, "not_utf8");
    }

    #[tokio::test]
    async fn a_cancelled_context_reads_nothing() {
        let folder = folder(&[("a.md", b"x")]);
        let ctx = ctx();
        ctx.cancel().cancel();
        let err = load_folder(&ctx, folder.path(), LoadLimits::default()).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Cancelled);
    }
}
