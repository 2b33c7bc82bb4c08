//! The connections for reading: at most so many, made when first needed, kept for the next read.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{config::SqliteConfig, fault::closed, open};
use crate::{error::Result, runtime::Context};

/// The pool; a read waits while all connections are busy.
pub(super) struct Readers {
    config: SqliteConfig,
    free: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(config: SqliteConfig) -> Self {
        let free = Arc::new(Semaphore::new(config.readers));
        Self { config, free, idle: Mutex::new(Vec::new()) }
    }

    /// Runs a read on a blocking thread of the context's runtime.
    ///
    /// # Cancellation
    /// A read that has begun ends in the background; nobody sees its result.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        ctx: &Context,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = Arc::clone(&self.free).acquire_owned().await.map_err(|_| closed(operation))?;
        let pool = Arc::clone(self);
        let read = ctx.runtime().tasks().spawn_blocking(move || {
            let conn = pool.take()?;
            let value = work(&conn);
            pool.idle().push(conn);
            // After the connection is back: whoever gets the permit finds it.
            drop(permit);
            value
        });
        read.await?
    }

    /// Waits for the reads that run and closes the connections.
    pub(super) async fn close(&self) {
        // Fails only when the pool is closed already.
        if let Ok(all) = self.free.acquire_many(u32::try_from(self.config.readers).unwrap_or(u32::MAX)).await
        {
            self.free.close();
            self.idle().clear();
            drop(all);
        }
    }

    fn take(&self) -> Result<Connection> {
        let idle = self.idle().pop();
        idle.map_or_else(|| open::reader(&self.config), Ok)
    }

    // A std mutex: no await happens while it is held.
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").field("idle", &self.idle().len()).finish_non_exhaustive()
    }
}
