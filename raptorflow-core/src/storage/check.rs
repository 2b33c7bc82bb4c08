//! The checks that every backend makes, so that all refuse the same things with the same words.

use std::ops::Bound;

use crate::{
    error::{Error, ErrorKind, Result},
    storage::{Expect, Fence},
};

/// The longest key, stream or lease name, in bytes.
const MAX_NAME: usize = 1024;

/// Checks a key, a stream or a lease name: 1 to 1,024 bytes without NUL.
///
/// # Errors
/// `InvalidInput` that names the field and what was expected.
pub fn check_name(operation: &'static str, field: &'static str, name: &str) -> Result<()> {
    let expected = if name.is_empty() {
        "expected 1 to 1,024 bytes, got none"
    } else if name.len() > MAX_NAME {
        "expected at most 1,024 bytes"
    } else if name.as_bytes().contains(&0) {
        "expected no NUL byte"
    } else {
        return Ok(());
    };
    let shown: String = name.chars().take(64).collect();
    Err(Error::new(ErrorKind::InvalidInput, operation, expected)
        .with(field, shown.escape_debug())
        .with("bytes", name.len()))
}

/// Checks the version of a key against what the caller expects; `found` is `None` for a missing key.
///
/// # Errors
/// `Conflict` that names the key and both versions.
pub fn check_version(operation: &'static str, key: &str, expect: Expect, found: Option<u64>) -> Result<()> {
    let expected = match (expect, found) {
        (Expect::Any, _) | (Expect::Absent, None) => return Ok(()),
        (Expect::Version(version), Some(found)) if version == found => return Ok(()),
        (Expect::Absent, Some(_)) => 0,
        (Expect::Version(version), _) => version,
    };
    Err(Error::new(ErrorKind::Conflict, operation, "the key has another version than expected")
        .with("key", key)
        .with("expected", expected)
        .with("found", found.unwrap_or(0)))
}

/// Checks the length of a stream against what the caller expects.
///
/// # Errors
/// `Conflict` that names the stream and both lengths.
pub fn check_length(operation: &'static str, stream: &str, expected: Option<u64>, found: u64) -> Result<()> {
    match expected {
        Some(expected) if expected != found => {
            Err(Error::new(ErrorKind::Conflict, operation, "the stream has another length than expected")
                .with("stream", stream)
                .with("expected", expected)
                .with("found", found))
        }
        _ => Ok(()),
    }
}

/// Checks a fence against the token of the newest grant; `newest` is `None` when there is none or it was released.
///
/// # Errors
/// `Conflict` that names the lease and both tokens.
pub fn check_fence(operation: &'static str, fence: &Fence, newest: Option<u64>) -> Result<()> {
    if newest == Some(fence.token) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Conflict, operation, "the lease was released or granted again")
        .with("lease", &fence.lease)
        .with("token", fence.token)
        .with("newest", newest.unwrap_or(0)))
}

/// Where a walk in byte order over names with `prefix` begins when it goes on after `after`.
#[must_use]
pub fn scan_start<'a>(prefix: &'a str, after: Option<&'a str>) -> Bound<&'a str> {
    match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    }
}
