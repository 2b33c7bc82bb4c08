//! From errors of SQLite to errors of ours, each with what to do about it.

use rusqlite::ErrorCode;

use crate::error::{Error, ErrorKind, Result, Retry};

/// Maps the error of a statement.
pub(super) trait OrFault<T> {
    fn or_fault(self, operation: &'static str) -> Result<T>;
}

impl<T> OrFault<T> for rusqlite::Result<T> {
    fn or_fault(self, operation: &'static str) -> Result<T> {
        self.map_err(|err| fault(operation, err))
    }
}

/// The error of ours that an error of SQLite means.
pub(super) fn fault(operation: &'static str, err: rusqlite::Error) -> Error {
    let (kind, retry, message) = match err.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            ErrorKind::Unavailable,
            Retry::Soon,
            "another process is writing to the database; let it finish or raise busy_timeout",
        ),
        Some(ErrorCode::DiskFull) => {
            (ErrorKind::Unavailable, Retry::Soon, "the disk is full; free some space and try again")
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            (ErrorKind::Corrupt, Retry::Never, "the database is damaged; restore it from a copy")
        }
        Some(ErrorCode::NotADatabase) => {
            (ErrorKind::Corrupt, Retry::Never, "the file is not an SQLite database; name another file")
        }
        Some(
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied,
        ) => (
            ErrorKind::PermissionDenied,
            Retry::Never,
            "the file or its folder is read-only; allow writing to both",
        ),
        Some(ErrorCode::CannotOpen) => (
            ErrorKind::Unavailable,
            Retry::Never,
            "the file cannot be opened; check the path and the permissions of its folder",
        ),
        Some(ErrorCode::SystemIoFailure) => {
            (ErrorKind::Unavailable, Retry::Never, "the disk failed; look at the system's log")
        }
        Some(ErrorCode::OutOfMemory) => (ErrorKind::Unavailable, Retry::Soon, "out of memory"),
        Some(ErrorCode::TooBig) => {
            (ErrorKind::LimitExceeded, Retry::Never, "the value is larger than SQLite can hold; split it")
        }
        Some(_) => (ErrorKind::Internal, Retry::Never, "a statement failed"),
        None => (ErrorKind::Corrupt, Retry::Never, "a stored row does not have the expected form"),
    };
    Error::new(kind, operation, message).retryable(retry).caused_by(err)
}

/// The error of every call after `close`.
pub(super) fn closed(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, operation, "the store is closed; open it again")
}
