//! `ProviderServer`: a scripted HTTP server on this machine, for tests of the real path to a provider.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::{Cancel, Runtime, Task},
};

/// The largest request that the server reads, in bytes.
const MAX_REQUEST: usize = 16 << 20;

/// One scripted answer.
#[derive(Clone, Debug)]
pub struct ServerReply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    pieces: usize,
    /// After how many bytes of the body it waits to be told to go on.
    pause: Option<usize>,
    end: End,
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// As it should.
    Whole,
    /// The connection is closed before the end.
    Cut,
    /// Nothing more comes and the connection stays open.
    Silent,
    /// The body is all there is, in place of HTTP.
    Raw,
}

impl ServerReply {
    /// An answer of a status, a content type and a body.
    #[must_use]
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self { status, headers, body: body.into(), pieces: usize::MAX, pause: None, end: End::Whole }
    }

    /// A JSON value.
    #[must_use]
    pub fn json(status: u16, value: &Value) -> Self {
        Self::new(status, "application/json", value.to_string())
    }

    /// An event stream of `data` lines, as OpenAI sends them; add `[DONE]` yourself.
    #[must_use]
    pub fn data<T: ToString>(events: impl IntoIterator<Item = T>) -> Self {
        let body: String = events.into_iter().map(|data| format!("data: {}\n\n", data.to_string())).collect();
        Self::new(200, "text/event-stream", body)
    }

    /// An event stream of named events, as Anthropic sends them; the name is the value's `type`.
    #[must_use]
    pub fn events(events: impl IntoIterator<Item = Value>) -> Self {
        let named = |value: &Value| value.get("type").and_then(Value::as_str).unwrap_or("message").to_owned();
        let body: String =
            events.into_iter().map(|value| format!("event: {}\ndata: {value}\n\n", named(&value))).collect();
        Self::new(200, "text/event-stream", body)
    }

    /// These bytes in place of HTTP; then the connection is closed.
    #[must_use]
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { end: End::Raw, ..Self::new(0, "", bytes) }
    }

    /// Another header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The body in pieces of at most this many bytes, each sent by itself.
    #[must_use]
    pub fn in_pieces(mut self, bytes: usize) -> Self {
        self.pieces = bytes.max(1);
        self
    }

    /// Waits after this many bytes of the body until [`ProviderServer::go_on`].
    #[must_use]
    pub fn paused_after(mut self, bytes: usize) -> Self {
        self.pause = Some(bytes);
        self
    }

    /// Closes the connection after this many bytes of the body.
    #[must_use]
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.body.truncate(bytes);
        self.end = End::Cut;
        self
    }

    /// Falls silent after this many bytes of the body.
    #[must_use]
    pub fn silent_after(mut self, bytes: usize) -> Self {
        self.body.truncate(bytes);
        self.end = End::Silent;
        self
    }
}

/// A request that the server has read.
#[derive(Clone, Debug)]
pub struct ServerRequest {
    /// Method and path, as `POST /v1/chat/completions`.
    pub line: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body, `null` when it is not JSON.
    pub body: Value,
}

impl ServerRequest {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A scripted HTTP server on a free port of this machine; it stops when it is dropped.
///
/// Each connection carries one request.
/// A request without a scripted reply is answered with status 599.
#[derive(Debug)]
pub struct ProviderServer {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    /// Cancelled by the server whenever a client has gone away before the end of an answer.
    gone: Cancel,
    /// Cancelled when paused replies shall go on.
    going: Cancel,
    accepting: Task<()>,
}

#[derive(Debug, Default)]
struct Script {
    replies: VecDeque<ServerReply>,
    requests: Vec<ServerRequest>,
}

impl ProviderServer {
    /// A server that plays the replies in order.
    ///
    /// # Errors
    /// `Unavailable` when no port can be had.
    pub async fn start(runtime: &Runtime, replies: impl IntoIterator<Item = ServerReply>) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(broken)?;
        let address = listener.local_addr().map_err(broken)?;
        let script = Script { replies: replies.into_iter().collect(), requests: Vec::new() };
        let script = Arc::new(Mutex::new(script));
        let (gone, going) = (Cancel::new(), Cancel::new());
        let serving = serve(listener, Arc::clone(&script), gone.clone(), going.clone());
        let accepting = runtime.tasks().spawn("testing.server", serving);
        Ok(Self { address, script, gone, going, accepting })
    }

