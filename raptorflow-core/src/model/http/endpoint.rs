//! `Endpoint`: one address of a provider, to which requests are sent and whose answers are streams.

use std::{collections::BTreeMap, fmt, sync::Arc};

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

/// How many bytes most requests have; longer ones grow.
const USUAL_BODY: usize = 2 << 10;

/// One address of a provider and what is sent with every request.
pub(crate) struct Endpoint {
    model: Arc<str>,
    url: Arc<str>,
    host: Arc<str>,
    headers: Vec<(Arc<str>, Secret)>,
    /// The header that asks for an event stream.
    streams: (Arc<str>, Secret),
    /// What must not show in errors: the values of the headers and of the query.
    secrets: Arc<[Secret]>,
    http: Arc<dyn HttpClient>,
}

/// What a host sets for an endpoint.
pub(crate) struct Extras<'a> {
    /// Further headers.
    pub(crate) headers: &'a BTreeMap<String, String>,
    /// Parameters of the address.
    pub(crate) query: &'a BTreeMap<String, String>,
}

impl Endpoint {
    /// `path` below `base_url`, or `base_url` itself where it ends with the path; a query of `base_url` is kept.
    ///
    /// A header of the host takes the place of one of the same name.
    ///
    /// # Errors
    /// `InvalidInput` when the model has no name, or the base URL is no http address or holds credentials.
    pub(crate) fn new(
        model: &Arc<str>,
        base_url: &str,
        path: &str,
        headers: Vec<(&str, Secret)>,
        extras: &Extras<'_>,
        http: Arc<dyn HttpClient>,
    ) -> Result<Self> {
        let refuse =
            |message| Err(Error::new(ErrorKind::InvalidInput, "model.new", message).with("model", model));
        if model.ends_with(':') {
            return refuse("the model has no name");
        }
        let (base, mut query) = match base_url.trim().split_once('?') {
            Some((base, query)) => (base.trim_end_matches('/'), query.to_owned()),
            None => (base_url.trim().trim_end_matches('/'), String::new()),
        };
        let rest = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://"));
        let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
        if host.is_empty() || base_url.contains('#') || base_url.trim().contains(char::is_whitespace) {
            return refuse("the base URL is not an http address; expected one like `https://host/v1`");
        }
        if host.contains('@') {
            // It would show in errors, which name the host.
            return refuse("the base URL holds credentials; put them into a header");
        }
        for (name, value) in extras.query {
            if !query.is_empty() {
                query.push('&');
            }
            encode(name, &mut query);
            query.push('=');
            encode(value, &mut query);
        }
        let mut url =
            if base.ends_with(&format!("/{path}")) { base.to_owned() } else { format!("{base}/{path}") };
        let mut secrets: Vec<Secret> = Vec::new();
        if !query.is_empty() {
            url.push('?');
            url.push_str(&query);
            secrets.extend(
                query.split('&').filter_map(|pair| pair.split_once('=')).map(|(_, value)| Secret::new(value)),
            );
            secrets.extend(extras.query.values().map(|value| Secret::new(value.as_str())));
        }
        let is_replaced = |name: &str| extras.headers.keys().any(|known| known.eq_ignore_ascii_case(name));
        let own = headers.into_iter().filter(|(name, _)| !is_replaced(name));
        let own = own.map(|(name, value)| (Arc::from(name), value));
        let given = extras
            .headers
            .iter()
            .map(|(name, value)| (Arc::from(name.to_ascii_lowercase()), Secret::new(value.as_str())));
        let mut headers: Vec<(Arc<str>, Secret)> = own.chain(given).collect();
        secrets.extend(headers.iter().map(|(_, value)| value.clone()));
        if !is_replaced("content-type") {
            headers.push(("content-type".into(), Secret::new("application/json")));
        }
        Ok(Self {
            model: Arc::clone(model),
            url: url.into(),
            host: host.into(),
            headers,
            streams: ("accept".into(), Secret::new("text/event-stream")),
            secrets: secrets.into(),
            http,
        })
    }

    /// Sends a body and reads the answer with a dialect.
    pub(crate) async fn stream<D: Dialect>(
        &self,
        ctx: &Context,
        body: &impl Serialize,
        dialect: impl FnOnce(Origin) -> D,
    ) -> Result<ChatStream> {
        let key = ctx.idempotency_key().map(|key| ("idempotency-key".into(), Secret::new(visible(key))));
        let (request, origin) = self.request("model.stream", body, &self.streams, key)?;
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
        let json = ("accept".into(), Secret::new("application/json"));
        let (request, origin) = self.request(operation, body, &json, None)?;
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
        accept: &(Arc<str>, Secret),
        key: Option<(Arc<str>, Secret)>,
    ) -> Result<(HttpRequest, Origin)> {
        let mut json = Vec::with_capacity(USUAL_BODY);
        serde_json::to_writer(&mut json, body).map_err(|err| {
            Error::new(ErrorKind::Internal, operation, "the request does not become JSON").caused_by(err)
        })?;
        let body = Bytes::from(json);
        let mut headers = Vec::with_capacity(self.headers.len() + 2);
        headers.extend(self.headers.iter().cloned());
        headers.push(accept.clone());
        headers.extend(key);
        let origin = Origin {
            operation,
            model: Arc::clone(&self.model),
            host: Arc::clone(&self.host),
            sent: body.clone(),
            secrets: Arc::clone(&self.secrets),
        };
        Ok((HttpRequest { url: Arc::clone(&self.url), headers, body }, origin))
    }
}

impl fmt::Debug for Endpoint {
    /// Without the query, which may hold a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.split('?').next().unwrap_or_default();
        f.debug_struct("Endpoint").field("url", &url).finish_non_exhaustive()
    }
}

/// Adds a text to a query with everything but letters, digits and `-._~` as percent codes.
fn encode(text: &str, query: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                query.push(char::from(byte));
            }
            _ => query.push_str(&format!("%{byte:02X}")),
        }
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
