//! `RedisRates`: rates that many processes share, counted by a Redis server in one atomic script a check.

use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use redis::{
    AsyncConnectionConfig, Client, RedisError, Script, ScriptInvocation, ServerErrorKind,
    aio::MultiplexedConnection,
};
use tokio::sync::Mutex;

use super::rate_store::{OPERATION, RateAnswer, RateCount, RateStore};
use crate::{
    error::{Error, ErrorKind, Result, Retry},
    runtime::Context,
    types::Digest,
};

/// In front of every key by default.
const PREFIX: &str = "raptorflow:rate";
/// How long to wait for a connection, and for an answer, by default.
const PATIENCE: Duration = Duration::from_secs(2);

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("redis_rates.lua")));

/// The time, the number of the counter that refused or 0, and how long it asks to wait.
type Told = (u64, usize, i64);

/// Counts in a Redis server, from version 5 on, or in one that speaks its language; cloning shares the connection.
///
/// Every check is one script, which the server runs by itself: nobody sees a part of it.
/// The time is the server's own, because the clocks of many machines differ and a limit that they share needs one.
/// A counter is one key, the prefix, the rule and a digest of who is counted, so that no name is kept there; it ends by
/// itself one second after it is as good as new.
/// All counters live on one server: a cluster is not supported, and what a server that is replaced did not copy starts
/// anew.
///
/// It connects at the first check and again when the connection broke; all checks share one connection.
/// A check that lost its connection is sent once more over a new one, so that it may be counted twice and is never
/// left out.
/// Nothing else takes its place: while the server cannot be asked, checks fail.
///
/// Counts are exact as long as a rate's capacity times its period in microseconds is below 2^53, like 90,000 tokens in
/// a day; beyond that they are rounded by less than a millionth of a call.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use raptorflow_core::model::{Rate, RateLimitLayer, RedisRates};
/// let rates = RedisRates::new("redis://:secret@limits.internal:6379/2")?.with_prefix("shop:rate");
/// assert_eq!(rates.host(), "limits.internal:6379");
/// assert!(!format!("{rates:?}").contains("secret"));
/// let layer = RateLimitLayer::per_model(Rate::USUAL).with_store(Arc::new(rates));
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone)]
pub struct RedisRates {
    client: Client,
    host: Arc<str>,
    prefix: Arc<str>,
    timeout: Duration,
    line: Arc<Mutex<Line>>,
}

/// The connection, where there is one, and how many there were before it.
#[derive(Default)]
struct Line {
    number: u64,
    open: Option<MultiplexedConnection>,
}

impl RedisRates {
    /// The server at an address such as `redis://user:password@host:6379/0`, or `rediss://` for an encrypted
    /// connection; nothing is connected yet.
    ///
    /// After a question mark `prefix=NAME` names what stands in front of every key.
    ///
    /// # Errors
    /// `InvalidInput` for an address that has not this form; it is not shown, because it may hold a password.
    pub fn new(address: &str) -> Result<Self> {
        let (place, query) = address.split_once('?').unwrap_or((address, ""));
        let mut prefix = PREFIX;
        for option in query.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("prefix", name)) if !name.is_empty() => prefix = name,
                _ => {
                    let name = option.split_once('=').map_or(option, |(name, _)| name);
                    return Err(wrong("expected nothing but prefix=NAME after the question mark")
                        .with("option", name));
                }
            }
        }
        if !place.starts_with("redis://") && !place.starts_with("rediss://") {
            return Err(wrong("expected an address such as redis://host:6379/0"));
        }
        // The cause is left out: it may quote the address.
        let client = Client::open(place).map_err(|_| {
            wrong("expected an address such as redis://user:password@host:6379/0, with the number of a database")
        })?;
        let host = Arc::from(client.get_connection_info().addr().to_string());
        Ok(Self { client, host, prefix: Arc::from(prefix), timeout: PATIENCE, line: Arc::default() })
    }

    /// What stands in front of every key, followed by a colon; `raptorflow:rate` by default.
    ///
    /// Engines with the same prefix, rules and server share what is counted.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<Arc<str>>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long to wait for a connection, and for an answer; 2 seconds by default.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The host and port, without user and password.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    async fn connection(&self) -> Result<(MultiplexedConnection, u64), RedisError> {
        // Held while it connects, so that many callers open one connection.
        let mut line = self.line.lock().await;
        if let Some(open) = &line.open {
            return Ok((open.clone(), line.number));
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        let open = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        line.number += 1;
        line.open = Some(open.clone());
        Ok((open, line.number))
    }

    /// Runs a script; a connection that broke is left behind.
    async fn ask(&self, script: &ScriptInvocation<'_>) -> Result<Told, RedisError> {
        let (mut open, number) = self.connection().await?;
        let told = script.invoke_async(&mut open).await;
        if told.as_ref().is_err_and(RedisError::is_unrecoverable_error) {
            let mut line = self.line.lock().await;
            if line.number == number {
                line.open = None;
            }
        }
        told
    }

    async fn ask_twice(&self, script: &ScriptInvocation<'_>) -> Result<Told, RedisError> {
        match self.ask(script).await {
            Err(err) if err.is_unrecoverable_error() => self.ask(script).await,
            told => told,
        }
    }

    fn with_counters<'a>(
        &self,
        mut script: ScriptInvocation<'a>,
        counts: &[RateCount<'_>],
    ) -> ScriptInvocation<'a> {
        for RateCount { rule, key, rate, calls } in counts {
            script.key(format!("{}:{rule}:{}", self.prefix, Digest::of(key)));
            let micros = u64::try_from(rate.per().as_micros()).unwrap_or(u64::MAX);
            script.arg(rate.algorithm().name()).arg(rate.limit()).arg(micros).arg(rate.capacity()).arg(calls);
        }
        script
    }

    fn ended(&self, told: Result<Told, RedisError>) -> Result<Told> {
        told.map_err(|err| {
            let (kind, retry, message) = meaning(&err);
            Error::new(kind, OPERATION, message).with("host", &self.host).retryable(retry).caused_by(err)
        })
    }
}

