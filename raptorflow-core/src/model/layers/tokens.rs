//! About how many tokens a request has, from its text and its media.

use std::io;

use serde::Serialize;

use crate::{
    model::{ChatRequest, Output, ToolChoice},
    types::{Document, Media, Message, Part},
};

/// How many ASCII characters are counted as one token; see [`crate::economics::text_tokens`].
const CHARS_PER_TOKEN: u64 = 4;
/// What a picture takes: about the most that providers count for one that they do not cut into more tiles.
const IMAGE: u64 = 1600;
/// What a page of a file takes where it is read as text and as a picture.
const PAGE: u64 = 3000;
/// About how many bytes a page of a PDF has.
const PAGE_BYTES: u64 = 50_000;
/// How many pages a file has that the provider fetches.
const PAGES: u64 = 10;

/// How many tokens an answer is expected to have when the request does not bound it.
pub(super) const OUTPUT_TOKENS: u64 = 1024;

/// About how many tokens a call takes: those of its request, and of an answer of usual length or of its bound.
pub(super) fn call_tokens(request: &ChatRequest) -> u64 {
    let bound = request.max_output_tokens.map_or(OUTPUT_TOKENS, |bound| OUTPUT_TOKENS.min(bound.into()));
    request_tokens(request).saturating_add(bound)
}

/// About how many tokens a request has: those of its JSON, which is a little more than what providers count, with
/// pictures and files counted by what they show and not by their bytes.
pub(super) fn request_tokens(request: &ChatRequest) -> u64 {
    // What cannot be JSON is no request that could be sent.
    let Ok(count) = counted(request) else { return u64::MAX };
    let parts = request.messages.iter().flat_map(|message| &message.parts);
    let media = parts.filter_map(|part| match part {
        Part::Image(media) => Some((encoded(media), IMAGE)),
        Part::Document(document) => Some((encoded(&document.media), document_tokens(document))),
        _ => None,
    });
    let (encoded, shown) = media
        .fold((0_u64, 0_u64), |(chars, shown), (more, tokens)| (chars + more, shown.saturating_add(tokens)));
    count.ascii.saturating_sub(encoded).div_ceil(CHARS_PER_TOKEN) + count.other + shown
}

/// The characters of a request's JSON; what every call has is counted without making that.
fn counted(request: &ChatRequest) -> serde_json::Result<Count> {
    let ChatRequest {
        messages,
        tools,
        tool_choice,
        output,
        temperature,
        max_output_tokens,
        top_p,
        stop,
        seed,
        reasoning,
        parallel_tool_calls,
        keep_prompt,
    } = request;
    let mut count = Count::default();
    count.raw("{\"messages\":[]");
    count.commas(messages.len());
    for Message { role, parts } in messages {
        count.raw("{\"role\":,\"parts\":[]}");
        count.commas(parts.len());
        count.json(role)?;
        for part in parts {
            match part {
                Part::Text { text } => {
                    count.raw("{\"type\":\"text\",\"text\":\"\"}");
                    count.text(text);
                }
                other => count.json(other)?,
            }
        }
    }
    if tools.is_empty() {
        count.raw(",\"tools\":[]");
    } else {
        count.raw(",\"tools\":");
        count.json(tools)?;
    }
    if *tool_choice == ToolChoice::Auto && *output == Output::Text {
        count.raw(",\"tool_choice\":\"auto\",\"output\":{\"type\":\"text\"}");
    } else {
        count.raw(",\"tool_choice\":,\"output\":");
        count.json(tool_choice)?;
        count.json(output)?;
    }
    count.raw(",\"temperature\":,\"max_output_tokens\":");
    count.number(*temperature)?;
    count.number(*max_output_tokens)?;
    count.optional("top_p", top_p.as_ref())?;
    count.optional("stop", Some(stop).filter(|stop| !stop.is_empty()))?;
    count.optional("seed", seed.as_ref())?;
    count.optional("reasoning", reasoning.as_ref())?;
    count.optional("parallel_tool_calls", parallel_tool_calls.as_ref())?;
    count.optional("keep_prompt", keep_prompt.as_ref())?;
    count.raw("}");
    Ok(count)
}

fn encoded(media: &Media) -> u64 {
    media.base64().map_or(0, |text| text.len() as u64)
}

fn document_tokens(document: &Document) -> u64 {
    match document.media.len() {
        Some(bytes) if document.media.is_text() => (bytes as u64).div_ceil(CHARS_PER_TOKEN),
        Some(bytes) => (bytes as u64).div_ceil(PAGE_BYTES).max(1) * PAGE,
        None => PAGES * PAGE,
    }
}

/// Counts characters and keeps none.
#[derive(Default)]
struct Count {
    ascii: u64,
    other: u64,
}

impl Count {
    /// A piece of JSON without characters that are not ASCII.
    fn raw(&mut self, json: &str) {
        self.ascii += json.len() as u64;
    }

    fn json(&mut self, value: &(impl Serialize + ?Sized)) -> serde_json::Result<()> {
        serde_json::to_writer(self, value)
    }

    /// What is between the items of a list.
    fn commas(&mut self, items: usize) {
        self.ascii += items.saturating_sub(1) as u64;
    }

