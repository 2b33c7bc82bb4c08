//! `Storage`: the handle that everybody holds.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::{Context, Runtime},
    storage::{
        Append, Capability, Expect, Fence, Grant, KeyValue, Lease, Log, MemoryStore, Record, Scan,
        StorageRegistry, Versioned,
    },
    types::TenantId,
};

/// Keys, streams and leases of one store; cloning shares it.
///
/// What a call touches belongs to the tenant of its [`Context`].
/// The methods forward to [`KeyValue`], [`Log`] and [`Lease`], where their contracts are.
///
/// # Errors
/// Every call gives `Unavailable` when the store cannot be reached, and `InvalidInput` for a key or name that is not
/// 1 to 1,024 bytes without NUL; `Conflict` and `Corrupt` are where the contracts of the traits say so.
///
/// # Cancellation
/// A call does not watch the token or the deadline of its context: a cancelled run must still be able to record
/// its end.
/// Dropping the future of a writing call leaves all of its effect or nothing.
///
/// # Examples
/// ```
/// use raptorflow_core::{
///     runtime::{Context, Runtime},
///     storage::{Append, Expect, Storage},
/// };
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let storage = Storage::open("memory:").await?;
/// let ctx = Context::new(&Runtime::current()?);
///
/// let version = storage.put_json(&ctx, "plan/1", &["draft", "review"], Expect::Absent).await?;
/// let (steps, found) = storage.get_json::<Vec<String>>(&ctx, "plan/1").await?.unwrap_or_default();
/// assert_eq!((steps.len(), found), (2, version));
///
/// let mut append = Append::to("notes");
/// append.records = vec!["first".into(), "second".into()];
/// assert_eq!(storage.append(&ctx, append).await?, 2);
/// assert_eq!(storage.read(&ctx, "notes", 1, 10).await?[0].data, "second");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Storage(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    key_value: Arc<dyn KeyValue>,
    log: Arc<dyn Log>,
    lease: Arc<dyn Lease>,
    /// The same store, when it is the one in memory: what every run goes through is then done without a box.
    memory: Option<MemoryStore>,
}

impl Storage {
    /// A new store in memory; it ends with the last clone of the handle.
    #[must_use]
    pub fn memory() -> Self {
        let store = Arc::new(MemoryStore::new());
        let memory = Some(MemoryStore::clone(&store));
        Self(Arc::new(Parts {
            key_value: Arc::clone(&store) as _,
            log: Arc::clone(&store) as _,
            lease: store,
            memory,
        }))
    }

    /// Opens `memory:`, `sqlite:PATH`, `sqlite:PATH?durability=buffered` or `postgres://USER@HOST/DATABASE?schema=NAME`,
    /// on the Tokio runtime of the caller.
    ///
    /// # Errors
    /// `Unavailable` outside of a Tokio runtime; else as [`StorageRegistry::open`].
    pub async fn open(uri: &str) -> Result<Self> {
        StorageRegistry::default().open(&Runtime::current()?, uri).await
    }

    /// A handle over one backend that is all three.
    #[must_use]
    pub fn from_store<S: KeyValue + Log + Lease>(store: Arc<S>) -> Self {
        Self::from_parts(Arc::clone(&store) as _, Arc::clone(&store) as _, store)
    }

    /// A handle over three backends.
    ///
    /// A [`crate::storage::Fence`] is checked by the log, so `log` and `lease` must share the leases they know.
    /// Tenants are listed by the log, so it must know those of `key_value`.
    #[must_use]
    pub fn from_parts(key_value: Arc<dyn KeyValue>, log: Arc<dyn Log>, lease: Arc<dyn Lease>) -> Self {
        Self(Arc::new(Parts { key_value, log, lease, memory: None }))
    }

    /// The keys.
    #[must_use]
    pub fn key_value(&self) -> &Arc<dyn KeyValue> {
        &self.0.key_value
    }

