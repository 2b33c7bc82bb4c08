//! Reads documents one at a time from a file of records: JSON lines or CSV.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    rag::document::Document,
};

const OPERATION: &str = "rag.records";

/// How records lie in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecordFormat {
    /// A JSON object a line.
    JsonLines,
    /// Values between commas; the first line has the names of the columns.
    Csv,
}

/// Which fields make a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RecordConfig {
    /// How records lie in the file; by its extension (`.jsonl`, `.ndjson`, `.csv`) by default.
    pub format: Option<RecordFormat>,
    /// The first of these that a record has is its id; `_id` and `id` by default.
    ///
    /// A record without any has the file's name, `#` and its number from 1, so its id depends on the records before it.
    pub id: Vec<String>,
    /// The first of these that a record has is its text; `text`, `content` and `body` by default.
    pub text: Vec<String>,
    /// The first of these that a record has is its title; `title` by default.
    pub title: Vec<String>,
    /// The largest record, in bytes; a larger one is refused without being read whole. 10 MiB by default.
    pub record: u64,
}

impl Default for RecordConfig {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            format: None,
            id: names(&["_id", "id"]),
            text: names(&["text", "content", "body"]),
            title: names(&["title"]),
            record: 10 << 20,
        }
    }
}

/// Opens a file of records for [`crate::KnowledgeBase::try_add`].
///
/// Fields that are not id, text or title become metadata; those of CSV are text.
/// The file is read as documents are asked for, so that its size does not matter.
///
/// ```
/// use raptorflow_core::rag::{RecordConfig, read_records};
/// # let folder = std::env::temp_dir().join(format!("raptorflow-records-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// # let path = folder.join("plans.jsonl");
/// std::fs::write(&path, "{\"id\": \"basic\", \"text\": \"The basic plan costs ₹499.\", \"lang\": \"en\"}\n").unwrap();
/// let documents: Vec<_> = read_records(&path, RecordConfig::default())?.collect::<Result<_, _>>()?;
/// assert_eq!((documents[0].id.as_str(), documents[0].metadata["lang"].as_str()), ("basic", Some("en")));
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
///
/// # Errors
/// `NotFound`, `PermissionDenied` or `Unavailable` when the file cannot be opened, `InvalidInput` when its format is
/// not known or a CSV's first line cannot be read.
/// Of single records: `InvalidInput` for one that is no object with a text, or not UTF-8, and `LimitExceeded` for one
/// that is too large; the next ones are read, but behind a CSV record that is too large nothing is.
pub fn read_records(path: impl AsRef<Path>, config: RecordConfig) -> Result<Records> {
    let path = path.as_ref();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let extension = path.extension().map(|it| it.to_string_lossy().to_lowercase()).unwrap_or_default();
    let format = match (config.format, extension.as_str()) {
        (Some(format), _) => format,
        (None, "jsonl" | "ndjson") => RecordFormat::JsonLines,
        (None, "csv") => RecordFormat::Csv,
        (None, _) => {
            let expected = "expected a file that ends in .jsonl, .ndjson or .csv, or a format";
            return Err(Error::new(ErrorKind::InvalidInput, OPERATION, expected).with("path", path.display()));
        }
    };
    let file = File::open(path).map_err(|err| unreadable(&name, err))?;
    let source = match format {
        RecordFormat::JsonLines => Source::Lines(BufReader::new(file)),
        RecordFormat::Csv => Source::csv(file, &name, config.record)?,
    };
    Ok(Records { name, config, number: 0, source: Some(source) })
}

/// The documents of a file; see [`read_records`].
#[derive(Debug)]
pub struct Records {
    name: String,
    config: RecordConfig,
    /// Of the record that was read last, from 1.
    number: u64,
    /// `None` behind the last record.
    source: Option<Source>,
}

#[derive(Debug)]
enum Source {
    Lines(BufReader<File>),
    Csv { reader: csv::Reader<Bounded>, columns: Vec<String>, left: Arc<AtomicU64> },
}

/// A file that gives no more than the bytes that are left, so that one record cannot fill the memory.
#[derive(Debug)]
struct Bounded {
    file: File,
    left: Arc<AtomicU64>,
}

