//! `Connector`: makes connections, waits for a server that went away, and bounds how long a statement may take.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};

use super::{config::PostgresConfig, fault::Fault};
use crate::{
    error::Result,
    runtime::{Clock, Runtime},
};

/// How much longer than the server this side waits for the end of a statement.
const GRACE: Duration = Duration::from_secs(5);
/// "RFLW", before the number of the schema: advisory locks are shared with all programs of a database.
const LOCK: i32 = 0x5246_4c57;
/// The pauses between attempts to connect grow from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// Makes every connection of one store.
pub(super) struct Connector {
    options: PgConnectOptions,
    pub(super) config: PostgresConfig,
    clock: Arc<dyn Clock>,
    /// When the server was first found to be away, by the clock's `elapsed`.
    // A std mutex: no await happens while it is held.
    away: Mutex<Option<Duration>>,
}

impl Connector {
    pub(super) fn new(runtime: &Runtime, config: PostgresConfig) -> Result<Self> {
        let options = config.check()?;
        Ok(Self { options, config, clock: Arc::clone(runtime.clock()), away: Mutex::new(None) })
    }

    /// What a connection needs to know.
    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// The advisory lock that whoever listens for appends holds shared.
    pub(super) fn lock(&self) -> (i32, i32) {
        (LOCK, crc32fast::hash(self.config.schema.as_bytes()).cast_signed())
    }

    /// A new connection; waits up to [`PostgresConfig::reconnect`] for a server that went away.
    ///
    /// Once that time has passed, a call fails with its first attempt until the server is back.
    pub(super) async fn connect(&self, operation: &'static str) -> Result<PgConnection, Fault> {
        let mut pause = PAUSES.0;
        loop {
            let lost = match self.attempt(operation).await {
                Err(Fault::Lost(err)) => Fault::Lost(err),
                made => {
                    self.set_away(None);
                    return made;
                }
            };
            let now = self.clock.elapsed();
            let since = *self.away.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(now);
            if now.saturating_sub(since) >= self.config.reconnect {
                return Err(lost);
            }
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// One attempt at a connection.
    pub(super) async fn attempt(&self, operation: &'static str) -> Result<PgConnection, Fault> {
        let connecting = async {
            let mut conn = self.options.connect().await.map_err(|err| Fault::new(operation, err))?;
            self.prepare(operation, &mut conn).await?;
            Ok(conn)
        };
        tokio::select! {
            biased;
            made = connecting => made,
            () = self.clock.sleep(self.config.connect_timeout) => Err(Fault::silent(operation)),
        }
    }

    /// Waits for a statement, a little longer than the server lets it run.
    pub(super) async fn bounded<T>(
        &self,
        operation: &'static str,
        statement: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, Fault> {
        tokio::select! {
            biased;
            done = statement => done.map_err(|err| Fault::new(operation, err)),
            fault = self.silence(operation) => Err(fault),
        }
    }

    /// Ends when a statement that began now should have ended, with what that means.
    pub(super) async fn silence(&self, operation: &'static str) -> Fault {
        self.clock.sleep(self.config.statement_timeout + GRACE).await;
        Fault::silent(operation)
    }

    /// Time since some fixed point.
    pub(super) fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Whether something that began at `start` has waited for the server as long as it may.
    pub(super) fn waited_enough(&self, start: Duration) -> bool {
        self.clock.elapsed().saturating_sub(start) >= self.config.reconnect
    }

    /// Settings of the session. They are not sent as options at the start, which some poolers refuse.
    async fn prepare(&self, operation: &'static str, conn: &mut PgConnection) -> Result<(), Fault> {
        let millis = |duration: Duration| format!("{}ms", duration.as_millis());
        sqlx::query(
            "SELECT set_config('search_path', quote_ident($1), false),
                 set_config('statement_timeout', $2, false),
                 set_config('lock_timeout', $3, false),
                 -- What was acknowledged survives a loss of power, whatever the default of the server is.
                 CASE WHEN current_setting('synchronous_commit') = 'off'
                     THEN set_config('synchronous_commit', 'on', false) END",
        )
        .bind(&self.config.schema)
        .bind(millis(self.config.statement_timeout))
        .bind(millis(self.config.lock_timeout))
        .persistent(false)
        .execute(conn)
        .await
        .map_err(|err| Fault::new(operation, err))?;
        Ok(())
    }

    fn set_away(&self, since: Option<Duration>) {
        *self.away.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}
