//! `Scrub`: what a cassette leaves out, in addresses, bodies and the pieces that an answer arrives in.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use serde_json::Value;

use crate::security::Secret;

/// What stands where something was left out.
const GONE: &str = "***";
/// A secret that is shorter is not searched for in bodies: it would be found everywhere.
const MIN_SECRET: usize = 6;
/// How much follows the beginning of a key for it to be one.
const MIN_KEY: usize = 8;
/// Headers whose values are no secrets.
const PLAIN_HEADERS: [&str; 9] = [
    "accept",
    "accept-encoding",
    "anthropic-beta",
    "anthropic-version",
    "content-length",
    "content-type",
    "host",
    "idempotency-key",
    "user-agent",
];
/// How keys and the ids of organizations and projects begin.
const KEYS: [&str; 10] = ["sk-", "org-", "proj_", "AIza", "gsk_", "xai-", "hf_", "pplx-", "ghp_", "eyJhbGci"];
/// Parts of the names of query fields whose values are left out.
const QUERY: [&str; 7] = ["key", "token", "secret", "sig", "auth", "credential", "password"];

/// What a cassette leaves out besides what it leaves out always.
///
/// Always left out: the headers of requests; all headers of answers but the type of the content and what is said of
/// waiting; the values of request headers wherever they stand, but for a few that hold no secret; words that begin like
/// a key or an organization (`sk-`, `org-`, `AIza` and others); user names, passwords and keys in addresses.
///
/// ```
/// use raptorflow_core::{security::Secret, testing::Scrub};
/// let scrub = Scrub::default().secret(Secret::new("hunter22")).words_that_begin_with("cust_");
/// assert_eq!(scrub.text("hunter22 for cust_12345678, sk-abcdefghij"), "*** for ***, ***");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Scrub {
    secrets: Vec<Secret>,
    beginnings: Vec<String>,
}

impl Scrub {
    /// Leaves a text out wherever it stands; one of less than six bytes is not searched for.
    #[must_use]
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secrets.push(secret);
        self
    }

    /// Leaves out words with this beginning and at least eight letters, digits, `-` or `_` after it.
    #[must_use]
    pub fn words_that_begin_with(mut self, beginning: impl Into<String>) -> Self {
        self.beginnings.push(beginning.into());
        self
    }

    /// A text without what is left out.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut from = 0;
        for span in self.spans(text.as_bytes()) {
            out.push_str(text.get(from..span.start).unwrap_or_default());
            out.push_str(GONE);
            from = span.end;
        }
        out.push_str(text.get(from..).unwrap_or_default());
        out
    }

    /// The same with the secrets that the headers of a request hold.
    pub(super) fn with_headers(&self, headers: &[(Arc<str>, Secret)]) -> Self {
        let mut scrub = self.clone();
        for (name, value) in headers {
            if PLAIN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
                continue;
            }
            scrub.secrets.push(value.clone());
            // `Bearer …`, where only the second half is the secret.
            if let Some((_, bare)) = value.expose().split_once(' ') {
                scrub.secrets.push(Secret::new(bare));
            }
        }
        scrub
    }

    /// A value whose strings and names of fields are scrubbed.
    pub(super) fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => {
                fields.into_iter().map(|(name, value)| (self.text(&name), self.value(value))).collect()
            }
            other => other,
        }
    }

    /// An address without who asks and without the keys in its query.
    pub(super) fn address(&self, url: &str) -> String {
        let (address, query) = url.split_once('?').map_or((url, None), |(head, tail)| (head, Some(tail)));
        let mut out = match address.split_once("://") {
            Some((scheme, rest)) => {
                let (host, path) =
                    rest.find('/').and_then(|at| rest.split_at_checked(at)).unwrap_or((rest, ""));
                let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
                format!("{scheme}://{host}{path}")
            }
            None => address.to_owned(),
        };
        let fields =
            query.into_iter().flat_map(|query| query.split('&')).map(|field| match field.split_once('=') {
                Some((name, _)) if QUERY.iter().any(|part| name.to_ascii_lowercase().contains(part)) => {
                    format!("{name}={GONE}")
                }
                _ => field.to_owned(),
            });
        let fields: Vec<String> = fields.collect();
        if !fields.is_empty() {
            out = format!("{out}?{}", fields.join("&"));
        }
        self.text(&out)
    }

    /// The pieces of an answer, also without what was cut in two by them.
    pub(super) fn pieces(&self, pieces: &[Bytes]) -> Vec<Vec<u8>> {
        let all: Vec<u8> = pieces.iter().flatten().copied().collect();
        let spans = self.spans(&all);
        let mut start = 0;
        let mut out = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let here = start..start + piece.len();
            let mut kept = Vec::with_capacity(piece.len());
            let mut from = here.start;
            for span in spans.iter().filter(|span| span.start < here.end && span.end > here.start) {
                kept.extend_from_slice(all.get(from..span.start).unwrap_or_default());
                if span.start >= here.start {
                    kept.extend_from_slice(GONE.as_bytes());
                }
                from = span.end.min(here.end);
            }
            kept.extend_from_slice(all.get(from..here.end).unwrap_or_default());
            start = here.end;
            out.push(kept);
        }
        out
    }

    /// What is left out of a text, in order and without overlaps.
    fn spans(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut spans = Vec::new();
        for secret in self.secrets.iter().map(Secret::expose).filter(|secret| secret.len() >= MIN_SECRET) {
            // Inside of JSON text a secret may be written with escapes.
            let quoted = Value::from(secret).to_string();
            let quoted = quoted.trim_matches('"');
            for written in [secret, quoted] {
                spans.extend(found(text, written.as_bytes()).map(|at| at..at + written.len()));
            }
        }
        for beginning in KEYS.iter().copied().chain(self.beginnings.iter().map(String::as_str)) {
            for at in found(text, beginning.as_bytes()) {
                let inside =
                    at.checked_sub(1).and_then(|before| text.get(before)).is_some_and(|c| is_word(*c));
                let word = text.get(at + beginning.len()..).unwrap_or_default();
                let length = word.iter().take_while(|c| is_word(**c)).count();
                if !inside && length >= MIN_KEY {
                    spans.push(at..at + beginning.len() + length);
                }
            }
        }
        spans.sort_by_key(|span| (span.start, span.end));
        let mut merged: Vec<Range<usize>> = Vec::with_capacity(spans.len());
        for span in spans {
            match merged.last_mut() {
                Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
                _ => merged.push(span),
            }
        }
        merged
    }
}

fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_')
}

/// Where a text stands in another.
fn found<'a>(text: &'a [u8], wanted: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let places = text.windows(wanted.len().max(1)).enumerate();
    places.filter(move |(_, window)| !wanted.is_empty() && *window == wanted).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrub() -> Scrub {
        let header = |name: &str, value: &str| (Arc::from(name), Secret::new(value));
        Scrub::default().with_headers(&[
            header("Authorization", "Bearer key/\"1234"),
            header("x-team", "blue-team"),
            header("content-type", "application/json"),
        ])
    }

    #[test]
    fn secrets_of_headers_are_left_out_however_they_are_written() {
        let text =
            r#"{"echo": "key/\"1234", "as": "key/"1234", "team": "blue-team", "type": "application/json"}"#;
        let clean = r#"{"echo": "***", "as": "***", "team": "***", "type": "application/json"}"#;
        assert_eq!(scrub().text(text), clean);
        assert_eq!(
            scrub().value(serde_json::json!({"blue-team": ["key/\"1234"]})).to_string(),
            r#"{"***":["***"]}"#
        );
    }

    #[test]
    fn words_that_begin_like_keys_are_left_out_and_others_are_not() {
        let text = "sk-proj-abc_DEF12 org-1234567890 AIzaSy12345678 task-management org-chart sk-";
        assert_eq!(scrub().text(text), "*** *** *** task-management org-chart sk-");
    }

    #[test]
    fn addresses_lose_who_asks_and_their_keys() {
        let url = "https://ann:pw@host:1/v1/m?key=AB&alt=sse&Api_Key=x&x-amz-signature=y";
        let clean = "https://host:1/v1/m?key=***&alt=sse&Api_Key=***&x-amz-signature=***";
        assert_eq!(scrub().address(url), clean);
    }

    #[test]
    fn a_secret_that_is_cut_in_two_is_left_out_of_both_pieces() {
        let text = "data: blue-team and sk-abcdefgh1 é end";
        for size in 1..text.len() {
            let pieces: Vec<Bytes> = text.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect();
            let clean = scrub().pieces(&pieces);
            assert_eq!(clean.len(), pieces.len());
            assert_eq!(String::from_utf8(clean.concat()).unwrap(), "data: *** and *** é end", "{size}");
        }
    }
}
