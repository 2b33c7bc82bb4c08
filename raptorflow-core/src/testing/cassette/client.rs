//! `Cassette`: an HTTP client that records exchanges, or gives recorded ones again.

use std::{
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{self, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    differ::differences,
    file::{self, Exchange, Piece},
    scrub::Scrub,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{HttpBody, HttpClient, HttpRequest, HttpResponse},
    runtime::Context,
    security::{EnvSecrets, SecretStore},
};

/// Headers of answers that models look at; the others are not kept.
const KEPT_HEADERS: [&str; 4] = ["content-type", "retry-after", "retry-after-ms", "x-should-retry"];

/// What a cassette does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CassetteMode {
    /// Sends everything and begins the file anew.
    Record,
    /// Sends nothing: what is not recorded is an error.
    Replay,
    /// Gives what is recorded, and sends and records the rest.
    Auto,
}

/// An HTTP client that records what a provider answers, or gives it again; cloning shares it.
///
/// An exchange is found by its address and its body, in which the order of fields does not matter, and given once.
/// One whose answer was not read, or not to its end, is recorded as far as it was read.
/// See [`Scrub`] for what is left out of the file, which is for a repository: a line of JSON for each exchange.
///
/// ```
/// use std::sync::Arc;
/// use raptorflow_core::{Agent, Engine, model::{ModelRegistry, ProviderSettings, ReqwestClient}};
/// use raptorflow_core::{security::EnvSecrets, testing::{Cassette, CassetteMode}};
/// # use raptorflow_core::testing::{ProviderServer, ServerReply};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("greeting.jsonl");
/// # let said = r#"{"choices": [{"index": 0, "delta": {"content": "Hello."}, "finish_reason": "stop"}]}"#;
/// # let server = ProviderServer::start(&raptorflow_core::runtime::Runtime::current()?, [ServerReply::data([said, "[DONE]"])]).await?;
/// let engine = async |mode| {
///     let tape = Cassette::open(&path, mode, Arc::new(ReqwestClient::default()))?;
///     let secrets = EnvSecrets::from_lookup(|_| Some("sk-secret-key".to_owned()));
///     let models = ModelRegistry::default().with_http(Arc::new(tape)).with_secrets(Arc::new(secrets));
/// #   let models = models.with_settings("openai", ProviderSettings::default().with_base_url(server.url()));
///     Engine::builder().models(models).default_model("openai:gpt-5-mini").build().await
/// };
/// for mode in [CassetteMode::Record, CassetteMode::Replay] {
///     let agent = Agent::builder("greeter").build()?;
///     assert_eq!(engine(mode).await?.run(agent, "Hi").await?.text(), "Hello.");
/// }
/// assert!(!std::fs::read_to_string(&path).unwrap().contains("sk-secret"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Cassette(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    mode: CassetteMode,
    http: Arc<dyn HttpClient>,
    scrub: Scrub,
    ignored: Vec<String>,
    // A std mutex: no await happens while it is held.
    tape: Mutex<Tape>,
}

#[derive(Debug, Default)]
struct Tape {
    /// What is recorded, and whether it was given.
    exchanges: Vec<(Exchange, bool)>,
    /// Whether the file is to be begun anew.
    new: bool,
    /// What went wrong where nobody could be told.
    failed: Option<Error>,
}

impl Cassette {
    /// A cassette in a file, over the client that sends what is not given from it.
    ///
    /// # Errors
    /// `NotFound` when there is no file to replay, `Corrupt` for one that is no cassette, with the line.
    pub fn open(path: impl AsRef<Path>, mode: CassetteMode, http: Arc<dyn HttpClient>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let read = if mode == CassetteMode::Record { None } else { file::read(&path)? };
        if mode == CassetteMode::Replay && read.is_none() {
            let message = "there is no cassette; record it first";
            return Err(
                Error::new(ErrorKind::NotFound, "cassette.open", message).with("file", path.display())
            );
        }
        let new = read.is_none();
        let exchanges = read.into_iter().flatten().map(|exchange| (exchange, false)).collect();
        let tape = Mutex::new(Tape { exchanges, new, failed: None });
        let (scrub, ignored) = (Scrub::default(), Vec::new());
        Ok(Self(Arc::new(Inner { path, mode, http, scrub, ignored, tape })))
    }

    /// Leaves out more; before the cassette is used or cloned.
    #[must_use]
    pub fn with_scrub(self, scrub: Scrub) -> Self {
        self.change(|inner| inner.scrub = scrub)
    }

    /// Does not compare what stands at a JSON Pointer of the body, such as `/metadata/user_id`; before the cassette is
    /// used or cloned.
    #[must_use]
    pub fn ignoring(self, pointer: impl Into<String>) -> Self {
        self.change(|inner| inner.ignored.push(pointer.into()))
    }

    /// How many recorded exchanges were not asked for.
    #[must_use]
    pub fn left(&self) -> usize {
        self.0.lock().exchanges.iter().filter(|(_, given)| !given).count()
    }

