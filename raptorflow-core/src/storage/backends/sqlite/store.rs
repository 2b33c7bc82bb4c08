//! `SqliteStore`: answers the three traits with the writer and the readers.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

use super::{config::SqliteConfig, open, read, readers::Readers, write::Tables, writer::Writer};
use crate::{
    error::Result,
    runtime::{Context, Runtime},
    storage::{
        Append, Capability, Erased, Expect, Fence, Grant, KeyValue, Lease, Log, Record, Scan, Versioned,
        check_name,
    },
    types::TenantId,
};

/// What a record costs beside its data, when it is asked whether a write is small.
const PER_RECORD: usize = 256;

/// Keys, streams and leases in one SQLite file; cloning shares it.
///
/// Several processes may open the file at once, and any SQL tool can read it.
/// One thread writes and commits together what is queued, so that many callers share one flush of the disk.
/// Where a commit waits for no disk, small writes of many callers are committed together by one of these callers.
///
/// # Cancellation
/// Dropping the future of a write before its turn leaves nothing of it; after that all of it is committed, seen by
/// nobody. Dropping the last clone ends the thread once the queue is empty.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use raptorflow_core::{runtime::{Context, Runtime}, storage::{Expect, SqliteConfig, SqliteStore, Storage}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let folder = tempfile::tempdir().unwrap();
/// let config = SqliteConfig::new(folder.path().join("team.db"));
/// let runtime = Runtime::current()?;
/// let storage = Storage::from_store(Arc::new(SqliteStore::open(&runtime, config).await?));
/// assert!(storage.capability().durable);
/// storage.put(&Context::new(&runtime), "plan", "draft", Expect::Absent).await?;
/// storage.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SqliteStore {
    path: Arc<Path>,
    writer: Writer,
    readers: Arc<Readers>,
}

impl SqliteStore {
    /// Opens a file, or makes it; an empty file without a write-ahead log is a new one.
    ///
    /// # Errors
    /// `InvalidInput` for settings that cannot work, a folder, or the database of another program; `NotFound` when
    /// the folder is missing; `PermissionDenied` when file or folder is read-only; `Corrupt` when the file is no
    /// database, damaged, or of a newer format; `Unavailable` when another process holds it too long.
    pub async fn open(runtime: &Runtime, config: SqliteConfig) -> Result<Self> {
        config.check()?;
        let opening = runtime.tasks().spawn_blocking(move || {
            let writer = Writer::start(open::writer(&config)?, &config)?;
            Ok(Self {
                path: Arc::from(config.path.as_path()),
                writer,
                readers: Arc::new(Readers::new(config)),
            })
        });
        opening.await?
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[cfg(test)]
    pub(super) fn writer(&self) -> &Writer {
        &self.writer
    }

    pub(super) async fn shut(&self) -> Result<()> {
        self.readers.close().await;
        self.writer.close().await
    }
}

#[async_trait]
impl KeyValue for SqliteStore {
    fn capability(&self) -> Capability {
        Capability::new(true, true)
    }

    async fn get(&self, ctx: &Context, key: &str) -> Result<Option<Versioned>> {
        const OPERATION: &str = "storage.get";
        check_name(OPERATION, "key", key)?;
        let (tenant, key) = (ctx.tenant().clone(), key.to_owned());
        self.readers.run(ctx, OPERATION, move |conn| read::get(conn, &tenant, &key)).await
    }

    async fn put(&self, ctx: &Context, key: &str, value: Bytes, expect: Expect) -> Result<u64> {
        const OPERATION: &str = "storage.put";
        check_name(OPERATION, "key", key)?;
        let (tenant, key, bytes) = (ctx.tenant().clone(), key.to_owned(), value.len());
        self.writer.share(OPERATION, bytes, move |tables| tables.put(&tenant, &key, &value, expect)).await
    }

    async fn delete(&self, ctx: &Context, key: &str, expect: Expect) -> Result<bool> {
        const OPERATION: &str = "storage.delete";
        check_name(OPERATION, "key", key)?;
        let (tenant, key) = (ctx.tenant().clone(), key.to_owned());
        self.writer.share(OPERATION, 0, move |tables| tables.delete(&tenant, &key, expect)).await
    }

    async fn scan(&self, ctx: &Context, scan: Scan<'_>) -> Result<Vec<(String, Versioned)>> {
        let (tenant, limit) = (ctx.tenant().clone(), scan.limit);
        let (prefix, after) = (scan.prefix.to_owned(), scan.after.map(str::to_owned));
        let work = move |conn: &_| {
            read::scan(conn, &tenant, Scan { prefix: &prefix, after: after.as_deref(), limit })
        };
        self.readers.run(ctx, "storage.scan", work).await
    }