    /// The address, as `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a reply.
    pub fn push(&self, reply: ServerReply) {
        lock(&self.script).replies.push_back(reply);
    }

    /// Every request so far, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<ServerRequest> {
        lock(&self.script).requests.clone()
    }

    /// Lets replies that pause go on, now and from now on.
    pub fn go_on(&self) {
        self.going.cancel();
    }

    /// Waits until a client has closed its connection in the silence of a reply.
    pub async fn client_gone(&self) {
        self.gone.cancelled().await;
    }
}

impl Drop for ProviderServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn lock(script: &Mutex<Script>) -> std::sync::MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}

fn broken(err: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "testing.server", "the test server cannot go on").caused_by(err)
}

async fn serve(listener: TcpListener, script: Arc<Mutex<Script>>, gone: Cancel, going: Cancel) {
    // One connection after another: a script has an order.
    while let Ok((stream, _)) = listener.accept().await {
        // A client that goes away is part of many tests.
        let _ = answer(stream, &script, &gone, &going).await;
    }
}

async fn answer(
    mut stream: TcpStream,
    script: &Mutex<Script>,
    gone: &Cancel,
    going: &Cancel,
) -> std::io::Result<()> {
    let Some(request) = read_request(&mut stream).await? else {
        // As servers without TLS answer a handshake.
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .await?;
        return stream.shutdown().await;
    };
    let reply = {
        let mut script = lock(script);
        script.requests.push(request);
        script.replies.pop_front()
    };
    let reply = reply.unwrap_or_else(|| ServerReply::new(599, "text/plain", "the script has no reply left"));
    if reply.end == End::Raw {
        stream.write_all(&reply.body).await?;
        return stream.shutdown().await;
    }
    let mut head =
        format!("HTTP/1.1 {} Scripted\r\ntransfer-encoding: chunked\r\nconnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    let (before, after) = reply.body.split_at(reply.pause.unwrap_or(0).min(reply.body.len()));
    send(&mut stream, before, reply.pieces).await?;
    if reply.pause.is_some() {
        going.cancelled().await;
    }
    send(&mut stream, after, reply.pieces).await?;
    match reply.end {
        End::Raw => {}
        End::Whole => stream.write_all(b"0\r\n\r\n").await?,
        End::Cut => {}
        End::Silent => {
            // Only the end of the connection is left to read.
            while stream.read(&mut [0; 64]).await? > 0 {}
            gone.cancel();
        }
    }
    stream.shutdown().await
}

async fn send(stream: &mut TcpStream, bytes: &[u8], pieces: usize) -> std::io::Result<()> {
    for piece in bytes.chunks(pieces.min(bytes.len().max(1))) {
        stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
        stream.write_all(piece).await?;
        stream.write_all(b"\r\n").await?;
        stream.flush().await?;
    }
    Ok(())
}

async fn read_request(stream: &mut TcpStream) -> std::io::Result<Option<ServerRequest>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(request) = parse(&bytes) {
            return Ok(Some(request));
        }
        // What does not begin like HTTP is a TLS handshake, which would wait for an answer.
        if bytes.first().is_some_and(|first| !first.is_ascii_uppercase()) {
            return Ok(None);
        }
        if bytes.len() > MAX_REQUEST || stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}

/// The request, when all of it has arrived.
fn parse(bytes: &[u8]) -> Option<ServerRequest> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(bytes.get(..end)?).into_owned();
    let mut lines = head.split("\r\n");
    let line = lines.next()?.trim_end_matches(" HTTP/1.1").to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let body = bytes.get(end + 4..)?.get(..length)?;
    Some(ServerRequest { line, headers, body: serde_json::from_slice(body).unwrap_or_default() })
}
