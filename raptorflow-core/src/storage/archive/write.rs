//! Writing the file of an archive: beside its place first, then synced and moved there.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::Receiver;

use super::line::{Archive, Header, Part};
use crate::{
    error::{Error, ErrorKind, Result, Retry},
    types::Digest,
};

/// What goes to the file.
pub(super) enum Message {
    /// The next lines.
    Parts(Vec<Part>),
    /// There are no more.
    Done,
}

/// Writes what the queue gives; `unique` tells this file apart from others that are written for the same place.
///
/// When the queue ends without [`Message::Done`], nothing of it stays.
pub(super) fn write(
    path: &Path,
    unique: &str,
    header: &Header,
    mut queue: Receiver<Message>,
) -> Result<Archive> {
    let mut file = Partial::begin(path, unique)?;
    file.line(&header.line()?)?;
    loop {
        match queue.blocking_recv() {
            Some(Message::Parts(parts)) => parts.iter().try_for_each(|part| file.part(part))?,
            Some(Message::Done) => return file.end(path),
            None => return Err(Error::new(ErrorKind::Cancelled, "storage.export", "the export was stopped")),
        }
    }
}

/// A file beside the place of the archive; removed when dropped, unless it was moved there.
struct Partial {
    path: PathBuf,
    // `None` once it is complete.
    out: Option<BufWriter<File>>,
    sum: Sha256,
    archive: Archive,
    in_stream: bool,
    moved: bool,
}

impl Partial {
    fn begin(path: &Path, unique: &str) -> Result<Self> {
        let Some(name) = path.file_name().filter(|_| !path.is_dir()) else {
            let expected = "expected the path of a file, got a folder; name a file in it";
            return Err(
                Error::new(ErrorKind::InvalidInput, "storage.export", expected).with("path", path.display())
            );
        };
        // In the same folder: only there moving it is one step.
        let beside = path.with_file_name(format!("{}.{unique}.partial", name.to_string_lossy()));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        // It holds all that the tenants have, so nobody else reads it.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let out = options.open(&beside).map_err(|err| unwritten(path, err))?;
        let (out, sum) = (Some(BufWriter::with_capacity(1 << 16, out)), Sha256::new());
        Ok(Self { path: beside, out, sum, archive: Archive::EMPTY, in_stream: false, moved: false })
    }

    fn part(&mut self, part: &Part) -> Result<()> {
        let Archive { tenants, keys, streams, records, .. } = &mut self.archive;
        match part {
            Part::Tenant(_) => *tenants += 1,
            Part::Stream(_) => *streams += 1,
            Part::Key(_) => *keys += 1,
            Part::Payload(_) => *records += u64::from(self.in_stream),
        }
        self.in_stream = match part {
            Part::Stream(_) => true,
            Part::Payload(_) => self.in_stream,
            Part::Tenant(_) | Part::Key(_) => false,
        };
        self.line(&part.line()?)
    }

    fn line(&mut self, line: &[u8]) -> Result<()> {
        self.sum.update(line);
        self.raw(line)
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.out {
            Some(out) => out.write_all(bytes).map_err(|err| unwritten(&self.path, err)),
            None => Ok(()),
        }
    }

    fn end(mut self, path: &Path) -> Result<Archive> {
        self.archive.digest = Digest::from_bytes(self.sum.finalize_reset().into());
        self.raw(&self.archive.line()?)?;
        let synced = match self.out.take() {
            Some(out) => {
                out.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| file.sync_all())
            }
            None => Ok(()),
        };
        synced.map_err(|err| unwritten(path, err))?;
        fs::rename(&self.path, path).map_err(|err| unwritten(path, err))?;
        self.moved = true;
        // The name is in the folder, which is written by itself. Windows does that without being told.
        #[cfg(unix)]
        File::open(folder(path)).and_then(|folder| folder.sync_all()).map_err(|err| unwritten(path, err))?;
        Ok(self.archive)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        drop(self.out.take());
        if !self.moved
            && let Err(err) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), error = %err, "an unfinished archive was not removed");
        }
    }
}

#[cfg(unix)]
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn unwritten(path: &Path, err: io::Error) -> Error {
    let (kind, retry, message) = match err.kind() {
        io::ErrorKind::NotFound => {
            (ErrorKind::NotFound, Retry::Never, "the folder of the file does not exist; create it first")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            (ErrorKind::PermissionDenied, Retry::Never, "the folder is read-only; allow writing to it")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (ErrorKind::Unavailable, Retry::Soon, "the disk is full; free some space and try again")
        }
        _ => (ErrorKind::Unavailable, Retry::Soon, "the file cannot be written"),
    };
    Error::new(kind, "storage.export", message).with("path", path.display()).retryable(retry).caused_by(err)
}
