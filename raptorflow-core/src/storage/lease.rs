//! `Lease`: time-bound ownership with a fencing token.

use std::{fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{error::Result, runtime::Context, storage::Fence, types::Timestamp};

/// Ownership that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What is owned, and the token that later grants exceed.
    pub fence: Fence,
    /// Who owns it.
    pub owner: Arc<str>,
    /// When it lapses unless renewed.
    pub expires: Timestamp,
}

/// Ownership of names of one tenant.
///
/// Time is the context's clock.
/// A lease that lapsed stays with its owner until somebody else asks: only a newer grant fences it off.
///
/// # Contract
/// - a free lease is granted; a second owner gets `None` until it lapses or is released.
/// - the same owner that acquires again gets a newer grant, and the old one is fenced off.
/// - tokens of one name grow with every grant, also over a release.
/// - a lapsed lease is granted to the next who asks.
/// - `renew` of the current grant moves its end; of a passed or released one it is `Conflict`.
/// - `release` of the current grant frees the name; of any other it changes nothing.
/// - `renew` of a lapsed grant that nobody was granted since moves its end.
/// - leases of one tenant are invisible to another.
/// - of concurrent owners exactly one is granted.
/// - names and owners are 1 to 1,024 bytes without NUL; others are `InvalidInput`.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use raptorflow_core::{runtime::{Context, Runtime}, storage::{Lease, MemoryStore}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let (store, ctx) = (MemoryStore::new(), Context::new(&Runtime::current()?));
/// let ttl = Duration::from_secs(5);
/// let Some(grant) = store.acquire(&ctx, "run/1", "worker-a", ttl).await? else { unreachable!() };
/// assert!(store.acquire(&ctx, "run/1", "worker-b", ttl).await?.is_none());
/// store.release(&ctx, &grant).await?;
/// assert!(store.acquire(&ctx, "run/1", "worker-b", ttl).await?.is_some());
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Lease: Debug + Send + Sync + 'static {
    /// Asks for a name; `None` while somebody else owns it.
    async fn acquire(&self, ctx: &Context, name: &str, owner: &str, ttl: Duration) -> Result<Option<Grant>>;

    /// Moves the end of a grant to `ttl` from now.
    async fn renew(&self, ctx: &Context, grant: &Grant, ttl: Duration) -> Result<Grant>;

    /// Gives the name back.
    async fn release(&self, ctx: &Context, grant: &Grant) -> Result<()>;

    /// Waits for queued writes and gives back what is held; a second call does nothing.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
