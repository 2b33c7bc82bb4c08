//! `PostgresStore`: answers the three traits with the writer and the readers.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    batch::{Answer, Expiry, Status, Write},
    config::PostgresConfig,
    connect::Connector,
    fault::Fault,
    format,
    listener::{Listener, Stop},
    read,
    readers::Readers,
    writer::Writer,
};
use crate::{
    error::{Error, ErrorKind, Result},
    runtime::{Context, Runtime},
    storage::{
        Append, Capability, Erased, Expect, Fence, Grant, KeyValue, Lease, Log, Record, Scan, Versioned,
        check_fence, check_length, check_name, check_version,
    },
    types::TenantId,
};

/// Keys, streams and leases in one schema of a PostgreSQL database; cloning shares the connections.
///
/// Several processes may open the schema at once, and any SQL tool can read it.
/// Writes of many callers are committed together, in one round trip, so that they share one flush of the disk.
/// Erasing a tenant deletes its rows; the server takes their bytes out of its files, logs and copies in its own time.
/// Connections last as long as the store, so a pooler in between must keep sessions, not transactions.
///
/// When the server goes away, calls wait for it as long as [`PostgresConfig::reconnect`] says.
/// A commit that was under way is asked about or done again under the same number, and never done twice.
/// What is still not known then is an error that says so: its context has `outcome: unknown`, and trying again is for
/// whoever reads first.
///
/// # Cancellation
/// Dropping the future of a write before its turn leaves nothing of it; after that all of it is committed, seen by
/// nobody.
///
/// # Examples
/// ```no_run
/// use std::sync::Arc;
/// use raptorflow_core::{runtime::{Context, Runtime}, storage::{Expect, PostgresConfig, PostgresStore, Storage}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let config = PostgresConfig::new("postgres://app@localhost/app").with_schema("staging");
/// let runtime = Runtime::current()?;
/// let storage = Storage::from_store(Arc::new(PostgresStore::open(&runtime, config).await?));
/// storage.put(&Context::new(&runtime), "plan", "draft", Expect::Absent).await?;
/// storage.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PostgresStore {
    writer: Arc<Writer>,
    readers: Arc<Readers>,
    listener: Arc<Stop>,
}

impl PostgresStore {
    /// Opens a schema, makes it and its tables where they are missing, and brings older tables forward.
    ///
    /// # Errors
    /// `InvalidInput` for settings that cannot work or the schema of another program; `Unavailable` when the server
    /// cannot be reached; `Unauthenticated` when it refuses the user; `PermissionDenied` when the user may not make
    /// the tables; `NotFound` when there is no such database; `Unsupported` for one whose encoding is not UTF8;
    /// `Corrupt` when the tables are of a newer format.
    pub async fn open(runtime: &Runtime, config: PostgresConfig) -> Result<Self> {
        let connector = Arc::new(Connector::new(runtime, config)?);
        let opening = {
            let connector = Arc::clone(&connector);
            async move {
                let mut conn = connector.attempt("storage.open").await.map_err(Fault::into_error)?;
                // The server ends a statement that takes too long; a network that swallows everything does not.
                tokio::select! {
                    biased;
                    prepared = format::prepare(&connector, &mut conn) => prepared?,
                    fault = connector.silence("storage.open") => return Err(fault.into_error()),
                }
                Ok(conn)
            }
        };
        // In a task: connections belong to the runtime that will use them.
        let conn = runtime.tasks().spawn("storage.open", opening).await??;
        let listener = Listener::new(runtime, Arc::clone(&connector));
        Ok(Self {
            writer: Writer::new(runtime, Arc::clone(&connector), Arc::clone(&listener)),
            listener: Arc::new(Stop(listener)),
            readers: Readers::new(runtime, connector, conn),
        })
    }

    async fn shut(&self) {
        self.listener.0.close();
        self.writer.close().await;
        self.readers.close().await;
    }
}

