//! What a provider's refusal means: from status, headers and body to an error.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    model::http::HttpResponse,
    runtime::Context,
    security::Secret,
    types::Timestamp,
};

/// How much of a refusal is read, in bytes.
const MAX_BODY: usize = 64 << 10;
/// How much of an answer that is no stream is read, in bytes.
const MAX_ANSWER: usize = 64 << 20;
/// How much of a provider's own message is kept, in characters.
const MAX_MESSAGE: usize = 300;
/// A run of this many characters that the request has too is taken for an echo of the prompt.
const ECHO: usize = 24;
/// Shorter header values are words like `true`, not secrets.
const MIN_SECRET: usize = 6;

/// Who answers, and what must not show in its errors.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// What was asked for, such as `model.stream`.
    pub(crate) operation: &'static str,
    /// The model, `provider:model`.
    pub(crate) model: std::sync::Arc<str>,
    /// The host and port.
    pub(crate) host: std::sync::Arc<str>,
    /// The body of the request: what the provider repeats of it stays out of the error.
    pub(crate) sent: Bytes,
    /// The values of its headers, which stay out as well.
    pub(crate) secrets: std::sync::Arc<[Secret]>,
}

impl Origin {
    fn error(&self, kind: ErrorKind, message: &'static str) -> Error {
        Error::new(kind, self.operation, message).with("model", &self.model).with("host", &self.host)
    }

    /// Something that does not fit the wire format.
    pub(crate) fn malformed(&self, message: &'static str) -> Error {
        self.error(ErrorKind::InvalidOutput, message)
    }

    /// An event that is not the JSON of the wire.
    pub(crate) fn no_event(&self, data: &str, err: &serde_json::Error) -> Error {
        // The error's own text may show the content.
        self.malformed("an event of the stream is not the expected JSON")
            .with("bytes", data.len())
            .with("column", err.column())
    }

    /// An answer that begins an event stream, or the error that it is.
    pub(crate) async fn accept(&self, ctx: &Context, response: HttpResponse) -> Result<HttpResponse> {
        let kind = response.header("content-type").unwrap_or_default();
        let is =
            |wanted: &str| kind.get(..wanted.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(wanted));
        if (200..300).contains(&response.status)
            && (kind.is_empty() || is("text/event-stream") || is("text/plain"))
        {
            return Ok(response);
        }
        let kind = kind.to_ascii_lowercase();
        Err(self.refused(ctx, &kind, response).await)
    }

    /// The JSON value of an answer that is not a stream, or the error that it is.
    pub(crate) async fn accept_json<T: DeserializeOwned>(
        &self,
        ctx: &Context,
        response: HttpResponse,
    ) -> Result<T> {
        if !(200..300).contains(&response.status) {
            let kind = response.header("content-type").unwrap_or_default().to_ascii_lowercase();
            return Err(self.refused(ctx, &kind, response).await);
        }
        let body = ctx.bound(self.operation, self.whole(response)).await??;
        // The message of serde may hold text of the answer.
        serde_json::from_slice(&body).map_err(|err| {
            self.malformed("the answer is not the expected JSON; is the base URL that of the API?")
                .with("bytes", body.len())
                .with("line", err.line())
                .with("column", err.column())
        })
    }

    /// An error that the provider sent inside of a stream.
    #[cfg(feature = "model-genai")]
    pub(crate) fn told(&self, body: &Value) -> Error {
        let told = Told::read(body);
        provider_error(self, &told.code, &told.message)
    }

    async fn refused(&self, ctx: &Context, content_type: &str, response: HttpResponse) -> Error {
        let status = response.status;
        let pause = retry_after(ctx, &response);
        match ctx.bound(self.operation, read(response)).await {
            Ok(body) => self.refusal(status, content_type, &body, pause),
            Err(err) => err,
        }
    }

