//! From errors of PostgreSQL to errors of ours, each with what to do about it.

use sqlx::postgres::PgDatabaseError;

use crate::error::{Error, ErrorKind, Retry};

/// Ours, of the function that commits a batch: the writer's row is not there.
pub(super) const NOT_REGISTERED: &str = "RF001";
/// The server ended the statement because it took longer than it may.
pub(super) const STATEMENT_TIMEOUT: &str = "57014";
/// The statement waited longer for a lock than it may.
pub(super) const LOCK_TIMEOUT: &str = "55P03";

/// How a statement failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The connection is gone, and nobody knows whether the statement was done.
    Lost(Error),
    /// The server answered with an error: the statement was not done, and the connection is still good.
    Refused {
        /// The SQLSTATE.
        code: String,
        /// What it means.
        error: Error,
    },
}

impl Fault {
    pub(super) fn new(operation: &'static str, err: sqlx::Error) -> Self {
        let code = match &err {
            sqlx::Error::Database(database) => database
                .try_downcast_ref::<PgDatabaseError>()
                .map(|database| database.code().to_owned())
                .unwrap_or_default(),
            _ => String::new(),
        };
        let (kind, retry, message) = meaning(&code, &err);
        let error = Error::new(kind, operation, message).retryable(retry);
        // An error of settings may quote the address.
        let error = if matches!(err, sqlx::Error::Configuration(_)) { error } else { error.caused_by(err) };
        if code.is_empty() || is_end(&code) { Self::Lost(error) } else { Self::Refused { code, error } }
    }

    /// The server said nothing for longer than it may.
    pub(super) fn silent(operation: &'static str) -> Self {
        Self::Lost(
            Error::new(ErrorKind::Unavailable, operation, "the database did not answer in time")
                .retryable(Retry::Soon),
        )
    }

    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Lost(error) | Self::Refused { error, .. } => error,
        }
    }
}

/// Whether the server ends the connection after this, or is not the one that takes writes any more.
fn is_end(code: &str) -> bool {
    code.starts_with("08") || matches!(code, "57P01" | "57P02" | "57P03" | "57P05" | "25006" | "53300")
}

fn meaning(code: &str, err: &sqlx::Error) -> (ErrorKind, Retry, &'static str) {
    const GONE: (ErrorKind, Retry, &str) =
        (ErrorKind::Unavailable, Retry::Soon, "the database cannot be reached; check that it runs");
    match (code, code.get(..2).unwrap_or_default()) {
        ("", _) => match err {
            sqlx::Error::Io(_) => GONE,
            sqlx::Error::Tls(_) => (
                ErrorKind::Unavailable,
                Retry::Never,
                "no encrypted connection was agreed on; check sslmode and the certificates",
            ),
            sqlx::Error::Configuration(_) => {
                (ErrorKind::InvalidInput, Retry::Never, "a setting of the address cannot be used")
            }
            _ => (ErrorKind::Unavailable, Retry::Soon, "the connection to the database broke"),
        },
        ("57P01" | "57P02" | "57P03" | "57P05", _) | (_, "08") => {
            (ErrorKind::Unavailable, Retry::Soon, "the database is stopping or starting")
        }
        ("25006", _) => {
            (ErrorKind::Unavailable, Retry::Soon, "the server takes no writes now; it may be a standby")
        }
        ("53300", _) => (
            ErrorKind::Unavailable,
            Retry::Soon,
            "the database has no connection left; raise max_connections or use fewer readers",
        ),
        ("53100", _) => (
            ErrorKind::Unavailable,
            Retry::Soon,
            "the disk of the database is full; free some space and try again",
        ),
        (STATEMENT_TIMEOUT, _) => {
            (ErrorKind::Unavailable, Retry::Soon, "the database took longer than statement_timeout")
        }
        (LOCK_TIMEOUT, _) | (_, "40") => {
            (ErrorKind::Unavailable, Retry::Soon, "another transaction holds what this one needs")
        }
        (_, "53") => {
            (ErrorKind::Unavailable, Retry::Soon, "the database is out of memory or another resource")
        }
        (_, "28") => {
            (ErrorKind::Unauthenticated, Retry::Never, "the database refuses the user or its password")
        }
        ("3D000", _) => {
            (ErrorKind::NotFound, Retry::Never, "there is no such database; create it, or name another one")
        }
        ("42501", _) => (
            ErrorKind::PermissionDenied,
            Retry::Never,
            "the user may not do this; grant it CREATE on the database, or all on the schema",
        ),
        ("3F000" | "42P01" | "42883" | "42703", _) => (
            ErrorKind::Corrupt,
            Retry::Never,
            "the tables in the schema are missing or changed; restore them from a copy",
        ),
        (_, "54") => (
            ErrorKind::LimitExceeded,
            Retry::Never,
            "the value is larger than the database can hold; split it",
        ),
        ("XX001" | "XX002", _) => {
            (ErrorKind::Corrupt, Retry::Never, "the database is damaged; restore it from a copy")
        }
        (_, "58") => {
            (ErrorKind::Unavailable, Retry::Never, "the disk of the database failed; look at its log")
        }
        _ => (ErrorKind::Internal, Retry::Never, "a statement failed"),
    }
}

/// The error of every call after `close`.
pub(super) fn closed(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, operation, "the store is closed; open it again")
}