impl Read for Bounded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        let left = self.left.load(Ordering::Relaxed);
        if read as u64 > left {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the record is too large"));
        }
        self.left.store(left - read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// How much a CSV reader may read ahead of the record that it gives.
const AHEAD: u64 = 64 << 10;

impl Source {
    fn csv(file: File, name: &str, limit: u64) -> Result<Self> {
        let left = Arc::new(AtomicU64::new(limit.saturating_add(AHEAD)));
        let bounded = Bounded { file, left: Arc::clone(&left) };
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bounded);
        let columns = reader.headers().map_err(|err| csv_error(name, 0, limit, err))?;
        let columns = columns.iter().map(|name| name.trim_start_matches('\u{feff}').to_owned()).collect();
        Ok(Self::Csv { reader, columns, left })
    }
}

impl Iterator for Records {
    type Item = Result<Document>;

    fn next(&mut self) -> Option<Self::Item> {
        let fields = match self.source.as_mut()? {
            Source::Lines(_) => self.json_line(),
            Source::Csv { .. } => self.csv_record(),
        };
        match fields {
            Ok(Some(fields)) => Some(self.document(fields)),
            Ok(None) => {
                self.source = None;
                None
            }
            Err(err) => {
                // Where reading itself failed, trying again would say the same for ever.
                if !matches!(err.kind(), ErrorKind::InvalidInput | ErrorKind::LimitExceeded) {
                    self.source = None;
                }
                Some(Err(err))
            }
        }
    }
}

impl Records {
    fn json_line(&mut self) -> Result<Option<Map<String, Value>>> {
        let limit = self.config.record;
        let mut line = Vec::new();
        loop {
            let Some(Source::Lines(file)) = &mut self.source else { return Ok(None) };
            line.clear();
            let read = file.by_ref().take(limit.saturating_add(1)).read_until(b'\n', &mut line);
            if read.map_err(|err| unreadable(&self.name, err))? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if line.len() as u64 > limit && !line.ends_with(b"\n") {
                file.skip_until(b'\n').map_err(|err| unreadable(&self.name, err))?;
                return Err(self.too_large());
            }
            let text = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&line);
            if text.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let expected = "expected a JSON object in UTF-8";
            return serde_json::from_slice(text).map(Some).map_err(|err| self.bad(expected).caused_by(err));
        }
    }

    fn csv_record(&mut self) -> Result<Option<Map<String, Value>>> {
        let (name, limit) = (&self.name, self.config.record);
        let Some(Source::Csv { reader, columns, left }) = &mut self.source else { return Ok(None) };
        left.store(limit.saturating_add(AHEAD), Ordering::Relaxed);
        let mut record = csv::StringRecord::new();
        self.number += 1;
        match reader.read_record(&mut record) {
            Ok(true) => {
                let fields = columns.iter().cloned().zip(record.iter().map(Value::from));
                Ok(Some(fields.collect()))
            }
            Ok(false) => Ok(None),
            Err(err) => {
                let err = csv_error(name, self.number, limit, err);
                if err.kind() == ErrorKind::LimitExceeded {
                    self.source = None;
                }
                Err(err)
            }
        }
    }

    fn document(&self, mut fields: Map<String, Value>) -> Result<Document> {
        let mut take = |names: &[String]| {
            let name = names.iter().find(|name| fields.get(name.as_str()).is_some_and(|it| !it.is_null()))?;
            match fields.shift_remove(name)? {
                Value::String(text) => Some(text),
                other => Some(other.to_string()),
            }
        };
        let (id, text, title) = (take(&self.config.id), take(&self.config.text), take(&self.config.title));
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
            return Err(self.bad("expected a field with text").with("fields", self.config.text.join(", ")));
        };
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("{}#{}", self.name, self.number));
        let mut document = Document::new(id, text);
        document.title = title.filter(|title| !title.is_empty());
        document.source = Some(self.name.clone());
        document.metadata = fields;
        Ok(document)
    }

    fn bad(&self, expected: &'static str) -> Error {
        Error::new(ErrorKind::InvalidInput, OPERATION, expected)
            .with("file", &self.name)
            .with("record", self.number)
    }

    fn too_large(&self) -> Error {
        too_large(&self.name, self.number, self.config.record)
    }
}

