//! Reading the file of an archive: all of it is checked before anything is handed on.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::line::{Archive, Header, IMPORTING, Part, damaged};
use crate::{
    error::{Error, ErrorKind, Result, Retry},
    runtime::Cancel,
    storage::check_name,
    types::{Digest, TenantId},
};

/// The last line is shorter than this: five numbers and their names.
const LONGEST_END: u64 = 512;
/// How much is read at once.
const BUFFER: usize = 1 << 16;

/// A file that was checked; it stays open, so that another file moved to its place changes nothing.
#[derive(Debug)]
pub(super) struct Checked {
    path: PathBuf,
    file: File,
    pub(super) header: Header,
    pub(super) archive: Archive,
    /// Where the last line begins.
    end: u64,
}

/// Opens a file and checks first its digest and then every line.
pub(super) fn check(path: &Path, cancel: &Cancel) -> Result<Checked> {
    let with_path = |err: Error| err.with("path", path.display());
    let mut file = File::open(path).map_err(|err| unread(path, err))?;
    let (archive, end) = last_line(path, &mut file)?.ok_or_else(|| {
        with_path(damaged("the file is no archive, or its end is missing; take another copy"))
    })?;
    // In pieces, not lines: a file that is damaged may be one line as long as the disk.
    if digest(path, &mut file, end, cancel)? != archive.digest {
        return Err(with_path(damaged(
            "the digest does not match, so the file was changed; take another copy",
        )));
    }
    let header = first_line(path, &mut file, end)?;
    let checked = Checked { path: path.to_owned(), file, header, archive, end };
    checked.walk(cancel, |_| Ok(()))?;
    Ok(checked)
}

impl Checked {
    /// Goes through the lines between the first and the last, and fails when they are not those that were checked.
    pub(super) fn walk(&self, cancel: &Cancel, mut each: impl FnMut(Part) -> Result<()>) -> Result<()> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0)).map_err(|err| unread(&self.path, err))?;
        let mut input = BufReader::with_capacity(BUFFER, file.take(self.end));
        let (mut sum, mut form, mut line, mut number) = (Sha256::new(), Form::default(), Vec::new(), 0_u64);
        loop {
            if cancel.is_cancelled() {
                return Err(stopped());
            }
            line.clear();
            if input.read_until(b'\n', &mut line).map_err(|err| unread(&self.path, err))? == 0 {
                break;
            }
            number += 1;
            sum.update(&line);
            if number == 1 {
                continue;
            }
            let of_line = |err: Error| err.with("line", number).with("path", self.path.display());
            let part = line
                .strip_suffix(b"\n")
                .ok_or_else(|| damaged("the line has no end"))
                .and_then(Part::of_line)
                .map_err(of_line)?;
            form.next(&part).map_err(of_line)?;
            each(part)?;
        }
        let digest = Digest::from_bytes(sum.finalize().into());
        let found = form.end().map_err(|err| err.with("path", self.path.display()))?;
        if (Archive { digest, ..found }) == self.archive {
            return Ok(());
        }
        Err(damaged("the counts or the digest do not match what the file holds")
            .with("path", self.path.display()))
    }
}

/// The order that lines must have.
#[derive(Default)]
struct Form {
    tenant: Option<TenantId>,
    stream: Option<String>,
    key: Option<String>,
    before: Before,
    records: u64,
    keys: u64,
    streams: u64,
    tenants: u64,
}

/// What the line before was.
#[derive(Clone, Copy, Default, PartialEq)]
enum Before {
    #[default]
    Header,
    Tenant,
    Stream,
    Record,
    Key,
    Value,
}

impl Form {
    fn next(&mut self, part: &Part) -> Result<()> {
        let open = matches!(self.before, Before::Stream | Before::Key);
        if open && !matches!(part, Part::Payload(_)) {
            return Err(damaged("expected a record or a value"));
        }
        match part {
            Part::Tenant(tenant) => {
                ascending(self.tenant.as_ref(), tenant)?;
                self.tenant = Some(tenant.clone());
                (self.stream, self.key) = (None, None);
                self.tenants += 1;
                self.before = Before::Tenant;
            }
            Part::Stream(name) => {
                if !matches!(self.before, Before::Tenant | Before::Record) {
                    return Err(damaged("a stream is out of place"));
                }
                check_name("storage.import", "stream", name).map_err(bad_name)?;
                ascending(self.stream.as_ref(), name)?;
                self.stream = Some(name.clone());
                self.streams += 1;
                self.before = Before::Stream;
            }
            Part::Key(key) => {
                if self.before == Before::Header || key == IMPORTING {
                    return Err(damaged("a key is out of place"));
                }
                check_name("storage.import", "key", key).map_err(bad_name)?;
                ascending(self.key.as_ref(), key)?;
                self.key = Some(key.clone());
                self.keys += 1;
                self.before = Before::Key;
            }
            Part::Payload(_) => {
                self.before = match self.before {
                    Before::Stream | Before::Record => Before::Record,
                    Before::Key => Before::Value,
                    Before::Header | Before::Tenant | Before::Value => {
                        return Err(damaged("a record or a value is out of place"));
                    }
                };
                self.records += u64::from(self.before == Before::Record);
            }
        }
        Ok(())
    }

