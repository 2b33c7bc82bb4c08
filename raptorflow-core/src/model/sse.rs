//! `SseDecoder`: an event stream (`text/event-stream`) from bytes in any pieces to events.

use std::{mem, time::Duration};

use crate::error::{Error, ErrorKind, Result};

/// The longest line and the largest event by default: 1 MiB.
const DEFAULT_MAX_BYTES: usize = 1 << 20;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// What an event stream says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SseEvent {
    /// A message.
    Message(SseMessage),
    /// How long to wait before connecting again.
    Retry(Duration),
}

/// A message of an event stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseMessage {
    /// The type; `None` is `message`.
    pub event: Option<String>,
    /// The id that the message itself sets; earlier ids are not repeated.
    pub id: Option<String>,
    /// The data lines, joined with line feeds.
    pub data: String,
}

/// Decodes an event stream by the rules of the WHATWG standard, without I/O.
///
/// Bytes may be cut anywhere, inside of a character and between CR and LF as well.
/// A CR at the end of the bytes counts as the end of a line when the next byte is known.
/// What is not ended by an empty line is no message; bytes that are not UTF-8 become U+FFFD.
///
/// ```
/// use raptorflow_core::model::{SseDecoder, SseEvent};
/// let mut decoder = SseDecoder::default();
/// decoder.push(b"data: on");
/// assert_eq!(decoder.next_event()?, None);
/// decoder.push(b"e\ndata: two\n\n");
/// let Some(SseEvent::Message(message)) = decoder.next_event()? else { unreachable!() };
/// assert_eq!(message.data, "one\ntwo");
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SseDecoder {
    buffer: Vec<u8>,
    /// Where the first line not yet read begins.
    start: usize,
    /// Up to where no end of a line was found.
    searched: usize,
    begun: bool,
    open: Open,
    max_bytes: usize,
}

/// The message that is being read.
#[derive(Clone, Debug, Default)]
struct Open {
    message: SseMessage,
    has_data: bool,
    /// It was given out, and is cleared before the next line.
    is_over: bool,
}

impl Default for SseDecoder {
    /// Lines and messages of at most 1 MiB.
    fn default() -> Self {
        Self::new(DEFAULT_MAX_BYTES)
    }
}

impl SseDecoder {
    /// Lines and messages of at most this many bytes.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, searched: 0, begun: false, open: Open::default(), max_bytes }
    }

    /// Adds the next bytes; take the events with [`SseDecoder::next_event`] before adding more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next event, or `None` when it needs more bytes.
    ///
    /// # Errors
    /// `LimitExceeded` when a line or a message is too long; the stream cannot be read on.
    pub fn next_event(&mut self) -> Result<Option<SseEvent>> {
        Ok(match self.advance()? {
            Some(Found::Message) => Some(SseEvent::Message(mem::take(&mut self.open.message))),
            Some(Found::Retry(pause)) => Some(SseEvent::Retry(pause)),
            None => None,
        })
    }

    /// The next message, read into a place that is used again for the one after it; wishes to wait are skipped.
    ///
    /// # Errors
    /// As [`SseDecoder::next_event`].
    #[cfg(any(feature = "model-openai", feature = "model-anthropic"))]
    pub(crate) fn next_message(&mut self) -> Result<Option<&SseMessage>> {
        loop {
            match self.advance()? {
                Some(Found::Message) => return Ok(Some(&self.open.message)),
                Some(Found::Retry(_)) => {}
                None => return Ok(None),
            }
        }
    }

    fn advance(&mut self) -> Result<Option<Found>> {
        if mem::take(&mut self.open.is_over) {
            self.open.clear();
        }
        while let Some((line, next)) = self.line_end() {
            let mut text = self.buffer.get(self.start..line).unwrap_or_default();
            if !mem::replace(&mut self.begun, true) {
                text = text.strip_prefix(BOM).unwrap_or(text);
            }
            (self.start, self.searched) = (next, next);
            let found = self.open.read(&String::from_utf8_lossy(text));
            if self.open.message.data.len() > self.max_bytes {
                return Err(self.too_long("a message of the event stream is too long"));
            }
            if found.is_some() {
                return Ok(found);
            }
        }
        if self.buffer.len() - self.start > self.max_bytes {
            return Err(self.too_long("a line of the event stream is too long"));
        }
        Ok(None)
    }

    /// End of the next line and begin of the one after it.
    fn line_end(&mut self) -> Option<(usize, usize)> {
        let rest = self.buffer.get(self.searched..)?;
        let Some(at) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
            self.searched = self.buffer.len();
            return None;
        };
        let end = self.searched + at;
        if self.buffer.get(end) == Some(&b'\n') {
            return Some((end, end + 1));
        }
        // A LF may follow the CR in the next piece.
        self.searched = end;
        let next = self.buffer.get(end + 1)?;
        Some((end, if *next == b'\n' { end + 2 } else { end + 1 }))
    }

    fn too_long(&self, message: &'static str) -> Error {
        Error::new(ErrorKind::LimitExceeded, "sse.decode", message).with("max_bytes", self.max_bytes)
    }
}

