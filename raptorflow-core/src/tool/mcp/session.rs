//! `Session`: one connection to a server, owned by one task that lists, cancels, reconnects and closes.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use rmcp::{
    model::{
        CallToolRequest, CallToolRequestParams, CallToolResult, CancelledNotificationParam, ClientRequest,
        ProgressToken, RequestId, ServerResult,
    },
    service::{Peer, PeerRequestOptions, RoleClient, RunningService, ServiceError},
};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    runtime::{Backoff, Context, Runtime},
    tool::mcp::{
        config::McpConfig,
        endpoint::{Endpoint, Link},
        fault::{challenge, of_request},
        handler::McpHandler,
        inbound::Inbound,
        listing::{Listing, all},
    },
};

/// How many commands wait for the owner of a session; what does not fit is dropped.
const MAX_COMMANDS: usize = 64;
/// How many notes to the server are being written at the same time; further ones are dropped.
const MAX_NOTES: usize = 64;
/// How often one request asks for access.
const MAX_CHALLENGES: usize = 3;

/// What the owner of a session is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Read the list of tools again.
    List,
    /// Tell the server that nobody waits for this request any more.
    Cancel(RequestId),
    /// End; the sender is dropped when that is done.
    Close(oneshot::Sender<()>),
}

/// Where a session is.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    Open { peer: Peer<RoleClient>, number: u64 },
    Reconnecting,
    Closed(Error),
}

/// One connection to a server; it ends when the last holder is gone.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) config: McpConfig,
    pub(super) listing: watch::Receiver<Listing>,
    pub(super) stage: watch::Receiver<Stage>,
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    calls: Semaphore,
}

/// What the session and its owner both need.
#[derive(Debug)]
struct Shared {
    endpoint: Endpoint,
    inbound: Arc<Inbound>,
    prefix: String,
}

impl Session {
    /// Connects, shakes hands and reads the list of tools.
    pub(super) async fn open(
        ctx: &Context,
        endpoint: Endpoint,
        config: McpConfig,
        prefix: String,
        handler: Arc<dyn McpHandler>,
    ) -> Result<Self> {
        let (commands, inbox) = mpsc::channel(MAX_COMMANDS);
        let inbound = Arc::new(Inbound::new(handler, commands.downgrade()));
        let shared = Arc::new(Shared { endpoint, inbound, prefix });
        let limited = ctx.with_timeout(config.connect_timeout);
        let begun =
            limited.bound("mcp.connect", Arc::clone(&shared).begin(ctx.runtime().clone(), config.clone()));
        let begun = begun.await.flatten();
        let (link, listing) = begun.map_err(|err| named(err, &shared.endpoint))?;
        let peer = link.service.peer().clone();
        let (stage_to, stage) = watch::channel(Stage::Open { peer, number: 0 });
        let (listing_to, listing) = watch::channel(listing);
        let owner = Owner {
            shared: Arc::clone(&shared),
            config: config.clone(),
            runtime: ctx.runtime().clone(),
            stage: stage_to,
            listing: listing_to,
            inbox,
        };
        drop(ctx.runtime().tasks().spawn("mcp.session", owner.run(link)));
        let calls = Semaphore::new(config.max_parallel.max(1));
        Ok(Self { config, listing, stage, shared, commands, calls })
    }

    /// Sends a request and waits for its answer, at most as long as the context allows.
    pub(super) async fn request<T, Fut>(
        &self,
        ctx: &Context,
        operation: &'static str,
        work: impl Fn(Peer<RoleClient>) -> Fut,
    ) -> Result<T>
    where
        Fut: Future<Output = std::result::Result<T, ServiceError>>,
    {
        let asked = async {
            let (peer, number) = self.peer().await?;
            let _turn = self.calls.acquire().await;
            let answer = self.shared.asked(operation, || work(peer.clone())).await;
            if peer.is_transport_closed() && answer.is_err() { Err(self.lost(number).await) } else { answer }
        };
        ctx.bound(operation, asked).await.flatten().map_err(|err| named(err, &self.shared.endpoint))
    }

    /// Calls a tool by its name there.
    pub(super) async fn call(
        &self,
        ctx: &Context,
        name: &Arc<str>,
        params: CallToolRequestParams,
    ) -> Result<CallToolResult> {
        self.request(ctx, "mcp.call", |peer| self.called(peer, name, params.clone())).await
    }

    async fn called(
        &self,
        peer: Peer<RoleClient>,
        name: &Arc<str>,
        params: CallToolRequestParams,
    ) -> std::result::Result<CallToolResult, ServiceError> {
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let handle = peer.send_request_with_option(request, PeerRequestOptions::no_options()).await?;
        let inbound = &self.shared.inbound;
        inbound.begun(handle.progress_token.clone(), Arc::clone(name));
        let mut wait = Wait {
            id: Some(handle.id.clone()),
            token: handle.progress_token.clone(),
            inbound,
            commands: &self.commands,
        };
        let answer = handle.await_response().await;
        wait.id = None;
        match answer? {
            ServerResult::CallToolResult(result) => Ok(result),
            _ => Err(ServiceError::UnexpectedResponse),
        }
    }

