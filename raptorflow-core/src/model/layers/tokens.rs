//! About how many tokens a request has, from its text and its media.

use std::io;

use crate::{
    model::ChatRequest,
    types::{Document, Media, Part},
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
    let mut count = Count::default();
    // It only counts, and what cannot be JSON is no request that could be sent.
    if serde_json::to_writer(&mut count, request).is_err() {
        return u64::MAX;
    }
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
    use super::*;
    use crate::types::{Message, Role};

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
