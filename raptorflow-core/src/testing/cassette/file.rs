//! The file of a cassette: a line that says what it is, and a line of JSON for each exchange.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind as IoKind, Write as _},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};

/// The version of the format.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    cassette: u32,
}

/// A request and its answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exchange {
    pub(super) method: String,
    pub(super) url: String,
    /// JSON, or a string where the body was none.
    pub(super) body: Value,
    pub(super) status: u16,
    #[serde(default)]
    pub(super) headers: Vec<(String, String)>,
    /// The answer in the pieces in which it arrived.
    pub(super) answer: Vec<Piece>,
    /// What ended the answer early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failed: Option<Error>,
}

/// A piece of an answer: text, or bytes that are none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Piece {
    Text(String),
    Bytes { base64: String },
}

impl Piece {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes)
            .map_or_else(|err| Self::Bytes { base64: STANDARD.encode(err.as_bytes()) }, Self::Text)
    }

    fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text.as_bytes().to_vec()),
            Self::Bytes { base64 } => STANDARD.decode(base64).ok(),
        }
    }
}

impl Exchange {
    /// The pieces of the answer as they go over the wire.
    pub(super) fn pieces(&self) -> Vec<Vec<u8>> {
        self.answer.iter().filter_map(Piece::bytes).collect()
    }
}

/// The exchanges of a file; `None` when there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<Exchange>>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(err) if err.kind() == IoKind::NotFound => return Ok(None),
        Err(err) => return Err(failed("cannot read the cassette", path).caused_by(err)),
    };
    let damaged = |line: usize, reason: &str| {
        Error::new(ErrorKind::Corrupt, "cassette.read", "the cassette is damaged or of another version")
            .with("file", path.display())
            .with("line", line)
            .with("reason", reason)
    };
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    match lines.next().map(|(_, line)| serde_json::from_str(line)) {
        Some(Ok(Head { cassette: VERSION })) => {}
        _ => return Err(damaged(1, "the first line does not say that this is a cassette of version 1")),
    }
    let exchange = |(index, line): (usize, &str)| {
        let exchange: Exchange = serde_json::from_str(line).map_err(|err| {
            let reason = err.to_string();
            // What serde quotes of the line is not told.
            damaged(index + 1, reason.split('`').next().unwrap_or_default())
        })?;
        if exchange.answer.iter().any(|piece| piece.bytes().is_none()) {
            return Err(damaged(index + 1, "a piece of the answer is not base64"));
        }
        Ok(exchange)
    };
    lines.map(exchange).collect::<Result<_>>().map(Some)
}

/// Adds an exchange; `new` begins the file anew.
pub(super) fn append(path: &Path, new: bool, exchange: &Exchange) -> Result<()> {
    let mut text = String::new();
    if new {
        text.push_str(&line(&Head { cassette: VERSION })?);
    }
    text.push_str(&line(exchange)?);
    let mut options = OpenOptions::new();
    options.create(true).write(true);
    if new {
        options.truncate(true)
    } else {
        options.append(true)
    };
    let done = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    done.map_err(|err| failed("cannot write the cassette", path).caused_by(err))
}

fn line(what: &impl Serialize) -> Result<String> {
    serde_json::to_string(what).map(|text| text + "\n").map_err(|err| {
        Error::new(ErrorKind::Internal, "cassette.write", "an exchange cannot be written as JSON")
            .caused_by(err)
    })
}

fn failed(message: &'static str, path: &Path) -> Error {
    Error::new(ErrorKind::Unavailable, "cassette.open", message).with("file", path.display())
}
