//! Event streams (oracle: eventsource-parser, MIT) are decoded alike, whole and in the given pieces.

use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use raptorflow_core::model::{SseDecoder, SseEvent, SseMessage};
use raptorflow_tests::exam;
use serde::{Deserialize, Deserializer, de::Visitor};

#[derive(Deserialize)]
struct Case {
    id: String,
    stream: String,
    chunks: Vec<Units>,
    expected: Vec<Expected>,
    chunk_invariant_in_oracle: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Expected {
    Retry { retry: u64 },
    Message { event: Option<String>, id: Option<String>, data: String },
}

pub(crate) fn trial() -> Trial {
    let rows = exam("dev/sse_parse_cases.jsonl");
    let absent = rows.is_none();
    Trial::test("model::event_streams_are_decoded_as_by_the_reference_parser", move || {
        check(&rows.unwrap_or_default())
    })
    .with_ignored_flag(absent)
}

fn check(rows: &str) -> Result<(), Failed> {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for row in rows.split('\n').filter(|row| !row.is_empty()) {
        let case: Case = serde_json::from_str(row)?;
        count += 1;
        let expected: Vec<SseEvent> = case.expected.into_iter().map(event).collect();
        let bytes = case.stream.as_bytes();
        let mut same = decode([bytes])? == expected;
        if case.chunk_invariant_in_oracle {
            same &= decode(cut(&case.stream, &case.chunks))? == expected;
            // Single bytes also cut characters and CRLF.
            same &= decode(bytes.chunks(1))? == expected;
        }
        if !same {
            wrong.push(case.id);
        }
    }
    if wrong.is_empty() && count > 0 {
        return Ok(());
    }
    Err(format!("{} of {count} differ: {}", wrong.len(), wrong.join(" ")).into())
}

/// How many UTF-16 units a piece has: the reference cuts between the halves of a character, which no text can hold.
struct Units(usize);

impl<'de> Deserialize<'de> for Units {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Count;
        impl Visitor<'_> for Count {
            type Value = Units;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Units, E> {
                let units = bytes.iter().map(|byte| match byte {
                    0x80..=0xbf => 0,
                    0xf0.. => 2,
                    _ => 1,
                });
                Ok(Units(units.sum()))
            }
        }
        deserializer.deserialize_bytes(Count)
    }
}

/// The pieces as bytes; half a character is half of its bytes.
fn cut<'a>(stream: &'a str, pieces: &[Units]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = Vec::new();
    for (at, c) in stream.char_indices() {
        ends.extend((1..=c.len_utf16()).map(|unit| at + unit * c.len_utf8() / c.len_utf16()));
    }
    let (mut from, mut units) = (0, 0);
    let cut = pieces.iter().map(|piece| {
        units += piece.0;
        let to = if units == 0 { 0 } else { ends.get(units - 1).copied().unwrap_or(stream.len()) };
        let bytes = stream.as_bytes().get(from..to).unwrap_or_default();
        from = to;
        bytes
    });
    cut.collect()
}

fn event(expected: Expected) -> SseEvent {
    match expected {
        Expected::Retry { retry } => SseEvent::Retry(Duration::from_millis(retry)),
        Expected::Message { event, id, data } => SseEvent::Message(SseMessage { event, id, data }),
    }
}

fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> raptorflow_core::Result<Vec<SseEvent>> {
    let mut decoder = SseDecoder::default();
    // The cases are text as it is behind the decoding of UTF-8, which has taken one byte order mark away.
    decoder.push(b"\xef\xbb\xbf");
    let mut events = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        while let Some(event) = decoder.next_event()? {
            events.push(event);
        }
    }
    Ok(events)
}