    async fn whole(&self, mut response: HttpResponse) -> Result<BytesMut> {
        let mut whole = BytesMut::new();
        while let Some(piece) = response.body.next().await {
            let piece = piece.map_err(|err| err.with("model", &self.model))?;
            if whole.len() + piece.len() > MAX_ANSWER {
                let err = self.error(ErrorKind::LimitExceeded, "the answer is too long");
                return Err(err.with("max_bytes", MAX_ANSWER));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }

    fn refusal(&self, status: u16, content_type: &str, body: &[u8], pause: Option<Duration>) -> Error {
        let text = String::from_utf8_lossy(body);
        let json: Option<Value> = serde_json::from_str(text.trim()).ok();
        let told = json.as_ref().map(Told::read).unwrap_or_default();
        if (200..300).contains(&status) {
            return match told.message.is_some() || told.code.is_some() {
                true => provider_error(self, &told.code, &told.message),
                false => self
                    .malformed("the host did not answer with an event stream; does it support streaming?")
                    .with("content_type", content_type),
            };
        }
        let soon = pause.map_or(Retry::Soon, Retry::After);
        let (kind, message, retry) = by_status(status, &told, soon);
        let err = self.error(kind, message).with("status", status).retryable(retry);
        if json.is_none() && (content_type.starts_with("text/html") || text.trim_start().starts_with('<')) {
            return err.with("body", "HTML instead of JSON; is the base URL that of the API?");
        }
        self.quote(err, &told)
    }

    /// Adds what the provider said, unless it repeats the request.
    fn quote(&self, err: Error, told: &Told) -> Error {
        let err = match &told.code {
            Some(code) => err.with("provider_code", cap(code)),
            None => err,
        };
        match &told.message {
            Some(message) if self.echoes(message) => err.with("provider_message", "(repeats the request)"),
            Some(message) => err.with("provider_message", mask(&cap(&self.without_secrets(message)))),
            None => err,
        }
    }

    fn without_secrets(&self, message: &str) -> String {
        let mut shown = message.to_owned();
        for secret in self.secrets.iter() {
            // `Bearer KEY` holds the key as its last word.
            let key = secret.expose().rsplit(' ').next().unwrap_or_default();
            if key.len() >= MIN_SECRET {
                shown = shown.replace(key, "***");
            }
        }
        shown
    }

    fn echoes(&self, message: &str) -> bool {
        let sent = String::from_utf8_lossy(&self.sent);
        let chars: Vec<char> = cap(message).chars().collect();
        chars.windows(ECHO).any(|run| sent.contains(&run.iter().collect::<String>()))
    }
}

/// What the body of a refusal says.
#[derive(Default)]
struct Told {
    code: Option<String>,
    message: Option<String>,
}

impl Told {
    /// `{"error": {"message", "code" or "type"}}`, `{"error": "…"}`, `{"message"}` or `{"detail"}`.
    fn read(body: &Value) -> Self {
        let text = |value: Option<&Value>| {
            value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        // Some hosts answer with a list of one error.
        let body = body.get(0).unwrap_or(body);
        let error = body.get("error").unwrap_or(body);
        let code = error.get("code").map(|code| match code {
            Value::Number(number) => number.to_string(),
            other => other.as_str().unwrap_or_default().to_owned(),
        });
        Self {
            code: code.filter(|code| !code.is_empty()).or_else(|| text(error.get("type"))),
            message: text(error.get("message"))
                .or_else(|| text(error.get("detail")))
                .or_else(|| text(Some(error))),
        }
    }

    fn is(&self, codes: &[&str]) -> bool {
        self.code.as_deref().is_some_and(|code| codes.contains(&code))
    }
}

fn by_status(status: u16, told: &Told, soon: Retry) -> (ErrorKind, &'static str, Retry) {
    use ErrorKind::{
        Conflict, InvalidInput, InvalidOutput, LimitExceeded, NotFound, PermissionDenied, RateLimited,
        Timeout, Unauthenticated, Unavailable,
    };
    match status {
        400 | 422 if told.is(&["context_length_exceeded"]) => {
            (LimitExceeded, "the conversation is too long for the model", Retry::Never)
        }
        300..=399 => (InvalidInput, "the host redirects; set the base URL to where it points", Retry::Never),
        401 => (Unauthenticated, "the provider does not accept the key", Retry::Never),
        402 => (PermissionDenied, "the provider wants to be paid first", Retry::Never),
        403 => (PermissionDenied, "the key may not do this", Retry::Never),
        404 => (NotFound, "the provider knows no such model or address", Retry::Never),
        407 => (Unauthenticated, "the proxy wants to know who asks", Retry::Never),
        408 | 504 => (Timeout, "the provider took too long", soon),
        409 => (Conflict, "the provider is working on the same request", soon),
        413 => (LimitExceeded, "the request is too large for the provider", Retry::Never),
        // Waiting does not fill an empty account.
        429 if told.is(&["insufficient_quota", "billing_hard_limit_reached"]) => {
            (RateLimited, "the quota of the account is used up", Retry::Never)
        }
        429 => (RateLimited, "the provider asks to slow down", soon),
        529 => (Unavailable, "the provider is overloaded", soon),
        500..=599 => (Unavailable, "the provider is failing", soon),
        400..=499 => (InvalidInput, "the provider refuses the request", Retry::Never),
        _ => (InvalidOutput, "the provider answered with an unexpected status", Retry::Never),
    }
}

/// What an error inside of a stream means, by the names that providers give to kinds of errors.
pub(crate) fn provider_error(origin: &Origin, code: &Option<String>, message: &Option<String>) -> Error {
    let told = Told { code: code.clone(), message: message.clone() };
    let status = match code.as_deref().unwrap_or_default() {
        "invalid_request_error" | "invalid_prompt" | "context_length_exceeded" | "400" => 400,
        "authentication_error" | "invalid_api_key" | "401" => 401,
        "billing_error" | "402" => 402,
        "permission_error" | "403" => 403,
        "not_found_error" | "model_not_found" | "404" => 404,
        "request_too_large" | "413" => 413,
        "rate_limit_error" | "rate_limit_exceeded" | "insufficient_quota" | "429" => 429,
        "timeout_error" | "504" => 504,
        "overloaded_error" | "529" => 529,
        _ => 500,
    };
    let (kind, message, retry) = by_status(status, &told, Retry::Soon);
    origin.quote(origin.error(kind, message).retryable(retry), &told)
}

async fn read(response: HttpResponse) -> BytesMut {
    let mut kept = BytesMut::new();
    let mut body = response.body;
    // A refusal whose body breaks off is still a refusal.
    while let Some(Ok(piece)) = body.next().await {
        let room = MAX_BODY.saturating_sub(kept.len());
        kept.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
        if kept.len() >= MAX_BODY {
            break;
        }
    }
    kept
}

/// The pause that the provider asks for: milliseconds, seconds, or until a date.
fn retry_after(ctx: &Context, response: &HttpResponse) -> Option<Duration> {
    let number = |name: &str, unit: f64| {
        let value: f64 = response.header(name)?.trim().parse().ok()?;
        Duration::try_from_secs_f64(value * unit).ok()
    };
    let date = || {
        let text = response.header("retry-after")?.trim();
        let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Some(Timestamp::from_micros(at.as_microsecond()).since(ctx.now()))
    };
    number("retry-after-ms", 0.001).or_else(|| number("retry-after", 1.0)).or_else(date)
}

fn cap(text: &str) -> String {
    let mut capped: String =
        text.chars().take(MAX_MESSAGE).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MAX_MESSAGE).is_some() {
        capped.push('…');
    }
    capped
}

/// Hides words that look like keys, since providers quote the wrong key they were given.
fn mask(text: &str) -> String {
    let looks_secret = |word: &str| {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        ["sk-", "sk_", "key-", "Bearer"].iter().any(|start| bare.starts_with(start))
            || bare.contains("***")
            || (bare.len() >= 32
                && bare.bytes().any(|b| b.is_ascii_digit())
                && bare.bytes().any(|b| b.is_ascii_alphabetic())
                && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+/=".contains(&b)))
    };
    let words = text.split(' ').map(|word| if looks_secret(word) { "***" } else { word });
    words.collect::<Vec<_>>().join(" ")
}