    /// The keys for what is asked over it: those of the environment, or, where nothing is sent, a word for each of
    /// them.
    #[must_use]
    pub fn secrets(&self) -> Arc<dyn SecretStore> {
        Arc::new(match self.0.mode {
            CassetteMode::Replay => EnvSecrets::from_lookup(|_| Some("replayed".to_owned())),
            CassetteMode::Record | CassetteMode::Auto => EnvSecrets::new(),
        })
    }

    /// Whether everything was written.
    ///
    /// # Errors
    /// `Unavailable` when an exchange could not be written to the file.
    pub fn check(&self) -> Result<()> {
        self.0.lock().failed.clone().map_or(Ok(()), Err)
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            change(inner);
        }
        self
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body as it is recorded.
    fn body(&self, scrub: &Scrub, body: &[u8]) -> Value {
        let value = serde_json::from_slice(body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()));
        scrub.value(value)
    }

    /// A body without what is not compared.
    fn compared(&self, mut body: Value) -> Value {
        for pointer in &self.ignored {
            let Some((parent, name)) = pointer.rsplit_once('/') else { continue };
            let name = name.replace("~1", "/").replace("~0", "~");
            if let Some(fields) = body.pointer_mut(parent).and_then(Value::as_object_mut) {
                fields.shift_remove(&name);
            }
        }
        body
    }

    /// The recorded answer to a request, or why there is none.
    fn find(&self, url: &str, body: &Value) -> Result<HttpResponse> {
        let asked = self.compared(body.clone());
        let mut tape = self.lock();
        let mut nearest: Option<(usize, Vec<String>)> = None;
        for (index, (exchange, given)) in tape.exchanges.iter_mut().enumerate() {
            if *given {
                continue;
            }
            let mut places = differences(&self.compared(exchange.body.clone()), &asked);
            if exchange.url != url {
                places.insert(0, "the address".to_owned());
            }
            if places.is_empty() {
                *given = true;
                return Ok(played(exchange));
            }
            if nearest.as_ref().is_none_or(|(_, least)| places.len() < least.len()) {
                nearest = Some((index, places));
            }
        }
        let message = "the cassette has no answer to this request";
        let error = Error::new(ErrorKind::NotFound, "cassette.replay", message)
            .with("file", self.path.display())
            .with("recorded", tape.exchanges.len());
        Err(match nearest {
            Some((index, places)) => error.with("nearest", index + 1).with("differs", places.join(", ")),
            None => error.with("left", 0),
        })
    }

    fn keep(&self, exchange: &Exchange) {
        let mut tape = self.lock();
        match file::append(&self.path, tape.new, exchange) {
            Ok(()) => tape.new = false,
            Err(err) => tape.failed = Some(err),
        }
    }
}

fn played(exchange: &Exchange) -> HttpResponse {
    let pieces = exchange.pieces().into_iter().map(|piece| Ok(Bytes::from(piece)));
    let body = stream::iter(pieces.chain(exchange.failed.clone().map(Err)).collect::<Vec<_>>());
    HttpResponse { status: exchange.status, headers: exchange.headers.clone(), body: body.boxed() }
}

#[async_trait]
impl HttpClient for Cassette {
    async fn post(&self, ctx: &Context, request: HttpRequest) -> Result<HttpResponse> {
        self.check()?;
        let inner = &self.0;
        let scrub = inner.scrub.with_headers(&request.headers);
        let (url, body) = (scrub.address(&request.url), inner.body(&scrub, &request.body));
        match (inner.mode, inner.find(&url, &body)) {
            (CassetteMode::Replay, found) => return found,
            (CassetteMode::Auto, Ok(found)) => return Ok(found),
            (CassetteMode::Auto, Err(_)) | (CassetteMode::Record, _) => {}
        }
        let HttpResponse { status, headers, body: answer } = inner.http.post(ctx, request).await?;
        let kept = headers.iter().filter(|(name, _)| KEPT_HEADERS.contains(&name.as_str()));
        let kept = kept.map(|(name, value)| (name.clone(), scrub.text(value))).collect();
        let (answers, failed) = (Vec::new(), None);
        let exchange =
            Exchange { method: "POST".to_owned(), url, body, status, headers: kept, answer: answers, failed };
        let recorder = Recorder { tape: Arc::clone(inner), scrub, exchange, pieces: Vec::new(), answer };
        Ok(HttpResponse { status, headers, body: recorder.boxed() })
    }
}

/// An answer that is kept when it was read, as far as it was.
struct Recorder {
    tape: Arc<Inner>,
    scrub: Scrub,
    exchange: Exchange,
    pieces: Vec<Bytes>,
    answer: HttpBody,
}

impl Stream for Recorder {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let piece = task::ready!(this.answer.as_mut().poll_next(cx));
        match &piece {
            Some(Ok(piece)) => this.pieces.push(piece.clone()),
            Some(Err(err)) => this.exchange.failed = Some(err.clone()),
            None => {}
        }
        Poll::Ready(piece)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Backends stop reading at the last event, so the end of the stream is no sign of a whole answer.
        let pieces = self.scrub.pieces(&self.pieces);
        self.exchange.answer = pieces.into_iter().map(Piece::new).collect();
        self.tape.keep(&self.exchange);
    }
}
