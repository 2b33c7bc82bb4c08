//! `Log`: append records to a stream and read them from an offset.

use std::{fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::Context,
    types::TenantId,
};

/// Proof of ownership that an append is checked against; see [`crate::storage::Lease`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The name of the lease.
    pub lease: Arc<str>,
    /// The token of the grant.
    pub token: u64,
}

/// Records for one stream, written all or none.
#[derive(Clone, Debug)]
pub struct Append<'a> {
    /// The stream.
    pub stream: &'a str,
    /// How long the stream must be before, if that matters.
    pub expected: Option<u64>,
    /// Who must own it, if that matters.
    pub fence: Option<&'a Fence>,
    /// The records, in order.
    pub records: Vec<Bytes>,
}

impl<'a> Append<'a> {
    /// An append to a stream, without records and conditions yet.
    #[must_use]
    pub const fn to(stream: &'a str) -> Self {
        Self { stream, expected: None, fence: None, records: Vec::new() }
    }
}

/// One record of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the stream, from 0, without gaps.
    pub sequence: u64,
    /// Its bytes, exactly as appended.
    pub data: Bytes,
}

/// What [`Log::erase`] forgot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// How many keys.
    pub keys: u64,
    /// How many streams.
    pub streams: u64,
    /// How many leases, lapsed ones included.
    pub leases: u64,
}

/// Append-only streams of one tenant.
///
/// # Contract
/// - a stream that was never written has length 0 and no records.
/// - `append` returns the new length; sequences start at 0 and have no gaps.
/// - `append` is durable before it returns, where the store is durable.
/// - `append` with another expected length is `Conflict` and writes nothing.
/// - `append` under a fence that a newer grant has passed is `Conflict` and writes nothing.
/// - `append` under a fence that was released is `Conflict` and writes nothing.
/// - `append` under a lapsed fence that nobody was granted since is written.
/// - concurrent appends without an expected length all land, each batch together.
/// - an append whose future is dropped leaves all of its records or none.
/// - `read` yields records in order from an offset, at most `limit`.
/// - a damaged record is `Corrupt`, never served.
/// - `streams` yields names in byte order, after `after`, at most `limit`.
/// - `remove` of a stream forgets its records and says whether there were any; it starts again at 0.
/// - an append without records checks its conditions, changes nothing and makes no stream.
/// - streams of one tenant are invisible to another.
/// - `tenants` yields the names of those that have a key or a stream, in byte order, after `after`, at most `limit`.
/// - `erase` forgets every key, stream and lease of its tenant and of no other, and says how many.
/// - after `erase` an older fence is `Conflict`, and versions and tokens go on growing.
/// - a stream name is 1 to 1,024 bytes without NUL; another is `InvalidInput`.
///
/// # Examples
/// ```
/// use raptorflow_core::{runtime::{Context, Runtime}, storage::{Append, Log, MemoryStore}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let (store, ctx) = (MemoryStore::new(), Context::new(&Runtime::current()?));
/// let append = Append { expected: Some(0), records: vec!["first".into()], ..Append::to("notes") };
/// assert_eq!(store.append(&ctx, append.clone()).await?, 1);
/// assert!(store.append(&ctx, append).await.is_err(), "the stream is longer than expected");
/// assert_eq!(store.read(&ctx, "notes", 0, 10).await?[0].data, "first");
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Log: Debug + Send + Sync + 'static {
    /// Appends records and returns the new length.
    async fn append(&self, ctx: &Context, append: Append<'_>) -> Result<u64>;

    /// Records from `from` on, at most `limit`.
    async fn read(&self, ctx: &Context, stream: &str, from: u64, limit: usize) -> Result<Vec<Record>>;

    /// How many records a stream has.
    async fn length(&self, ctx: &Context, stream: &str) -> Result<u64>;

    /// Names of streams that start with `prefix`, after `after`, in byte order.
    async fn streams(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>>;

    /// Waits until a stream may be longer than `length`, or `patience` has passed; may return early.
    ///
    /// A store that is told of others' appends returns soon after one; the default is to wait for all of `patience`.
    async fn grown(&self, ctx: &Context, stream: &str, length: u64, patience: Duration) -> Result<()> {
        let _ = (stream, length);
        ctx.runtime().clock().sleep(patience).await;
        Ok(())
    }

    /// Forgets a stream and says whether it existed.
    async fn remove(&self, ctx: &Context, stream: &str) -> Result<bool>;

    /// Names of tenants with a key or a stream in this store, after `after`, in byte order; whoever asks.
    ///
    /// # Errors
    /// `Unsupported` by default, for a log that stands in front of another and is not asked.
    async fn tenants(&self, ctx: &Context, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantId>> {
        let _ = (ctx, after, limit);
        Err(unsupported("storage.tenants", "the store does not list its tenants"))
    }

    /// Forgets every key, stream and lease that this store has of the context's tenant, all at once.
    ///
    /// Their bytes are gone too, where the store can see to it: a file holds them no longer when this returns.
    /// What stays is the name of the tenant with the newest version and the newest token, so that none is given twice.
    ///
    /// # Errors
    /// `Unsupported` by default, for a log that stands in front of another and is not asked.
    async fn erase(&self, ctx: &Context) -> Result<Erased> {
        let _ = ctx;
        Err(unsupported("storage.erase", "the store does not erase a tenant"))
    }

    /// Waits for queued writes and gives back what is held; a second call does nothing.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

fn unsupported(operation: &'static str, message: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, operation, message)
}