#[async_trait]
impl KeyValue for PostgresStore {
    fn capability(&self) -> Capability {
        Capability::new(true, true)
    }

    async fn get(&self, ctx: &Context, key: &str) -> Result<Option<Versioned>> {
        check_name("storage.get", "key", key)?;
        read::get(&self.readers, ctx.tenant(), key).await
    }

    async fn put(&self, ctx: &Context, key: &str, value: Bytes, expect: Expect) -> Result<u64> {
        const OPERATION: &str = "storage.put";
        check_name(OPERATION, "key", key)?;
        let write = Write::Put { key: key.to_owned(), value, expect };
        let answer = self.writer.submit(ctx, OPERATION, write).await?;
        if answer.status == Status::Done {
            return Ok(answer.number());
        }
        Err(other_version(OPERATION, key, expect, answer))
    }

    async fn delete(&self, ctx: &Context, key: &str, expect: Expect) -> Result<bool> {
        const OPERATION: &str = "storage.delete";
        check_name(OPERATION, "key", key)?;
        let answer =
            self.writer.submit(ctx, OPERATION, Write::Delete { key: key.to_owned(), expect }).await?;
        if answer.status == Status::Done {
            return Ok(answer.number() > 0);
        }
        Err(other_version(OPERATION, key, expect, answer))
    }

    async fn scan(&self, ctx: &Context, scan: Scan<'_>) -> Result<Vec<(String, Versioned)>> {
        read::scan(&self.readers, ctx.tenant(), scan).await
    }

    async fn close(&self) -> Result<()> {
        self.shut().await;
        Ok(())
    }
}

#[async_trait]
impl Log for PostgresStore {
    async fn append(&self, ctx: &Context, append: Append<'_>) -> Result<u64> {
        const OPERATION: &str = "storage.append";
        let Append { stream, expected, fence, records } = append;
        check_name(OPERATION, "stream", stream)?;
        if let Some(fence) = fence.filter(|fence| !can_be(fence)) {
            check_fence(OPERATION, fence, None)?;
        }
        let write = Write::Append { stream: stream.to_owned(), expected, fence: fence.cloned(), records };
        let answer = self.writer.submit(ctx, OPERATION, write).await?;
        match (answer.status, fence) {
            (Status::Done, _) => return Ok(answer.number()),
            (Status::Differs, _) => check_length(OPERATION, stream, expected, answer.number())?,
            (Status::Passed, Some(fence)) => check_fence(OPERATION, fence, newest(answer))?,
            (Status::Passed, None) => {}
        }
        Err(contradiction(OPERATION))
    }

    async fn read(&self, ctx: &Context, stream: &str, from: u64, limit: usize) -> Result<Vec<Record>> {
        check_name("storage.read", "stream", stream)?;
        read::read(&self.readers, ctx.tenant(), stream, from, limit).await
    }

    async fn length(&self, ctx: &Context, stream: &str) -> Result<u64> {
        check_name("storage.length", "stream", stream)?;
        read::length(&self.readers, ctx.tenant(), stream).await
    }