fn too_large(name: &str, number: u64, limit: u64) -> Error {
    Error::new(ErrorKind::LimitExceeded, OPERATION, "a record is too large; split it or raise the limit")
        .with("file", name)
        .with("record", number)
        .with("limit", limit)
}

fn csv_error(name: &str, number: u64, limit: u64, err: csv::Error) -> Error {
    match err.into_kind() {
        csv::ErrorKind::Io(err) if err.kind() == io::ErrorKind::FileTooLarge => {
            too_large(name, number, limit)
        }
        csv::ErrorKind::Io(err) => unreadable(name, err),
        other => Error::new(ErrorKind::InvalidInput, OPERATION, "expected a line of CSV in UTF-8")
            .with("file", name)
            .with("record", number)
            .with("problem", format!("{other:?}").chars().take(120).collect::<String>()),
    }
}

fn unreadable(name: &str, err: io::Error) -> Error {
    let (kind, retry) = match err.kind() {
        io::ErrorKind::NotFound => (ErrorKind::NotFound, Retry::Never),
        io::ErrorKind::PermissionDenied => (ErrorKind::PermissionDenied, Retry::Never),
        _ => (ErrorKind::Unavailable, Retry::Soon),
    };
    Error::new(kind, OPERATION, "the file cannot be read").with("file", name).retryable(retry).caused_by(err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, bytes: &[u8], limit: u64) -> Vec<Result<Document>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let config = RecordConfig { record: limit, ..RecordConfig::default() };
        read_records(&path, config).unwrap().take(100).collect()
    }

    fn check(name: &str, bytes: &[u8], expected: &[std::result::Result<(&str, &str), ErrorKind>]) {
        let read = read(name, bytes, 60);
        let found: Vec<_> = read
            .iter()
            .map(|it| it.as_ref().map(|it| (it.id.as_str(), it.text.as_str())).map_err(Error::kind))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_line_that_cannot_be_used_does_not_hide_the_next_one() {
        let long = format!("{{\"text\": \"{}\"}}\n", "x".repeat(1000));
        let text = format!(
            "\u{feff}{{\"_id\": 7, \"text\": \"one\"}}\n\nnot json\n{long}{{\"text\": \" \"}}\n{{\"body\": \"two\"}}"
        );
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(b"\n{\"text\": \"\xff\"}\n{\"id\": \"z\", \"content\": \"three\"}");
        check(
            "a.jsonl",
            &bytes,
            &[
                Ok(("7", "one")),
                Err(ErrorKind::InvalidInput),
                Err(ErrorKind::LimitExceeded),
                Err(ErrorKind::InvalidInput),
                Ok(("a.jsonl#6", "two")),
                Err(ErrorKind::InvalidInput),
                Ok(("z", "three")),
            ],
        );
    }

    #[test]
    fn csv_fields_may_hold_commas_quotes_and_line_breaks() {
        let text = b"id,title,text,lang\n1,A,\"one, \"\"two\"\"\nthree\",en\n2,,four,hi\n";
        let read: Vec<Document> = read("a.csv", text, 1000).into_iter().collect::<Result<_>>().unwrap();
        assert_eq!((read[0].text.as_str(), read[0].title.as_deref()), ("one, \"two\"\nthree", Some("A")));
        assert_eq!((read[1].title.as_deref(), &read[1].metadata["lang"]), (None, &Value::from("hi")));
    }

    #[test]
    fn an_endless_csv_field_is_refused() {
        let text = format!("id,text\n1,one\n2,\"{}", "x".repeat(4 * AHEAD as usize));
        check("a.csv", text.as_bytes(), &[Ok(("1", "one")), Err(ErrorKind::LimitExceeded)]);
    }

    #[test]
    fn a_file_of_another_kind_or_none_is_refused() {
        let kind = |path: &str| read_records(path, RecordConfig::default()).unwrap_err().kind();
        assert_eq!(kind("/nowhere/a.jsonl"), ErrorKind::NotFound);
        assert_eq!(kind("/nowhere/a.xml"), ErrorKind::InvalidInput);
    }
}