    /// The streams.
    #[must_use]
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.0.log
    }

    /// The leases.
    #[must_use]
    pub fn lease(&self) -> &Arc<dyn Lease> {
        &self.0.lease
    }

    /// What the store really offers.
    #[must_use]
    pub fn capability(&self) -> Capability {
        self.0.key_value.capability()
    }

    /// Waits for queued writes and gives files and connections back; may be called twice.
    ///
    /// Dropping the last handle does the same without waiting; no acknowledged write needs it.
    ///
    /// # Errors
    /// `Unavailable` when the last flush fails.
    pub async fn close(&self) -> Result<()> {
        self.0.key_value.close().await?;
        self.0.log.close().await?;
        self.0.lease.close().await
    }

    /// See [`KeyValue::get`].
    pub async fn get(&self, ctx: &Context, key: &str) -> Result<Option<Versioned>> {
        self.0.key_value.get(ctx, key).await
    }

    /// See [`KeyValue::put`].
    pub async fn put(
        &self,
        ctx: &Context,
        key: &str,
        value: impl Into<Bytes> + Send,
        expect: Expect,
    ) -> Result<u64> {
        self.0.key_value.put(ctx, key, value.into(), expect).await
    }

    /// Reads a value that [`Storage::put_json`] wrote, and its version.
    ///
    /// # Errors
    /// `Corrupt` when the value is not a `T`; else as [`KeyValue::get`].
    pub async fn get_json<T: DeserializeOwned>(&self, ctx: &Context, key: &str) -> Result<Option<(T, u64)>> {
        let Some(found) = self.get(ctx, key).await? else { return Ok(None) };
        let value = serde_json::from_slice(&found.value).map_err(|err| {
            Error::new(ErrorKind::Corrupt, "storage.get", "the stored value does not have the expected form")
                .with("key", key)
                .caused_by(err)
        })?;
        Ok(Some((value, found.version)))
    }

    /// Writes a value as JSON and returns its version.
    ///
    /// # Errors
    /// `InvalidInput` when the value cannot be JSON; else as [`KeyValue::put`].
    pub async fn put_json<T: Serialize + Sync + ?Sized>(
        &self,
        ctx: &Context,
        key: &str,
        value: &T,
        expect: Expect,
    ) -> Result<u64> {
        let json = serde_json::to_vec(value).map_err(|err| {
            Error::new(ErrorKind::InvalidInput, "storage.put", "the value cannot be written as JSON")
                .with("key", key)
                .caused_by(err)
        })?;
        self.put(ctx, key, json, expect).await
    }

    /// See [`KeyValue::delete`].
    pub async fn delete(&self, ctx: &Context, key: &str, expect: Expect) -> Result<bool> {
        self.0.key_value.delete(ctx, key, expect).await
    }

    /// See [`KeyValue::scan`].
    pub async fn scan(&self, ctx: &Context, scan: Scan<'_>) -> Result<Vec<(String, Versioned)>> {
        self.0.key_value.scan(ctx, scan).await
    }

    /// See [`Log::append`].
    pub async fn append(&self, ctx: &Context, append: Append<'_>) -> Result<u64> {
        match &self.0.memory {
            Some(memory) => memory.append_now(ctx, append),
            None => self.0.log.append(ctx, append).await,
        }
    }

    /// Appends one record to the stream that has the name of its owner's lease.
    pub(crate) async fn append_owned(&self, ctx: &Context, fence: &Fence, record: Bytes) -> Result<u64> {
        if let Some(memory) = &self.0.memory {
            return memory.append_owned_now(ctx, fence, record);
        }
        let append = Append { fence: Some(fence), records: vec![record], ..Append::to(&fence.lease) };
        self.0.log.append(ctx, append).await
    }

    /// Appends one record when the store is one that never waits; `None` when it is not, and then nothing is written.
    pub(crate) fn append_at_once(
        &self,
        ctx: &Context,
        stream: &str,
        expected: u64,
        record: Bytes,
    ) -> Option<Result<u64>> {
        let memory = self.0.memory.as_ref()?;
        Some(memory.append_one_now(ctx, stream, expected, record))
    }

    /// See [`Log::read`].
    pub async fn read(&self, ctx: &Context, stream: &str, from: u64, limit: usize) -> Result<Vec<Record>> {
        self.0.log.read(ctx, stream, from, limit).await
    }

    /// See [`Log::length`].
    pub async fn length(&self, ctx: &Context, stream: &str) -> Result<u64> {
        self.0.log.length(ctx, stream).await
    }

    /// See [`Log::streams`].
    pub async fn streams(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>> {
        self.0.log.streams(ctx, prefix, after, limit).await
    }

    /// See [`Log::grown`].
    pub async fn grown(&self, ctx: &Context, stream: &str, length: u64, patience: Duration) -> Result<()> {
        self.0.log.grown(ctx, stream, length, patience).await
    }

    /// See [`Log::remove`].
    pub async fn remove(&self, ctx: &Context, stream: &str) -> Result<bool> {
        self.0.log.remove(ctx, stream).await
    }

    /// See [`Log::tenants`].
    pub async fn tenants(
        &self,
        ctx: &Context,
        after: Option<&TenantId>,
        limit: usize,
    ) -> Result<Vec<TenantId>> {
        self.0.log.tenants(ctx, after, limit).await
    }

    /// See [`Lease::acquire`].
    pub async fn acquire(
        &self,
        ctx: &Context,
        name: &str,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<Grant>> {
        match &self.0.memory {
            Some(memory) => memory.acquire_now(ctx, name, owner, ttl),
            None => self.0.lease.acquire(ctx, name, owner, ttl).await,
        }
    }

    /// See [`Lease::renew`].
    pub async fn renew(&self, ctx: &Context, grant: &Grant, ttl: Duration) -> Result<Grant> {
        self.0.lease.renew(ctx, grant, ttl).await
    }

    /// See [`Lease::release`].
    pub async fn release(&self, ctx: &Context, grant: &Grant) -> Result<()> {
        match &self.0.memory {
            Some(memory) => {
                memory.release_now(ctx, grant);
                Ok(())
            }
            None => self.0.lease.release(ctx, grant).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_value_of_another_form_is_corrupt_and_names_its_key() {
        let storage = Storage::memory();
        let ctx = Context::new(&Runtime::current().unwrap());
        storage.put_json(&ctx, "plan", &[1, 2], Expect::Any).await.unwrap();
        assert_eq!(storage.get_json::<Vec<u8>>(&ctx, "plan").await.unwrap(), Some((vec![1, 2], 1)));
        assert_eq!(storage.get_json::<Vec<u8>>(&ctx, "none").await.unwrap(), None);
        let err = storage.get_json::<String>(&ctx, "plan").await.unwrap_err();
        assert_eq!((err.kind(), err.get("key")), (ErrorKind::Corrupt, Some("plan")));
    }
}
