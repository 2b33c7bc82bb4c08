//! `Endpoint`: one address of a provider, to which requests are sent and whose answers are streams.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tracing::Instrument as _;

use crate::{
    error::{Error, ErrorKind, Result},
    model::{
        ChatRequest, ChatStream, ToolChoice, bind_stream,
        http::{Dialect, HttpClient, HttpRequest, HttpResponse, Origin, answer_parts},
    },
    runtime::{Context, names},
    security::Secret,
    types::Digest,
};

/// One address of a provider and what is sent with every request.
pub(crate) struct Endpoint {
    model: Arc<str>,
    url: String,
    host: Arc<str>,
    headers: Vec<(String, Secret)>,
    http: Arc<dyn HttpClient>,
}

impl Endpoint {
    /// `path` below `base_url`.
    ///
    /// # Errors
    /// `InvalidInput` when the model has no name, or the base URL is no http address or holds credentials.
    pub(crate) fn new(
        model: &Arc<str>,
        base_url: &str,
        path: &str,
        headers: Vec<(String, Secret)>,
        http: Arc<dyn HttpClient>,
    ) -> Result<Self> {
        let refuse =
            |message| Err(Error::new(ErrorKind::InvalidInput, "model.new", message).with("model", model));
        if model.ends_with(':') {
            return refuse("the model has no name");
        }
        let base = base_url.trim().trim_end_matches('/');
        let rest = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://"));
        let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
        if host.is_empty() || base.contains(['?', '#', ' ']) {
            return refuse("the base URL is not an http address; expected one like `https://host/v1`");
        }
        if host.contains('@') {
            // It would show in errors, which name the host.
            return refuse("the base URL holds credentials; put them into a header");
        }
        Ok(Self { model: Arc::clone(model), url: format!("{base}/{path}"), host: host.into(), headers, http })
    }

    /// Sends a body and reads the answer with a dialect.
    pub(crate) async fn stream<D: Dialect>(
        &self,
        ctx: &Context,
        body: &impl Serialize,
        dialect: impl FnOnce(Origin) -> D,
    ) -> Result<ChatStream> {
        let key = ctx.idempotency_key().map(|key| ("idempotency-key".to_owned(), Secret::new(visible(key))));
        let (request, origin) = self.request("model.stream", body, "text/event-stream", key)?;
        let span = tracing::debug_span!(names::MODEL_STREAM, model = %self.model);
        let response = async {
            let response = self.send(ctx, request).await?;
            origin.accept(ctx, response).await
        };
        let response = response.instrument(span).await?;
        Ok(bind_stream(ctx, &self.model, answer_parts(response.body, dialect(origin))))
    }

    /// Sends a body and reads the answer as one JSON value.
    ///
    /// It has no idempotency key: one step may ask for several such answers, and each has a body of its own.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        ctx: &Context,
        operation: &'static str,
        body: &impl Serialize,
    ) -> Result<T> {
        let (request, origin) = self.request(operation, body, "application/json", None)?;
        let response = self.send(ctx, request).await?;
        origin.accept_json(ctx, response).await
    }

    /// Something that the host answered and that does not fit.
    pub(crate) fn malformed(&self, operation: &'static str, message: &'static str) -> Error {
        Error::new(ErrorKind::InvalidOutput, operation, message)
            .with("model", &self.model)
            .with("host", &self.host)
    }

    async fn send(&self, ctx: &Context, request: HttpRequest) -> Result<HttpResponse> {
        self.http.post(ctx, request).await.map_err(|err| err.with("model", &self.model))
    }

    fn request(
        &self,
        operation: &'static str,
        body: &impl Serialize,
        accept: &str,
        key: Option<(String, Secret)>,
    ) -> Result<(HttpRequest, Origin)> {
        let body = serde_json::to_vec(body).map(Bytes::from).map_err(|err| {
            Error::new(ErrorKind::Internal, operation, "the request does not become JSON").caused_by(err)
        })?;
        let mut headers = self.headers.clone();
        headers.push(("content-type".to_owned(), Secret::new("application/json")));
        headers.push(("accept".to_owned(), Secret::new(accept)));
        headers.extend(key);
        let origin = Origin {
            operation,
            model: Arc::clone(&self.model),
            host: Arc::clone(&self.host),
            sent: body.clone(),
            secrets: self.headers.iter().map(|(_, value)| value.clone()).collect(),
        };
        Ok((HttpRequest { url: self.url.clone(), headers, body }, origin))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A key that a header can carry: itself, or its digest.
fn visible(key: &str) -> String {
    let fits = key.len() <= 128 && key.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { key.to_owned() } else { Digest::of(key).to_string() }
}

/// Refuses a choice of tools that are not offered, before anything is sent.
pub(crate) fn check_tools(model: &str, request: &ChatRequest) -> Result<()> {
    let offered = match &request.tool_choice {
        ToolChoice::Auto | ToolChoice::None => true,
        ToolChoice::Required => !request.tools.is_empty(),
        ToolChoice::Tool(name) => request.tools.iter().any(|tool| tool.name == *name),
    };
    if offered {
        return Ok(());
    }
    let err = Error::new(ErrorKind::InvalidInput, "model.stream", "a tool is required that is not offered");
    Err(match &request.tool_choice {
        ToolChoice::Tool(name) => err.with("tool", name),
        _ => err,
    }
    .with("model", model))
}