    async fn streams(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>> {
        read::streams(&self.readers, ctx.tenant(), prefix, after, limit).await
    }

    async fn grown(&self, ctx: &Context, stream: &str, length: u64, patience: Duration) -> Result<()> {
        const OPERATION: &str = "storage.grown";
        check_name(OPERATION, "stream", stream)?;
        let watch = self.listener.0.watch(ctx.tenant(), stream);
        let told = async {
            loop {
                let mut appended = std::pin::pin!(watch.notify.notified());
                appended.as_mut().enable();
                // A run hears of each of its own appends: to ask the server every time would cost as much as they do.
                if !watch.is_at_most(length) {
                    let mark = watch.begin();
                    // After the watch began: an append since the caller looked is seen here or told.
                    let found = read::length(&self.readers, ctx.tenant(), stream).await?;
                    watch.learn(mark, found);
                    if found > length {
                        return Ok(());
                    }
                }
                appended.await;
                if watch.is_longer_than(length) {
                    return Ok(());
                }
            }
        };
        tokio::select! {
            biased;
            told = told => told,
            () = ctx.runtime().clock().sleep(patience) => Ok(()),
        }
    }

    async fn remove(&self, ctx: &Context, stream: &str) -> Result<bool> {
        const OPERATION: &str = "storage.remove";
        check_name(OPERATION, "stream", stream)?;
        let answer = self.writer.submit(ctx, OPERATION, Write::Remove { stream: stream.to_owned() }).await?;
        Ok(answer.number() > 0)
    }

    async fn tenants(&self, _ctx: &Context, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantId>> {
        read::tenants(&self.readers, after, limit).await
    }

    async fn erase(&self, ctx: &Context) -> Result<Erased> {
        let [leases, streams, keys] = self.writer.submit(ctx, "storage.erase", Write::Erase).await?.numbers;
        Ok(Erased { keys, streams, leases })
    }

    async fn close(&self) -> Result<()> {
        self.shut().await;
        Ok(())
    }
}

#[async_trait]
impl Lease for PostgresStore {
    async fn acquire(&self, ctx: &Context, name: &str, owner: &str, ttl: Duration) -> Result<Option<Grant>> {
        const OPERATION: &str = "storage.acquire";
        check_name(OPERATION, "lease", name)?;
        check_name(OPERATION, "owner", owner)?;
        let (lease, held_by) = (Arc::from(name), Arc::from(owner));
        let (name, owner) = (name.to_owned(), owner.to_owned());
        let write = Write::Acquire { name, owner, expires: expiry(ctx, ttl) };
        let answer = self.writer.submit(ctx, OPERATION, write).await?;
        Ok((answer.status == Status::Done).then_some(Grant {
            fence: Fence { lease, token: answer.number() },
            owner: held_by,
            expires: answer.expires,
        }))
    }

    async fn renew(&self, ctx: &Context, grant: &Grant, ttl: Duration) -> Result<Grant> {
        const OPERATION: &str = "storage.renew";
        if !can_be(&grant.fence) {
            check_fence(OPERATION, &grant.fence, None)?;
        }
        let write = Write::Renew { fence: grant.fence.clone(), expires: expiry(ctx, ttl) };
        let answer = self.writer.submit(ctx, OPERATION, write).await?;
        if answer.status == Status::Done {
            return Ok(Grant { expires: answer.expires, ..grant.clone() });
        }
        check_fence(OPERATION, &grant.fence, newest(answer))?;
        Err(contradiction(OPERATION))
    }

    async fn release(&self, ctx: &Context, grant: &Grant) -> Result<()> {
        const OPERATION: &str = "storage.release";
        if can_be(&grant.fence) {
            self.writer.submit(ctx, OPERATION, Write::Release { fence: grant.fence.clone() }).await?;
        }
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.shut().await;
        Ok(())
    }
}

fn expiry(ctx: &Context, ttl: Duration) -> Expiry {
    Expiry { clock: Arc::clone(ctx.runtime().clock()), ttl }
}

/// Whether there can be such a lease; PostgreSQL takes no text with a NUL.
fn can_be(fence: &Fence) -> bool {
    check_name("storage.lease", "lease", &fence.lease).is_ok()
}

/// The newest token, where there is a lease.
fn newest(answer: Answer) -> Option<u64> {
    Some(answer.number()).filter(|token| *token > 0)
}

/// The error of a key that has another version than expected.
fn other_version(operation: &'static str, key: &str, expect: Expect, answer: Answer) -> Error {
    let found = Some(answer.number()).filter(|version| *version > 0);
    check_version(operation, key, expect, found).err().unwrap_or_else(|| contradiction(operation))
}

/// The database and this side judge one condition differently.
fn contradiction(operation: &'static str) -> Error {
    Error::new(ErrorKind::Internal, operation, "the database refused a write whose conditions hold")
}