    /// What there was, without its digest.
    fn end(self) -> Result<Archive> {
        if matches!(self.before, Before::Stream | Before::Key) {
            return Err(damaged("expected a record or a value"));
        }
        let Self { tenants, keys, streams, records, .. } = self;
        Ok(Archive { tenants, keys, streams, records, ..Archive::EMPTY })
    }
}

fn ascending<T: Ord>(before: Option<&T>, next: &T) -> Result<()> {
    match before {
        Some(before) if before >= next => Err(damaged("a name is out of order")),
        _ => Ok(()),
    }
}

fn bad_name(err: Error) -> Error {
    damaged("a name is none that a store can have").caused_by(err)
}

/// What the last line says and where it begins; `None` when it is not one.
fn last_line(path: &Path, file: &mut File) -> Result<Option<(Archive, u64)>> {
    let read = |file: &mut File| {
        let size = file.seek(SeekFrom::End(0))?;
        let start = size.saturating_sub(LONGEST_END);
        file.seek(SeekFrom::Start(start))?;
        let mut tail = Vec::new();
        file.take(LONGEST_END).read_to_end(&mut tail)?;
        Ok((start, tail))
    };
    let (start, tail) = read(file).map_err(|err| unread(path, err))?;
    let last = tail.strip_suffix(b"\n").and_then(|tail| tail.iter().rposition(|byte| *byte == b'\n'));
    let Some((before, line)) = last.and_then(|at| tail.split_at_checked(at + 1)) else { return Ok(None) };
    Ok(Archive::of_line(line).map(|archive| (archive, start + before.len() as u64)))
}

fn digest(path: &Path, file: &mut File, end: u64, cancel: &Cancel) -> Result<Digest> {
    file.seek(SeekFrom::Start(0)).map_err(|err| unread(path, err))?;
    let (mut sum, mut buffer, mut input) = (Sha256::new(), vec![0; BUFFER], file.take(end));
    loop {
        if cancel.is_cancelled() {
            return Err(stopped());
        }
        match input.read(&mut buffer) {
            Ok(0) => return Ok(Digest::from_bytes(sum.finalize().into())),
            Ok(read) => sum.update(buffer.get(..read).unwrap_or_default()),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(unread(path, err)),
        }
    }
}

fn first_line(path: &Path, file: &mut File, end: u64) -> Result<Header> {
    file.seek(SeekFrom::Start(0)).map_err(|err| unread(path, err))?;
    let mut line = Vec::new();
    let mut input = BufReader::new(file.take(end.min(LONGEST_END)));
    input.read_until(b'\n', &mut line).map_err(|err| unread(path, err))?;
    Header::of_line(&line).map_err(|err| err.with("path", path.display()))
}

/// The error of whoever is told to stop.
pub(super) fn stopped() -> Error {
    Error::new(ErrorKind::Cancelled, "storage.import", "the import was stopped")
}

fn unread(path: &Path, err: io::Error) -> Error {
    let (kind, retry, message) = match err.kind() {
        io::ErrorKind::NotFound => (
            ErrorKind::NotFound,
            Retry::Never,
            "there is no such file; check the spelling and the working directory",
        ),
        io::ErrorKind::PermissionDenied => {
            (ErrorKind::PermissionDenied, Retry::Never, "the file may not be read; allow it")
        }
        io::ErrorKind::IsADirectory => {
            (ErrorKind::InvalidInput, Retry::Never, "expected the path of a file, got a folder")
        }
        _ => (ErrorKind::Unavailable, Retry::Soon, "the file cannot be read"),
    };
    Error::new(kind, "storage.import", message).with("path", path.display()).retryable(retry).caused_by(err)
}