#[async_trait]
impl RateStore for RedisRates {
    async fn take(&self, ctx: &Context, counts: &[RateCount<'_>]) -> Result<RateAnswer> {
        let mut script = SCRIPT.prepare_invoke();
        script.arg("take");
        let (at, refused, wait) =
            self.ended(ctx.bound(OPERATION, self.ask_twice(&self.with_counters(script, counts))).await?)?;
        // Numbers begin at 1, and a wait below zero has no end.
        let wait = u64::try_from(wait).map_or(Duration::MAX, Duration::from_micros);
        Ok(RateAnswer {
            at: Duration::from_micros(at),
            refused: refused.checked_sub(1).map(|position| (position, wait)),
        })
    }

    async fn correct(&self, ctx: &Context, at: Duration, counts: &[RateCount<'_>], used: u32) -> Result<()> {
        let mut script = SCRIPT.prepare_invoke();
        let at = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        script.arg("correct").arg(at).arg(used);
        // Once: what is given back twice would let too many pass.
        self.ended(ctx.bound(OPERATION, self.ask(&self.with_counters(script, counts))).await?).map(drop)
    }
}

impl fmt::Debug for RedisRates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisRates")
            .field("host", &self.host)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

fn wrong(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, OPERATION, message).with("field", "layers.rate_limit.store")
}

fn meaning(err: &RedisError) -> (ErrorKind, Retry, &'static str) {
    match err.kind() {
        redis::ErrorKind::AuthenticationFailed => {
            (ErrorKind::Unauthenticated, Retry::Never, "the Redis server refuses the user or its password")
        }
        redis::ErrorKind::Server(ServerErrorKind::NoPerm) => (
            ErrorKind::PermissionDenied,
            Retry::Never,
            "the user may not run scripts or not use the keys; it needs @scripting, get, set and time",
        ),
        redis::ErrorKind::Server(ServerErrorKind::ReadOnly) => {
            (ErrorKind::Unavailable, Retry::Soon, "the Redis server takes no writes now; it may be a replica")
        }
        redis::ErrorKind::Server(
            ServerErrorKind::BusyLoading | ServerErrorKind::TryAgain | ServerErrorKind::MasterDown,
        ) => (ErrorKind::Unavailable, Retry::Soon, "the Redis server is not ready"),
        redis::ErrorKind::Server(ServerErrorKind::CrossSlot | ServerErrorKind::Moved) => {
            (ErrorKind::Unsupported, Retry::Never, "expected one Redis server, not a cluster")
        }
        redis::ErrorKind::Server(ServerErrorKind::ResponseError) => {
            (ErrorKind::Unavailable, Retry::Never, "the Redis server could not run the script")
        }
        redis::ErrorKind::Parse | redis::ErrorKind::UnexpectedReturnType => {
            (ErrorKind::InvalidOutput, Retry::Never, "what answers is not a Redis server")
        }
        _ if err.is_timeout() => {
            (ErrorKind::Unavailable, Retry::Soon, "the Redis server did not answer in time")
        }
        _ => (ErrorKind::Unavailable, Retry::Soon, "the Redis server cannot be asked; check that it runs"),
    }
}
