//! `Media`, bytes of a known type or where to find them, and `Document`, a file with a name.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// The most bytes that one piece may have: 32 MiB, which is more than any provider takes.
const MAX_BYTES: usize = 32 << 20;
/// The longest address.
const MAX_URL: usize = 8 << 10;
/// The longest name of a media type.
const MAX_TYPE: usize = 127;

/// A picture or a file: bytes of a known type, or an address from which the provider fetches them.
///
/// Cloning shares the bytes, which are kept in base64, the form in which providers and the journal take them.
/// `Debug` shows type and size and never the content or the address, which may hold a key.
///
/// In JSON it is `{"media_type": "image/png", "data": "…base64…"}` or `{"url": "https://…"}`.
///
/// ```
/// use raptorflow_core::types::Media;
/// let dot = Media::bytes("image/gif", b"GIF89a...")?;
/// assert_eq!((dot.media_type(), dot.len()), (Some("image/gif"), Some(9)));
/// assert!(dot.base64().is_some_and(|text| text.starts_with("R0lG")));
/// assert!(Media::url("file:///etc/passwd").is_err());
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub struct Media(Source);

#[derive(Clone, PartialEq, Eq)]
enum Source {
    Bytes { media_type: Arc<str>, base64: Arc<str>, length: usize },
    Url(Arc<str>),
}

impl Media {
    /// Bytes of a type like `image/png` or `application/pdf`.
    ///
    /// # Errors
    /// `InvalidInput` when the type is none, `LimitExceeded` beyond 32 MiB.
    pub fn bytes(media_type: &str, bytes: &[u8]) -> Result<Self> {
        within(bytes.len())?;
        let (media_type, base64) = (checked_type(media_type)?, STANDARD.encode(bytes).into());
        Ok(Self(Source::Bytes { media_type, base64, length: bytes.len() }))
    }

    /// Bytes that are base64 already, with the usual alphabet and padding.
    ///
    /// # Errors
    /// As [`Media::bytes`], and `InvalidInput` when the text is not base64.
    pub fn from_base64(media_type: &str, base64: impl Into<Arc<str>>) -> Result<Self> {
        let base64 = base64.into();
        within(base64.len() / 4 * 3)?;
        let length = STANDARD
            .decode(&*base64)
            // The cause would name a byte of the content.
            .map_err(|_| refuse("not base64 with the usual alphabet and padding"))?
            .len();
        Ok(Self(Source::Bytes { media_type: checked_type(media_type)?, base64, length }))
    }

    /// An `http` or `https` address that the provider fetches; this machine does not.
    ///
    /// # Errors
    /// `InvalidInput` when it is no such address or longer than 8 KiB.
    pub fn url(url: impl Into<Arc<str>>) -> Result<Self> {
        let url = url.into();
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let has_host = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
        if !has_host || url.len() > MAX_URL || url.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(refuse("not an http or https address"));
        }
        Ok(Self(Source::Url(url)))
    }

    /// The type of the bytes; `None` for an address.
    #[must_use]
    pub fn media_type(&self) -> Option<&str> {
        match &self.0 {
            Source::Bytes { media_type, .. } => Some(media_type),
            Source::Url(_) => None,
        }
    }

    /// The bytes in base64; `None` for an address.
    #[must_use]
    pub fn base64(&self) -> Option<&str> {
        match &self.0 {
            Source::Bytes { base64, .. } => Some(base64),
            Source::Url(_) => None,
        }
    }

    /// The address; `None` for bytes.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        match &self.0 {
            Source::Bytes { .. } => None,
            Source::Url(url) => Some(url),
        }
    }

    /// How many bytes it has; `None` for an address.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "of an address it is not known")]
    pub fn len(&self) -> Option<usize> {
        match &self.0 {
            Source::Bytes { length, .. } => Some(*length),
            Source::Url(_) => None,
        }
    }

    /// The bytes, decoded; `None` for an address.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(self.base64()?).ok()
    }

    /// Whether it is bytes of a `text/…` or JSON type.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.media_type().is_some_and(|kind| kind.starts_with("text/") || kind == "application/json")
    }

    /// The text of a `text/…` or JSON type; `None` for other types, addresses, and bytes that are not UTF-8.
    #[must_use]
    pub fn to_text(&self) -> Option<String> {
        if self.is_text() { String::from_utf8(self.to_bytes()?).ok() } else { None }
    }
}

