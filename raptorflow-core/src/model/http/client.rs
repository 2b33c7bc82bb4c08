//! `HttpClient`, the seam between a model's wire format and the network.

use std::{
    fmt::{self, Debug},
    pin::Pin,
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;

use crate::{error::Result, runtime::Context, security::Secret};

/// The bytes of an answer as they arrive.
pub type HttpBody = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send + 'static>>;

/// A POST with a JSON body.
///
/// `Debug` shows neither the values of headers nor the body.
#[derive(Clone)]
pub struct HttpRequest {
    /// Where to.
    pub url: Arc<str>,
    /// Names in lower case and values; every value is treated as a secret, because hosts put keys into headers of any name.
    pub headers: Vec<(Arc<str>, Secret)>,
    /// The JSON text.
    pub body: Bytes,
}

impl Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| &**name).collect();
        // A query may hold a key.
        let url = self.url.split('?').next().unwrap_or_default();
        f.debug_struct("HttpRequest")
            .field("url", &url)
            .field("headers", &names)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

/// An answer whose head has arrived.
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// What follows.
    pub body: HttpBody,
}

impl HttpResponse {
    /// The first header of a name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpResponse").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Sends requests.
///
/// # Contract
/// - any status is an answer, not an error; redirects are answers too and are not followed.
/// - a host that cannot be reached is `Unavailable` and named.
/// - the context's deadline and cancellation end the wait for the head of the answer.
/// - dropping the body closes the connection.
#[async_trait]
pub trait HttpClient: Debug + Send + Sync + 'static {
    /// Sends a request and waits for the head of the answer.
    async fn post(&self, ctx: &Context, request: HttpRequest) -> Result<HttpResponse>;
}
