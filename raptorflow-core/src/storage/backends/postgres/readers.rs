//! The connections for reading: at most so many, made when first needed, kept for the next read.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sqlx::{
    Connection as _, PgConnection,
    postgres::{PgArguments, PgRow},
};
use tokio::sync::Semaphore;

use super::{
    connect::Connector,
    fault::{Fault, closed},
};
use crate::{error::Result, runtime::Runtime};

/// The pool; a read waits while all connections are busy.
pub(super) struct Readers {
    connector: Arc<Connector>,
    runtime: Runtime,
    free: Arc<Semaphore>,
    idle: Mutex<Vec<PgConnection>>,
}

impl Readers {
    /// A pool that begins with one connection.
    pub(super) fn new(runtime: &Runtime, connector: Arc<Connector>, first: PgConnection) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(connector.config.readers));
        Arc::new(Self { connector, runtime: runtime.clone(), free, idle: Mutex::new(vec![first]) })
    }

    /// The rows of a statement, which is sent again over a new connection when the old one was lost.
    ///
    /// # Cancellation
    /// A read that has begun ends in the background; nobody sees its result.
    pub(super) async fn rows(
        self: &Arc<Self>,
        operation: &'static str,
        sql: &'static str,
        arguments: PgArguments,
    ) -> Result<Vec<PgRow>> {
        let permit = Arc::clone(&self.free).acquire_owned().await.map_err(|_| closed(operation))?;
        let pool = Arc::clone(self);
        // In a task, so that a caller that goes away does not leave a connection in the middle of an answer.
        let read = self.runtime.tasks().spawn("storage.read", async move {
            let rows = pool.try_rows(operation, sql, arguments).await;
            // After the connection is back: whoever gets the permit finds it.
            drop(permit);
            rows
        });
        read.await?
    }

    /// Waits for the reads that run and closes the connections.
    pub(super) async fn close(&self) {
        // Fails only when the pool is closed already.
        let all = u32::try_from(self.connector.config.readers).unwrap_or(u32::MAX);
        if let Ok(all) = self.free.acquire_many(all).await {
            self.free.close();
            let idle = std::mem::take(&mut *self.idle());
            for conn in idle {
                // The server notices a connection that ends without a farewell too.
                let _ = self.connector.bounded("storage.close", conn.close()).await;
            }
            drop(all);
        }
    }

    async fn try_rows(
        &self,
        operation: &'static str,
        sql: &'static str,
        arguments: PgArguments,
    ) -> Result<Vec<PgRow>> {
        let start = self.connector.elapsed();
        loop {
            let idle = self.idle().pop();
            let mut conn = match idle {
                Some(conn) => conn,
                None => self.connector.connect(operation).await.map_err(Fault::into_error)?,
            };
            let statement = sqlx::query_with(sql, arguments.clone()).fetch_all(&mut conn);
            match self.connector.bounded(operation, statement).await {
                Ok(rows) => {
                    self.idle().push(conn);
                    return Ok(rows);
                }
                Err(Fault::Refused { error, .. }) => {
                    self.idle().push(conn);
                    return Err(error);
                }
                // A server that went away took the idle ones with it.
                Err(Fault::Lost(err)) => {
                    self.idle().clear();
                    if self.connector.waited_enough(start) {
                        return Err(err);
                    }
                }
            }
        }
    }

    // A std mutex: no await happens while it is held.
    fn idle(&self) -> MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").field("idle", &self.idle().len()).finish_non_exhaustive()
    }
}