impl Media {
    /// Another text of the same type; an address stays what it is.
    pub(crate) fn with_text(&self, text: &str) -> Self {
        match &self.0 {
            Source::Bytes { media_type, .. } => Self(Source::Bytes {
                media_type: Arc::clone(media_type),
                base64: STANDARD.encode(text).into(),
                length: text.len(),
            }),
            Source::Url(_) => self.clone(),
        }
    }
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Bytes { media_type, length, .. } => {
                f.debug_struct("Media").field("media_type", media_type).field("bytes", length).finish()
            }
            Source::Url(_) => f.debug_struct("Media").finish_non_exhaustive(),
        }
    }
}

/// A file for a model to read, such as a PDF.
///
/// In JSON it has the fields of its [`Media`] and `name`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Its content.
    #[serde(flatten)]
    pub media: Media,
    /// What it is called, for the model; providers that want a name get `document` when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Form {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<Arc<str>>,
}

impl From<Media> for Form {
    fn from(media: Media) -> Self {
        match media.0 {
            Source::Bytes { media_type, base64, .. } => {
                Self { media_type: Some(media_type), data: Some(base64), url: None }
            }
            Source::Url(url) => Self { media_type: None, data: None, url: Some(url) },
        }
    }
}

impl TryFrom<Form> for Media {
    type Error = Error;

    fn try_from(form: Form) -> Result<Self> {
        match (form.media_type, form.data, form.url) {
            (Some(media_type), Some(data), None) => Self::from_base64(&media_type, data),
            (None, None, Some(url)) => Self::url(url),
            _ => Err(refuse("expected `media_type` and `data`, or `url`")),
        }
    }
}

fn within(bytes: usize) -> Result<()> {
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    Err(Error::new(ErrorKind::LimitExceeded, "media.new", "a picture or file is too large")
        .with("bytes", bytes)
        .with("max_bytes", MAX_BYTES))
}

fn checked_type(media_type: &str) -> Result<Arc<str>> {
    let media_type = media_type.to_ascii_lowercase();
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    match media_type.split_once('/') {
        Some((kind, name)) if is_word(kind) && is_word(name) && media_type.len() <= MAX_TYPE => {
            Ok(media_type.into())
        }
        _ => Err(refuse("not a media type; expected one like `image/png`")),
    }
}

fn refuse(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, "media.new", message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::{Message, Part, Role};

    #[test]
    fn parts_have_a_stable_json_form_and_show_no_content() {
        let media = Media::bytes("Image/PNG", b"canary").unwrap();
        let report =
            Document { media: Media::bytes("application/pdf", b"%PDF").unwrap(), name: Some("a.pdf".into()) };
        let linked = Document { media: Media::url("https://host/canary?key=canary").unwrap(), name: None };
        let parts = vec![Part::Image(media), Part::Document(report), Part::Document(linked)];
        let message = Message { role: Role::User, parts };
        let stored = json!({"role": "user", "parts": [
            {"type": "image", "media_type": "image/png", "data": "Y2FuYXJ5"},
            {"type": "document", "media_type": "application/pdf", "data": "JVBERg==", "name": "a.pdf"},
            {"type": "document", "url": "https://host/canary?key=canary"}]});
        assert_eq!(serde_json::to_value(&message).unwrap(), stored);
        assert_eq!(serde_json::from_value::<Message>(stored).unwrap(), message);
        let shown = format!("{message:?}");
        assert!(!shown.contains("canary") && !shown.contains("Y2Fu"), "{shown}");
    }

    #[test]
    fn what_is_neither_bytes_of_a_type_nor_an_address_is_refused_without_its_content() {
        for wrong in [
            json!({"type": "image"}),
            json!({"type": "image", "data": "Y2FuYXJ5"}),
            json!({"type": "image", "media_type": "png", "data": "Y2FuYXJ5"}),
            json!({"type": "image", "media_type": "image/png", "data": "canary!"}),
            json!({"type": "image", "media_type": "image/png", "data": "YQ==", "url": "https://host/canary"}),
            json!({"type": "image", "url": "canary"}),
            json!({"type": "document", "url": "https:///canary"}),
        ] {
            let err = serde_json::from_value::<Part>(wrong.clone()).unwrap_err().to_string();
            assert!(!err.contains("canary"), "{wrong}: {err}");
        }
        let large = vec![0; MAX_BYTES + 1];
        assert_eq!(Media::bytes("image/png", &large).unwrap_err().kind(), ErrorKind::LimitExceeded);
    }
}
