//! `KeyValue`: get, put, delete, ordered scan and compare-and-swap, and what a store can do.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{error::Result, runtime::Context};

/// What a store really offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capability {
    /// Acknowledged writes survive the end of the process.
    pub durable: bool,
    /// Several processes may open it at once.
    pub shared: bool,
}

impl Capability {
    /// A record of both abilities.
    #[must_use]
    pub const fn new(durable: bool, shared: bool) -> Self {
        Self { durable, shared }
    }
}

/// A value and the version that [`Expect::Version`] compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The bytes.
    pub value: Bytes,
    /// Grows with every put of the key; never 0.
    pub version: u64,
}

/// What must be true of a key for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing: write in any case.
    Any,
    /// The key does not exist.
    Absent,
    /// The key has this version.
    Version(u64),
}

/// Which keys to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan<'a> {
    /// Only keys that start with this.
    pub prefix: &'a str,
    /// Only keys after this one, in byte order.
    pub after: Option<&'a str>,
    /// At most this many.
    pub limit: usize,
}

/// Keys and values of one tenant.
///
/// # Contract
/// - `get` of a missing key is `None`.
/// - `put` then `get` gives the value and the version that `put` returned.
/// - a value is any bytes, none included.
/// - versions of one key grow, also over a delete.
/// - `put` with `Absent` on an existing key is `Conflict` and changes nothing.
/// - `put` with `Version` on another version is `Conflict` and changes nothing.
/// - of concurrent puts with one expected version exactly one succeeds.
/// - `delete` says whether the key existed; of a missing key it succeeds.
/// - `delete` with an expectation that does not hold is `Conflict` and changes nothing.
/// - `scan` yields keys in byte order, after `after`, at most `limit`.
/// - `scan` takes its prefix literally.
/// - a read sees every write that returned before it began.
/// - keys of one tenant are invisible to another.
/// - a key is 1 to 1,024 bytes without NUL; another is `InvalidInput`.
///
/// # Cancellation
/// A dropped `put` or `delete` has happened or has not.
///
/// # Examples
/// ```
/// use raptorflow_core::{runtime::{Context, Runtime}, storage::{Expect, KeyValue, MemoryStore}};
/// use raptorflow_core::ErrorKind;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let (store, ctx) = (MemoryStore::new(), Context::new(&Runtime::current()?));
/// let first = store.put(&ctx, "plan", "draft".into(), Expect::Absent).await?;
/// store.put(&ctx, "plan", "final".into(), Expect::Version(first)).await?;
/// let late = store.put(&ctx, "plan", "late".into(), Expect::Version(first)).await;
/// assert_eq!(late.unwrap_err().kind(), ErrorKind::Conflict);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait KeyValue: Debug + Send + Sync + 'static {
    /// What this store really offers.
    fn capability(&self) -> Capability;

    /// The value of a key.
    async fn get(&self, ctx: &Context, key: &str) -> Result<Option<Versioned>>;

    /// Writes a value and returns its version.
    async fn put(&self, ctx: &Context, key: &str, value: Bytes, expect: Expect) -> Result<u64>;

    /// Removes a key and says whether it existed.
    async fn delete(&self, ctx: &Context, key: &str, expect: Expect) -> Result<bool>;

    /// Keys in byte order with their values.
    async fn scan(&self, ctx: &Context, scan: Scan<'_>) -> Result<Vec<(String, Versioned)>>;

    /// Waits for queued writes and gives back what is held; a second call does nothing.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
