//! The lines of an archive: what each means and how it is written.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::{
    error::{Error, ErrorKind, Result},
    types::{Digest, TenantId},
};

/// The format that this version writes and reads.
pub(super) const FORMAT: u32 = 1;
/// The key that a tenant has while it is read back; it is in no archive.
pub(super) const IMPORTING: &str = "raptorflow/importing";

/// What an archive holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Archive {
    /// How many tenants; one in an export, also when it has nothing.
    pub tenants: u64,
    /// How many keys.
    pub keys: u64,
    /// How many streams.
    pub streams: u64,
    /// How many records of streams.
    pub records: u64,
    /// The SHA-256 in its last line: two archives with the same one are the same.
    #[serde(rename = "sha256")]
    pub digest: Digest,
}

impl Archive {
    pub(super) const EMPTY: Self =
        Self { tenants: 0, keys: 0, streams: 0, records: 0, digest: Digest::from_bytes([0; 32]) };

    /// The last line, with its line feed.
    pub(super) fn line(&self) -> Result<Vec<u8>> {
        object("end", &serde_json::to_vec(self).map_err(unwritable)?)
    }

    /// What the last line, with its line feed, says.
    pub(super) fn of_line(line: &[u8]) -> Option<Self> {
        let archive: Self = serde_json::from_slice(inside(line.strip_suffix(b"\n")?, "end")?).ok()?;
        // Nothing vouches for this line, so no other spelling of it is taken.
        (archive.line().ok()? == line).then_some(archive)
    }
}

/// What an archive is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// One tenant.
    Export,
    /// Every tenant of a store.
    Snapshot,
}

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    #[serde(rename = "raptorflow")]
    pub(super) kind: Kind,
    pub(super) format: u32,
    /// RFC 3339; for people.
    pub(super) time: String,
}

/// What the first line of any format has.
#[derive(Deserialize)]
struct AnyFormat {
    #[serde(rename = "raptorflow")]
    _kind: IgnoredAny,
    format: u32,
}

impl Header {
    pub(super) fn line(&self) -> Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self).map_err(unwritable)?;
        line.push(b'\n');
        Ok(line)
    }

    pub(super) fn of_line(line: &[u8]) -> Result<Self> {
        if let Ok(AnyFormat { format, .. }) = serde_json::from_slice(line)
            && format != FORMAT
        {
            let message =
                "the archive has a format that this version does not know; use the version that wrote it";
            return Err(Error::new(ErrorKind::Corrupt, "storage.import", message)
                .with("found", format)
                .with("supported", FORMAT));
        }
        serde_json::from_slice(line)
            .map_err(|err| damaged("the first line is not that of an archive").caused_by(err))
    }
}

/// A line between the first and the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// What follows belongs to it.
    Tenant(TenantId),
    /// The records that follow belong to it.
    Stream(String),
    /// The value that follows belongs to it.
    Key(String),
    /// A record or a value.
    Payload(Bytes),
}

impl Part {
    /// The line, with its line feed.
    pub(super) fn line(&self) -> Result<Vec<u8>> {
        let text = |name, text: &str| object(name, &serde_json::to_vec(text).map_err(unwritable)?);
        match self {
            Self::Tenant(tenant) => text("tenant", tenant.as_str()),
            Self::Stream(name) => text("stream", name),
            Self::Key(key) => text("key", key),
            Self::Payload(bytes) => match std::str::from_utf8(bytes) {
                Ok(_) if is_json(bytes) => object("json", bytes),
                Ok(utf8) => text("text", utf8),
                Err(_) => text("base64", &STANDARD.encode(bytes)),
            },
        }
    }

