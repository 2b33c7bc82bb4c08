//! `Memory`: append, recall, list, forget and erase, within a tenant and a scope.

use std::fmt::Debug;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    memory::{MemoryItem, MemoryKind, NewItem, Recall, Recalled, Scope},
    runtime::Context,
    types::{RunId, Timestamp},
};

/// Which memories are forgotten: those for which everything holds that is said.
///
/// ```
/// use raptorflow_core::memory::Forget;
/// assert!(Forget::ids(["1", "2"]).check().is_ok());
/// assert!(Forget::default().check().is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Forget {
    /// Of one of these ids.
    pub ids: Vec<String>,
    /// Of one of these kinds.
    pub kinds: Vec<MemoryKind>,
    /// With all of these tags.
    pub tags: Vec<String>,
    /// From this run.
    pub run: Option<RunId>,
    /// Kept before this time.
    pub until: Option<Timestamp>,
}

impl Forget {
    /// These memories.
    pub fn ids<I: Into<String>>(ids: impl IntoIterator<Item = I>) -> Self {
        Self { ids: ids.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// What came from a run.
    #[must_use]
    pub fn of_run(run: RunId) -> Self {
        Self { run: Some(run), ..Self::default() }
    }

    /// What has this tag.
    pub fn tagged(tag: impl Into<String>) -> Self {
        Self { tags: vec![tag.into()], ..Self::default() }
    }

    /// What was kept before a time.
    #[must_use]
    pub fn before(until: Timestamp) -> Self {
        Self { until: Some(until), ..Self::default() }
    }

    /// Refuses to forget without saying what: that is what erasing is for.
    ///
    /// # Errors
    /// `InvalidInput` when nothing is said.
    pub fn check(&self) -> Result<()> {
        if *self == Self::default() {
            let message = "nothing says what to forget; erase forgets all of a scope";
            return Err(Error::new(ErrorKind::InvalidInput, "memory.forget", message).with("field", "ids"));
        }
        Ok(())
    }

    /// Whether an item is one of them.
    #[must_use]
    pub fn names(&self, item: &MemoryItem) -> bool {
        (self.ids.is_empty() || self.ids.contains(&item.id))
            && (self.kinds.is_empty() || self.kinds.contains(&item.kind))
            && self.tags.iter().all(|tag| item.tags.contains(tag))
            && self.run.is_none_or(|run| item.provenance.run == Some(run))
            && self.until.is_none_or(|until| item.created < until)
    }
}

/// Memories of the context's tenant, in scopes.
///
/// # Contract
/// - `append` gives the items as they are kept, in order.
/// - `append` of an id that is there changes nothing and gives what is there.
/// - `append` keeps nothing when one item cannot be kept.
/// - `recall` without a text gives the freshest first.
/// - `recall` with a text gives what bears on it, by relevance and freshness.
/// - `recall` gives only what its kinds, tags, times and trust allow.
/// - `recall` stays within its limit and its tokens.
/// - what is recalled is fresh again, unless the recall says otherwise.
/// - of several items of one kind and subject only the newest is recalled, unless the recall wants history.
/// - a pinned item is recalled whatever the text, and does not fade.
/// - above its bound a scope loses what was replaced, then what has faded most; pinned items stay.
/// - `list` gives items by id in byte order, after an id, up to a limit.
/// - `forget` removes what it names and says how many.
/// - `erase` removes its scope and every scope that it covers, and says how many items.
/// - items of one scope, and of one tenant, are invisible in another.
///
/// # Cancellation
/// A dropped `append`, `forget` or `erase` has done some of its items or all; done again it does the rest, for `append`
/// when the items have ids.
/// Dropping a `recall` at most leaves some items unrefreshed.
///
/// # Examples
/// ```
/// use raptorflow_core::memory::{Memory, MemoryBounds, NewItem, Recall, Relevance, Scope, StorageMemory};
/// use raptorflow_core::{runtime::{Context, Runtime}, storage::Storage};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let memory = StorageMemory::new(Storage::memory(), Relevance::Words, MemoryBounds::default());
/// let (ctx, asha) = (Context::new(&Runtime::current()?), Scope::default().with_user("asha")?);
/// let items = vec![NewItem::fact("plan", "She is on the basic plan."), NewItem::note("She likes mangoes.")];
/// memory.append(&ctx, &asha, items).await?;
/// memory.append(&ctx, &asha, vec![NewItem::fact("plan", "She moved to the team plan.")]).await?;
///
/// let found = memory.recall(&ctx, &asha, &Recall::text("Which plan is she on?")).await?;
/// assert_eq!(found.len(), 1);
/// assert_eq!(found[0].item.text, "She moved to the team plan.");
/// assert_eq!(memory.erase(&ctx, &asha).await?, 3);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Memory: Debug + Send + Sync + 'static {
    /// Keeps items.
    async fn append(&self, ctx: &Context, scope: &Scope, items: Vec<NewItem>) -> Result<Vec<MemoryItem>>;

    /// What is wanted, best first.
    async fn recall(&self, ctx: &Context, scope: &Scope, recall: &Recall) -> Result<Vec<Recalled>>;

    /// Everything in a scope, page by page; what an export is made of.
    async fn list(
        &self,
        ctx: &Context,
        scope: &Scope,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<MemoryItem>>;

    /// Removes items of a scope and says how many.
    async fn forget(&self, ctx: &Context, scope: &Scope, forget: &Forget) -> Result<usize>;

    /// Removes a scope and every scope that it covers, and says how many items there were.
    async fn erase(&self, ctx: &Context, scope: &Scope) -> Result<usize>;
}