    /// Reads the list of tools now.
    pub(super) async fn list(&self, ctx: &Context) -> Result<()> {
        let mut listing = self.listing.clone();
        listing.mark_unchanged();
        let sent = self.commands.send(Command::List);
        let listed = async {
            self.peer().await?;
            if sent.await.is_err() || listing.changed().await.is_err() {
                return Err(self.lost(u64::MAX).await);
            }
            Ok(())
        };
        ctx.bound("mcp.list", listed).await.flatten()
    }

    /// Ends the session and waits until its server is gone.
    pub(super) async fn close(&self) {
        let (done, gone) = oneshot::channel();
        if self.commands.send(Command::Close(done)).await.is_ok() {
            // The owner drops the sender when it has ended.
            let _ = gone.await;
        }
    }

    async fn peer(&self) -> Result<(Peer<RoleClient>, u64)> {
        let mut stage = self.stage.clone();
        loop {
            match &*stage.borrow_and_update() {
                Stage::Open { peer, number } => return Ok((peer.clone(), *number)),
                Stage::Closed(err) => return Err(err.clone()),
                Stage::Reconnecting => {}
            }
            if stage.changed().await.is_err() {
                return Err(closed());
            }
        }
    }

    /// Why the connection of this number is gone.
    async fn lost(&self, number: u64) -> Error {
        let mut stage = self.stage.clone();
        let gone = |stage: &Stage| !matches!(stage, Stage::Open { number: at, .. } if *at == number);
        match stage.wait_for(gone).await.as_deref() {
            Ok(Stage::Closed(err)) => err.clone(),
            _ => Error::new(
                ErrorKind::Unavailable,
                "mcp.call",
                "the server closed the connection; the call may have taken effect",
            ),
        }
    }
}

/// Tells the owner when nobody waits for a call any more.
struct Wait<'a> {
    id: Option<RequestId>,
    token: ProgressToken,
    inbound: &'a Inbound,
    commands: &'a mpsc::Sender<Command>,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.inbound.ended(&self.token);
        if let Some(id) = self.id.take() {
            let _ = self.commands.try_send(Command::Cancel(id));
        }
    }
}

impl Shared {
    /// Boxed, because the compiler cannot tell that a borrowing one may go to another thread.
    fn begin(
        self: Arc<Self>,
        runtime: Runtime,
        config: McpConfig,
    ) -> BoxFuture<'static, Result<(Link, Listing)>> {
        let begun = async move {
            let link = self.endpoint.connect(&runtime, &config, &self.inbound).await?;
            let listing = self.list(link.service.peer(), &config).await?;
            Ok((link, listing))
        };
        begun.boxed()
    }

    async fn list(&self, peer: &Peer<RoleClient>, config: &McpConfig) -> Result<Listing> {
        let offered = peer.peer_info().is_some_and(|info| info.capabilities.tools.is_some());
        if !offered {
            return Ok(Listing::default());
        }
        let tools = all("tools", config.max_tools, |cursor| async move {
            let page = self.asked("mcp.list", || peer.list_tools(cursor.clone())).await?;
            Ok((page.tools, page.next_cursor))
        });
        Ok(Listing::new(tools.await?, &self.prefix, config.call_timeout))
    }

    /// Sends a request, and once more for each time that access was asked for and given.
    async fn asked<T, Fut>(&self, operation: &'static str, work: impl Fn() -> Fut) -> Result<T>
    where
        Fut: Future<Output = std::result::Result<T, ServiceError>>,
    {
        let mut challenges = 0;
        loop {
            // Boxed, because the SDK's futures have tens of kilobytes, and a thread's stack has two megabytes.
            let err = match Box::pin(work()).await {
                Ok(answer) => return Ok(answer),
                Err(err) => err,
            };
            let asked = match &err {
                ServiceError::TransportSend(cause) => challenge(cause),
                _ => None,
            };
            match (Box::pin(self.endpoint.access()).await?, asked) {
                (Some(access), Some(asked)) if challenges < MAX_CHALLENGES => {
                    challenges += 1;
                    Box::pin(access.obtain(self.inbound.handler(), &asked)).await?;
                }
                _ => return Err(of_request(&err, operation)),
            }
        }
    }
}

fn named(err: Error, endpoint: &Endpoint) -> Error {
    if err.get("server").is_some() { err } else { err.with("server", endpoint.shown()) }
}

fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "mcp.session", "the session was closed")
}

/// The one task behind a session.
struct Owner {
    shared: Arc<Shared>,
    config: McpConfig,
    runtime: Runtime,
    stage: watch::Sender<Stage>,
    listing: watch::Sender<Listing>,
    inbox: mpsc::Receiver<Command>,
}

/// How a connection ended.
enum End {
    /// The host wants it so, and waits for it where it says so.
    Asked(Option<oneshot::Sender<()>>),
    /// The server is gone.
    Lost(Error),
}

