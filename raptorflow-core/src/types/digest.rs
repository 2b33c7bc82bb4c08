//! `Digest`: the content hash behind idempotent ingest, cache keys and drift detection.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, ErrorKind, Result};

/// How many bytes of JSON are hashed without making more room.
const HASHED: usize = 1024;

/// A SHA-256 of some content; lower-case hexadecimal in text.
///
/// ```
/// use raptorflow_core::types::Digest;
/// let digest = Digest::of(b"abc");
/// assert_eq!(&digest.to_string()[..8], "ba7816bf");
/// assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of one piece of content.
    #[must_use]
    pub fn of(content: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(content.as_ref()).into())
    }

    /// The digest of several pieces; each is preceded by its length, so that borders count.
    pub fn of_all<T: AsRef<[u8]>>(pieces: impl IntoIterator<Item = T>) -> Self {
        let mut hasher = Sha256::new();
        for piece in pieces {
            let piece = piece.as_ref();
            hasher.update((piece.len() as u64).to_le_bytes());
            hasher.update(piece);
        }
        Self(hasher.finalize().into())
    }

    /// The digest of a name and of a value's JSON; `None` for a value that cannot be JSON.
    ///
    /// The length of the name is before it, so that the border counts.
    pub(crate) fn of_json(name: &str, value: &impl Serialize) -> Option<Self> {
        // In one buffer, because a hash of the many small pieces that a writer gets takes longer.
        let mut hashed = Vec::with_capacity(HASHED);
        hashed.extend_from_slice(&(name.len() as u64).to_le_bytes());
        hashed.extend_from_slice(name.as_bytes());
        serde_json::to_writer(&mut hashed, value).ok()?;
        Some(Self::of(hashed))
    }

    /// Wraps the 32 bytes of a digest that was made elsewhere, such as of a file in pieces.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::new(ErrorKind::InvalidInput, "digest.parse", "expected 64 hexadecimal digits")
                .with("value", text)
        };
        if text.len() != 64 || !text.is_ascii() {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_a_value_is_that_of_its_name_and_its_json_however_long() {
        for length in [0, 1, 400, HASHED - 30, HASHED, 3 * HASHED, 10_000] {
            let name = "name".repeat(length % 7);
            let value = serde_json::json!({ "text": "x".repeat(length), "list": vec![1; length] });
            let mut whole = (name.len() as u64).to_le_bytes().to_vec();
            whole.extend(name.as_bytes());
            whole.extend(serde_json::to_vec(&value).unwrap());
            assert_eq!(Digest::of_json(&name, &value), Some(Digest::of(whole)), "{length}");
        }
    }
}