    fn number(&mut self, number: Option<impl Serialize>) -> serde_json::Result<()> {
        match number {
            Some(number) => self.json(&number),
            None => {
                self.raw("null");
                Ok(())
            }
        }
    }

    /// A member that is left out where it is not set.
    fn optional(&mut self, name: &str, value: Option<&impl Serialize>) -> serde_json::Result<()> {
        let Some(value) = value else { return Ok(()) };
        self.raw(",\"\":");
        self.raw(name);
        self.json(value)
    }

    /// A text between its quotes.
    fn text(&mut self, text: &str) {
        // All bytes and without a branch, so that many of them are counted at a time, in numbers as wide as a byte.
        for bytes in text.as_bytes().chunks(usize::from(u8::MAX)) {
            let (mut other, mut within, mut short, mut long) = (0_u8, 0_u8, 0_u8, 0_u8);
            for byte in bytes {
                let escaped = matches!(byte, b'"' | b'\\' | 0x08 | b'\t' | b'\n' | 0x0c | b'\r');
                other += u8::from(*byte >= 0xc0);
                within += u8::from(*byte >= 0x80);
                short += u8::from(escaped);
                long += u8::from(*byte < b' ' && !escaped);
            }
            // Such as `\n` and such as `\u0000`.
            self.ascii += (bytes.len() - usize::from(within)) as u64 + u64::from(short) + 5 * u64::from(long);
            self.other += u64::from(other);
        }
    }
}

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Most text, and that is seen many bytes at a time.
        if bytes.is_ascii() {
            self.ascii += bytes.len() as u64;
            return Ok(bytes.len());
        }
        for byte in bytes {
            // The bytes of a character after its first one are not counted.
            match byte {
                0x00..=0x7f => self.ascii += 1,
                0xc0..=0xff => self.other += 1,
                0x80..=0xbf => {}
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::{
        model::{Effort, KeepPrompt, Reasoning},
        types::{Role, Schema, ToolCall, ToolSpec},
    };

    #[test]
    fn the_characters_of_a_request_are_those_of_its_json() {
        let check = |request: &ChatRequest| {
            let json = serde_json::to_string(request).unwrap();
            let count = counted(request).unwrap();
            let ascii = json.chars().filter(char::is_ascii).count();
            let expected = (ascii as u64, (json.chars().count() - ascii) as u64);
            assert_eq!((count.ascii, count.other), expected, "{json}");
        };
        check(&ChatRequest::default());
        let every: String = (0..0x250).filter_map(char::from_u32).collect();
        let texts = ["", "plain", "\"quoted\" \\ \n\r\t\u{8}\u{c}\u{0}\u{1f}\u{7f}", "योजना ₹499 😀", &every];
        let long = texts.concat().repeat(9);
        let parts: Vec<Part> = texts.iter().copied().chain([&*long]).map(Part::text).collect();
        let thought = Part::Reasoning { text: "so".into(), opaque: Some(json!({"é": 1})) };
        let call = ToolCall { id: "1".into(), name: "look".into(), arguments: json!({"at": "x"}) };
        let mut request = ChatRequest::new(vec![
            Message::system("Be \"polite\"."),
            Message { role: Role::User, parts },
            Message { role: Role::Assistant, parts: vec![thought, Part::ToolCall(call)] },
            Message { role: Role::Tool, parts: vec![] },
        ]);
        check(&request);
        request.tool_choice = ToolChoice::Tool("look".into());
        check(&request);
        request.output = Output::Json { name: "é".into(), schema: Schema::any_object() };
        request.tools = Arc::from([ToolSpec::new("look", "Looks.", Schema::any_object())]);
        check(&request);
        (request.temperature, request.max_output_tokens, request.top_p) = (Some(0.7), Some(900), Some(0.5));
        check(&request);
        (request.seed, request.stop) = (Some(7), vec!["a\n".into(), "b".into()]);
        request.reasoning = Some(Reasoning::Effort(Effort::Low));
        request.parallel_tool_calls = Some(true);
        request.keep_prompt = Some(KeepPrompt::Hours);
        check(&request);
    }

    #[test]
    fn media_count_by_what_they_show_and_not_by_their_bytes() {
        let tokens =
            |part| request_tokens(&ChatRequest::new(vec![Message { role: Role::User, parts: vec![part] }]));
        let file = |kind: &str, size| {
            Part::Document(Document { media: Media::bytes(kind, &vec![b'x'; size]).unwrap(), name: None })
        };
        let image = |size| tokens(Part::Image(Media::bytes("image/png", &vec![0; size]).unwrap()));
        assert_eq!(image(1 << 20), image(1 << 10));
        assert!((IMAGE..IMAGE + 100).contains(&image(9)), "{}", image(9));
        let around = tokens(Part::text(""));
        let text = tokens(file("text/plain", 4_000));
        assert!((1_000..1_100 + around).contains(&text), "{text}");
        let pages = tokens(file("application/pdf", 170_000));
        assert!((4 * PAGE..4 * PAGE + 100).contains(&pages), "{pages}");
        assert!(tokens(Part::Image(Media::url("https://host/x.png").unwrap())) < IMAGE + 100);
    }
}