    async fn close(&self) -> Result<()> {
        self.shut().await
    }
}

#[async_trait]
impl Log for SqliteStore {
    async fn append(&self, ctx: &Context, append: Append<'_>) -> Result<u64> {
        const OPERATION: &str = "storage.append";
        check_name(OPERATION, "stream", append.stream)?;
        let Append { stream, expected, fence, records } = append;
        let bytes = records.iter().map(|record| record.len() + PER_RECORD).sum();
        let (tenant, stream, fence) = (ctx.tenant().clone(), stream.to_owned(), fence.cloned());
        let work = move |tables: &mut Tables<'_>| {
            tables.append(&tenant, &stream, expected, fence.as_ref(), &records)
        };
        self.writer.share(OPERATION, bytes, work).await
    }

    async fn read(&self, ctx: &Context, stream: &str, from: u64, limit: usize) -> Result<Vec<Record>> {
        const OPERATION: &str = "storage.read";
        check_name(OPERATION, "stream", stream)?;
        let (tenant, stream) = (ctx.tenant().clone(), stream.to_owned());
        self.readers.run(ctx, OPERATION, move |conn| read::read(conn, &tenant, &stream, from, limit)).await
    }

    async fn length(&self, ctx: &Context, stream: &str) -> Result<u64> {
        const OPERATION: &str = "storage.length";
        check_name(OPERATION, "stream", stream)?;
        let (tenant, stream) = (ctx.tenant().clone(), stream.to_owned());
        self.readers.run(ctx, OPERATION, move |conn| read::length(conn, &tenant, &stream)).await
    }

    async fn streams(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>> {
        let tenant = ctx.tenant().clone();
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        let work = move |conn: &_| read::streams(conn, &tenant, &prefix, after.as_deref(), limit);
        self.readers.run(ctx, "storage.streams", work).await
    }

    async fn remove(&self, ctx: &Context, stream: &str) -> Result<bool> {
        const OPERATION: &str = "storage.remove";
        check_name(OPERATION, "stream", stream)?;
        let (tenant, stream) = (ctx.tenant().clone(), stream.to_owned());
        self.writer.submit(OPERATION, move |tables| tables.remove(&tenant, &stream)).await
    }

    async fn tenants(&self, ctx: &Context, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantId>> {
        let after = after.cloned();
        let work = move |conn: &_| read::tenants(conn, after.as_ref(), limit);
        self.readers.run(ctx, "storage.tenants", work).await
    }

    async fn erase(&self, ctx: &Context) -> Result<Erased> {
        const OPERATION: &str = "storage.erase";
        let tenant = ctx.tenant().clone();
        let erased = self.writer.submit(OPERATION, move |tables| tables.erase(&tenant)).await?;
        self.writer.scrub(OPERATION).await?;
        Ok(erased)
    }

    async fn close(&self) -> Result<()> {
        self.shut().await
    }
}

#[async_trait]
impl Lease for SqliteStore {
    async fn acquire(&self, ctx: &Context, name: &str, owner: &str, ttl: Duration) -> Result<Option<Grant>> {
        const OPERATION: &str = "storage.acquire";
        check_name(OPERATION, "lease", name)?;
        check_name(OPERATION, "owner", owner)?;
        let (tenant, clock) = (ctx.tenant().clone(), Arc::clone(ctx.runtime().clock()));
        let (name, owner) = (Arc::<str>::from(name), Arc::<str>::from(owner));
        let work = move |tables: &mut Tables<'_>| {
            // Read when it is this write's turn: it may have waited.
            let now = clock.now();
            let expires = now.plus(ttl);
            let token = tables.acquire(&tenant, &name, &owner, now, expires)?;
            Ok(token.map(|token| Grant { fence: Fence { lease: name, token }, owner, expires }))
        };
        self.writer.share(OPERATION, 0, work).await
    }

    async fn renew(&self, ctx: &Context, grant: &Grant, ttl: Duration) -> Result<Grant> {
        let (tenant, clock) = (ctx.tenant().clone(), Arc::clone(ctx.runtime().clock()));
        let grant = grant.clone();
        let work = move |tables: &mut Tables<'_>| {
            let expires = clock.now().plus(ttl);
            tables.renew(&tenant, &grant.fence, expires)?;
            Ok(Grant { expires, ..grant })
        };
        self.writer.share("storage.renew", 0, work).await
    }

    async fn release(&self, ctx: &Context, grant: &Grant) -> Result<()> {
        let (tenant, fence) = (ctx.tenant().clone(), grant.fence.clone());
        self.writer.share("storage.release", 0, move |tables| tables.release(&tenant, &fence)).await
    }

    async fn close(&self) -> Result<()> {
        self.shut().await
    }
}