/// What a line completed.
enum Found {
    Message,
    Retry(Duration),
}

impl Open {
    fn clear(&mut self) {
        self.message.data.clear();
        self.message.event = None;
        self.message.id = None;
    }

    fn read(&mut self, line: &str) -> Option<Found> {
        if line.is_empty() {
            if mem::take(&mut self.has_data) {
                self.is_over = true;
                return Some(Found::Message);
            }
            self.clear();
            return None;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if mem::replace(&mut self.has_data, true) {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            "event" => self.message.event = Some(value.to_owned()).filter(|name| !name.is_empty()),
            "id" if !value.contains('\0') => self.message.id = Some(value.to_owned()),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                return value.parse().ok().map(|millis| Found::Retry(Duration::from_millis(millis)));
            }
            // Comments begin with a colon; unknown fields are ignored.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes in pieces of every size and shows the events as `event|id|data` or `retry ms`.
    fn check(stream: impl AsRef<[u8]>, expected: &[&str]) {
        let stream = stream.as_ref();
        for size in 1..=stream.len() {
            let mut decoder = SseDecoder::default();
            let mut shown = Vec::new();
            for piece in stream.chunks(size) {
                decoder.push(piece);
                while let Some(event) = decoder.next_event().unwrap() {
                    shown.push(match event {
                        SseEvent::Retry(pause) => format!("retry {}", pause.as_millis()),
                        SseEvent::Message(SseMessage { event, id, data }) => {
                            format!("{}|{}|{data}", event.unwrap_or_default(), id.unwrap_or_default())
                        }
                    });
                }
            }
            assert_eq!(shown, expected, "in pieces of {size}");
        }
    }

    // The first streams are from the tests of eventsource-parser (MIT).
    #[test]
    fn messages_are_the_same_in_pieces_of_any_size() {
        check("data: YHOO\ndata: +2\ndata: 10\n\n", &["||YHOO\n+2\n10"]);
        check(
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            &["|1|first event", "||second event", "|| third event"],
        );
        check("data\n\ndata\ndata\n\ndata:\n", &["||", "||\n"]);
        check("event: a\r\ndata: {}\r\n\r\nevent: b\rdata: x\r\rdata: y\n\n", &["a||{}", "b||x", "||y"]);
        check("\u{feff}data: ₹ 日本語 🚀\n\n", &["||₹ 日本語 🚀"]);
    }

    #[test]
    fn fields_follow_the_standard() {
        check("retry: 3000\nretry: 1e3\nretry:\ndata: x\n\n", &["retry 3000", "||x"]);
        check("id: a\0b\nevent:\ndata: x\n\nevent: lost\n\ndata: y\n\n", &["||x", "||y"]);
        check("unknown: x\n:data: comment\ndata::colon\n\n", &["||:colon"]);
        check(b"data: \xff\n\n", &["||\u{fffd}"]);
        check("data: never ended\n", &[]);
    }

    #[test]
    fn lines_and_messages_have_a_bound() {
        for stream in ["data: 0123456789", "data: 01234\ndata: 56789\ndata: 0\n", ": 0123456789012345"] {
            let mut decoder = SseDecoder::new(12);
            decoder.push(stream.as_bytes());
            assert_eq!(decoder.next_event().unwrap_err().kind(), ErrorKind::LimitExceeded, "{stream}");
        }
    }
}