impl Owner {
    async fn run(mut self, mut link: Link) {
        let mut number = 0_u64;
        loop {
            let lost = match self.attend(link).await {
                End::Asked(done) => {
                    self.stage.send_replace(Stage::Closed(closed()));
                    drop(done);
                    return;
                }
                End::Lost(err) => err,
            };
            match self.reconnect(lost).await {
                Ok(next) => link = next,
                Err(err) => {
                    tracing::debug!(error = %err, "mcp.session");
                    self.stage.send_replace(Stage::Closed(err));
                    return;
                }
            }
            number = number.saturating_add(1);
            self.stage.send_replace(Stage::Open { peer: link.service.peer().clone(), number });
        }
    }

    /// Serves one connection to its end.
    async fn attend(&mut self, link: Link) -> End {
        let Link { service, mut child } = link;
        let (stop, peer) = (service.cancellation_token(), service.peer().clone());
        let mut ended = pin!(ended(service));
        let tasks = self.runtime.tasks().cancel().clone();
        let mut notes: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
        let (mut lists, mut wanted) = (None::<BoxFuture<'static, Result<Listing>>>, false);
        let end = loop {
            tokio::select! {
                biased;
                () = &mut ended => break None,
                () = tasks.cancelled() => break Some(None),
                command = self.inbox.recv() => match command {
                    None => break Some(None),
                    Some(Command::Close(done)) => break Some(Some(done)),
                    Some(Command::List) => wanted = true,
                    Some(Command::Cancel(id)) if notes.len() < MAX_NOTES => {
                        notes.push(cancelled(peer.clone(), id).boxed());
                    }
                    Some(Command::Cancel(_)) => {}
                },
                Some(()) = notes.next(), if !notes.is_empty() => {}
                listed = next(&mut lists) => {
                    lists = None;
                    match listed {
                        Ok(listing) => drop(self.listing.send_replace(listing)),
                        // The list of before stays.
                        Err(err) => {
                            tracing::debug!(error = %err, "mcp.list");
                            self.listing.send_modify(|_| {});
                        }
                    }
                }
            }
            if wanted && lists.is_none() {
                wanted = false;
                let (shared, peer, config) = (Arc::clone(&self.shared), peer.clone(), self.config.clone());
                lists = Some(async move { shared.list(&peer, &config).await }.boxed());
            }
        };
        let clock = Arc::clone(self.runtime.clock());
        match end {
            Some(done) => {
                self.stage.send_replace(Stage::Closed(closed()));
                stop.cancel();
                tokio::select! {
                    () = ended => {}
                    () = clock.sleep(self.config.close_timeout) => {}
                }
                if let Some(child) = child {
                    child.close(clock.as_ref(), self.config.close_timeout).await;
                }
                End::Asked(done)
            }
            None => {
                let mut err =
                    Error::new(ErrorKind::Unavailable, "mcp.session", "the server closed the connection")
                        .with("server", self.shared.endpoint.shown());
                if let Some(child) = &mut child
                    && let Some(status) = child.status(clock.as_ref()).await
                {
                    err = err.with("status", status);
                }
                if let Some(child) = child {
                    child.close(clock.as_ref(), Duration::ZERO).await;
                }
                End::Lost(err)
            }
        }
    }

    /// Connects again, as often as the settings allow.
    async fn reconnect(&mut self, lost: Error) -> Result<Link> {
        let tries = if self.shared.endpoint.is_repeatable() { self.config.max_reconnects } else { 0 };
        if tries == 0 {
            return Err(lost);
        }
        self.stage.send_replace(Stage::Reconnecting);
        let (mut last, backoff) = (lost, Backoff::default());
        for failures in 1..=tries {
            let pause = backoff.delay(failures, self.runtime.ids().unit());
            let clock = Arc::clone(self.runtime.clock());
            tokio::select! {
                () = clock.sleep(pause) => {}
                () = self.runtime.tasks().cancel().cancelled() => return Err(closed()),
                () = unwanted(&mut self.inbox) => return Err(closed()),
            }
            let begun = Arc::clone(&self.shared).begin(self.runtime.clone(), self.config.clone());
            let begun = tokio::select! {
                begun = begun => begun,
                () = clock.sleep(self.config.connect_timeout) => {
                    Err(Error::new(ErrorKind::Timeout, "mcp.connect", "the server does not answer"))
                }
            };
            match begun {
                Ok((link, listing)) => {
                    self.listing.send_replace(listing);
                    return Ok(link);
                }
                Err(err) => last = err,
            }
        }
        Err(last.retryable(Retry::Exhausted))
    }
}

async fn ended(service: RunningService<RoleClient, Arc<Inbound>>) {
    if let Err(err) = service.waiting().await {
        tracing::debug!(error = %err, "mcp.session");
    }
}

async fn cancelled(peer: Peer<RoleClient>, id: RequestId) {
    let note = CancelledNotificationParam::new(Some(id), None);
    // A server that is gone needs no note.
    let _ = peer.notify_cancelled(note).await;
}

async fn next<T>(work: &mut Option<BoxFuture<'static, T>>) -> T {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

/// Waits until the host wants the session to end; other commands are for a connection that is gone.
async fn unwanted(inbox: &mut mpsc::Receiver<Command>) {
    while !matches!(inbox.recv().await, None | Some(Command::Close(_))) {}
}