    /// What a line, without its line feed, means.
    pub(super) fn of_line(line: &[u8]) -> Result<Self> {
        if let Some(json) = inside(line, "json") {
            return Ok(Self::Payload(Bytes::copy_from_slice(json)));
        }
        if let Some(text) = text(line, "text")? {
            return Ok(Self::Payload(text.into()));
        }
        if let Some(text) = text(line, "base64")? {
            let bytes = STANDARD.decode(text).map_err(|err| damaged("expected base64").caused_by(err))?;
            return Ok(Self::Payload(bytes.into()));
        }
        if let Some(name) = text(line, "stream")? {
            return Ok(Self::Stream(name));
        }
        if let Some(key) = text(line, "key")? {
            return Ok(Self::Key(key));
        }
        if let Some(name) = text(line, "tenant")? {
            let tenant =
                TenantId::new(name).map_err(|err| damaged("expected the name of a tenant").caused_by(err));
            return Ok(Self::Tenant(tenant?));
        }
        Err(damaged("the line is of no known kind"))
    }
}

/// The error of a file that is not as it was written.
pub(super) fn damaged(message: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, "storage.import", message)
}

/// Whether bytes are JSON that can stand in a line as they are.
fn is_json(bytes: &[u8]) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| !byte.is_ascii_whitespace());
    edge(bytes.first())
        && edge(bytes.last())
        && !bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r'))
        && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// The line of an object whose one field has a value that is JSON.
fn object(name: &str, value: &[u8]) -> Result<Vec<u8>> {
    Ok([b"{\"", name.as_bytes(), b"\":", value, b"}\n"].concat())
}

/// The value of the one field of an object.
fn inside<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(b"{\"")?.strip_prefix(name.as_bytes())?;
    rest.strip_prefix(b"\":")?.strip_suffix(b"}")
}

/// The text of the one field of an object.
fn text(line: &[u8], name: &str) -> Result<Option<String>> {
    let Some(value) = inside(line, name) else { return Ok(None) };
    serde_json::from_slice(value).map(Some).map_err(|err| damaged("expected a text").caused_by(err))
}

fn unwritable(err: serde_json::Error) -> Error {
    Error::new(ErrorKind::Internal, "storage.export", "a line cannot be written as JSON").caused_by(err)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    use super::*;

    fn check(bytes: &[u8], expected: &str) {
        let part = Part::Payload(Bytes::copy_from_slice(bytes));
        let line = part.line().unwrap();
        assert_eq!(String::from_utf8(line.clone()).unwrap(), format!("{expected}\n"));
        assert_eq!(Part::of_line(line.strip_suffix(b"\n").unwrap()).unwrap(), part);
    }

    #[test]
    fn json_stands_unchanged_text_is_escaped_and_other_bytes_are_base64() {
        check(br#"{"b": 1.50,"a":[null]}"#, r#"{"json":{"b": 1.50,"a":[null]}}"#);
        check(b"17", r#"{"json":17}"#);
        check(b"17 ", r#"{"text":"17 "}"#);
        check(b"[1,\n2]", r#"{"text":"[1,\n2]"}"#);
        check(b"not yet", r#"{"text":"not yet"}"#);
        check(b"", r#"{"text":""}"#);
        check(&[0, 1, 2, 255], r#"{"base64":"AAEC/w=="}"#);
        check(br#"1},{"json":2"#, r#"{"text":"1},{\"json\":2"}"#);
    }

    #[test]
    fn an_end_that_is_spelled_in_another_way_is_none() {
        let line = Archive::EMPTY.line().unwrap();
        assert_eq!(Archive::of_line(&line), Some(Archive::EMPTY));
        let text = String::from_utf8(line).unwrap();
        for other in [text.replace(":0", ": 0"), text.replace("{\"end", " {\"end"), text.trim().to_owned()] {
            assert_eq!(Archive::of_line(other.as_bytes()), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_as_they_were(
            bytes in any::<Vec<u8>>(),
            text in "[{}\\[\\]\":,0-9a\\\\ \n\t\u{e9}]{0,24}",
            name in prop::string::string_regex("[^\0]{1,30}").unwrap(),
        ) {
            let parts = [
                Part::Payload(bytes.into()), Part::Payload(text.into()), Part::Stream(name.clone()), Part::Key(name),
            ];
            for part in parts {
                let line = part.line().unwrap();
                let one = line.strip_suffix(b"\n").unwrap();
                prop_assert_eq!(one.iter().filter(|byte| **byte == b'\n').count(), 0);
                prop_assert_eq!(Part::of_line(one).unwrap(), part);
            }
        }
    }
}
