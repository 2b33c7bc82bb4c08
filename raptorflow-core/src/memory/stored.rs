//! `StorageMemory`: memories in a `Storage`, with bounds.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    memory::{
        Forget, Memory, MemoryItem, NewItem, Recall, Recalled, Relevance, Scope, policy, relevance::Bases,
    },
    runtime::Context,
    security::{Placeholders, Redactor},
    storage::{Expect, Scan, Storage, Versioned},
};

/// How many keys are read at once.
const PAGE: usize = 256;

/// How much a memory keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MemoryBounds {
    /// How many items a scope has, at least 1; 1,000 by default.
    ///
    /// Above that an append removes what was replaced, then what has faded most; pinned items stay.
    /// Processes that append at the same moment may leave a few more, until the next append.
    pub items: usize,
    /// The longest text in bytes; 16,384 by default.
    pub text_bytes: usize,
}

impl Default for MemoryBounds {
    fn default() -> Self {
        Self { items: 1_000, text_bytes: 16_384 }
    }
}

/// Memories as keys of a store; cloning shares them.
///
/// Several processes may use it over one store.
/// A recall reads all items of its scope, so that its cost grows with [`MemoryBounds::items`].
///
/// ```
/// use raptorflow_core::memory::{Memory, MemoryBounds, NewItem, Recall, Relevance, Scope, StorageMemory};
/// use raptorflow_core::{rag::HashingEmbedder, runtime::{Context, Runtime}, storage::Storage};
/// use raptorflow_core::security::PatternRedactor;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let relevance = Relevance::by(HashingEmbedder::default());
/// let memory = StorageMemory::new(Storage::memory(), relevance, MemoryBounds::default())
///     .with_redactor(PatternRedactor);
/// let (ctx, scope) = (Context::new(&Runtime::current()?), Scope::default());
/// memory.append(&ctx, &scope, vec![NewItem::note("Write to asha@example.com about plans.")]).await?;
/// let found = memory.recall(&ctx, &scope, &Recall::text("plans")).await?;
/// assert_eq!(found[0].item.text, "Write to [EMAIL_1] about plans.");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct StorageMemory(Arc<Inner>);

struct Inner {
    storage: Storage,
    relevance: Relevance,
    bounds: MemoryBounds,
    redactor: Option<Arc<dyn Redactor>>,
    bases: Bases,
}

impl StorageMemory {
    /// A memory in a store, with a way to compare items with texts.
    #[must_use]
    pub fn new(storage: Storage, relevance: Relevance, bounds: MemoryBounds) -> Self {
        Self(Arc::new(Inner { storage, relevance, bounds, redactor: None, bases: Bases::default() }))
    }

    /// Keeps placeholders such as `[EMAIL_1]` in place of the personal data that is found in texts; values stay as they
    /// are.
    #[must_use]
    pub fn with_redactor(self, redactor: impl Redactor) -> Self {
        let Inner { storage, relevance, bounds, .. } = &*self.0;
        let (storage, relevance, bounds) = (storage.clone(), relevance.clone(), *bounds);
        let redactor: Option<Arc<dyn Redactor>> = Some(Arc::new(redactor));
        Self(Arc::new(Inner { storage, relevance, bounds, redactor, bases: Bases::default() }))
    }

    /// The store.
    #[must_use]
    pub fn storage(&self) -> &Storage {
        &self.0.storage
    }

    fn place(&self) -> (&Storage, &Relevance) {
        (&self.0.storage, &self.0.relevance)
    }

    /// All items of a scope with the versions that they have in the store, by id.
    async fn load(&self, ctx: &Context, scope: &Scope) -> Result<(Vec<MemoryItem>, Vec<u64>)> {
        let prefix = items_prefix(scope);
        let (mut items, mut versions, mut after) = (Vec::new(), Vec::new(), None::<String>);
        loop {
            let scan = Scan { prefix: &prefix, after: after.as_deref(), limit: PAGE };
            let page = self.0.storage.scan(ctx, scan).await?;
            let full = page.len() == PAGE;
            for (key, stored) in &page {
                items.push(decode(key, stored)?);
                versions.push(stored.version);
            }
            after = page.into_iter().next_back().map(|(key, _)| key);
            if !full {
                return Ok((items, versions));
            }
        }
    }

    /// Keeps an item, unless its id is there already.
    async fn keep(&self, ctx: &Context, scope: &Scope, item: MemoryItem) -> Result<MemoryItem> {
        let key = item_key(scope, &item.id);
        match self.0.storage.put_json(ctx, &key, &item, Expect::Absent).await {
            Ok(_) => Ok(item),
            Err(err) if err.kind() == ErrorKind::Conflict => match self.0.storage.get(ctx, &key).await? {
                Some(stored) => decode(&key, &stored),
                // It was forgotten in between, and whoever appends may do so again.
                None => Err(err),
            },
            Err(err) => Err(err),
        }
    }

    /// Removes what is above the bound.
    async fn shrink(&self, ctx: &Context, scope: &Scope) -> Result<()> {
        let (items, _) = self.load(ctx, scope).await?;
        let going = policy::surplus(&items, self.0.bounds.items, ctx.now());
        self.remove(ctx, scope, &going).await?;
        Ok(())
    }

    async fn remove(&self, ctx: &Context, scope: &Scope, items: &[&MemoryItem]) -> Result<usize> {
        // The index first: while there is the item, whoever forgets it again finds both.
        let ids: Vec<&str> = items.iter().map(|item| item.id.as_str()).collect();
        self.0.bases.forget(ctx, self.place(), scope, &ids).await?;
        let keys: Vec<String> = ids.iter().map(|id| item_key(scope, id)).collect();
        let removals = keys.iter().map(|key| self.0.storage.delete(ctx, key, Expect::Any));
        Ok(try_join_all(removals).await?.into_iter().filter(|existed| *existed).count())
    }

    /// Notes that items were recalled just now.
    async fn refresh(
        &self,
        ctx: &Context,
        scope: &Scope,
        found: &[Recalled],
        versions: &[(String, u64)],
    ) -> Result<()> {
        let now = ctx.now();
        let refreshed = found.iter().filter_map(|recalled| {
            let version =
                versions.iter().find(|(id, _)| *id == recalled.item.id).map(|(_, version)| *version)?;
            let mut item = recalled.item.clone();
            item.accessed = item.accessed.max(now);
            item.accesses = item.accesses.saturating_add(1);
            Some((item, version))
        });
        let writes = refreshed.map(|(item, version)| async move {
            let key = item_key(scope, &item.id);
            match self.0.storage.put_json(ctx, &key, &item, Expect::Version(version)).await {
                // It was recalled or forgotten by somebody else in between, and either is newer than this.
                Err(err) if err.kind() == ErrorKind::Conflict => Ok(()),
                other => other.map(drop),
            }
        });
        try_join_all(writes).await.map(drop)
    }

    fn redacted(&self, mut item: NewItem) -> NewItem {
        if let Some(redactor) = &self.0.redactor
            && let Some(hidden) = Placeholders::new().hide(redactor.as_ref(), &item.text)
        {
            item.text = hidden;
        }
        item
    }

    /// Refuses items for which pinned ones leave no room.
    async fn check_room(&self, ctx: &Context, scope: &Scope, new: &[MemoryItem]) -> Result<()> {
        let pinned: Vec<&MemoryItem> = new.iter().filter(|item| item.pinned).collect();
        if pinned.is_empty() {
            return Ok(());
        }
        let (items, _) = self.load(ctx, scope).await?;
        let added = pinned.iter().filter(|item| !items.iter().any(|kept| kept.id == item.id)).count();
        let held = items.iter().filter(|item| item.pinned).count();
        if held.saturating_add(added) <= self.0.bounds.items {
            return Ok(());
        }
        let message = "the scope has no room for more pinned memories";
        Err(Error::new(ErrorKind::LimitExceeded, "memory.append", message)
            .with("pinned", held)
            .with("limit", self.0.bounds.items))
    }
}

#[async_trait]
impl Memory for StorageMemory {
    async fn append(&self, ctx: &Context, scope: &Scope, items: Vec<NewItem>) -> Result<Vec<MemoryItem>> {
        scope.check()?;
        let max_text = self.0.bounds.text_bytes;
        let items = items.into_iter().map(|item| self.redacted(item).into_item(ctx, max_text));
        let items: Vec<MemoryItem> = items.collect::<Result<_>>()?;
        self.check_room(ctx, scope, &items).await?;
        let mut kept = Vec::with_capacity(items.len());
        // One after another: of two with one id the first is kept.
        for item in items {
            kept.push(self.keep(ctx, scope, item).await?);
        }
        self.shrink(ctx, scope).await?;
        Ok(kept)
    }

    async fn recall(&self, ctx: &Context, scope: &Scope, recall: &Recall) -> Result<Vec<Recalled>> {
        scope.check()?;
        let (all, versions) = self.load(ctx, scope).await?;
        let replaced = policy::replaced(&all);
        let wanted: Vec<&MemoryItem> = all
            .iter()
            .zip(replaced)
            .filter(|(item, replaced)| (recall.history || !replaced) && recall.allows(item))
            .map(|(item, _)| item)
            .collect();
        let relevance = match &recall.text {
            None => vec![Some(1.0); wanted.len()],
            Some(text) => self.0.bases.rank(ctx, self.place(), scope, (&wanted, &all), text).await?,
        };
        let wanted = wanted.into_iter().cloned().collect();
        let found = policy::select(wanted, &relevance, recall, ctx.now());
        if recall.refresh {
            let versions: Vec<(String, u64)> =
                all.into_iter().zip(versions).map(|(item, version)| (item.id, version)).collect();
            self.refresh(ctx, scope, &found, &versions).await?;
        }
        Ok(found)
    }

    async fn list(
        &self,
        ctx: &Context,
        scope: &Scope,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<MemoryItem>> {
        scope.check()?;
        let after = after.map(|id| item_key(scope, id));
        let scan = Scan { prefix: &items_prefix(scope), after: after.as_deref(), limit };
        let page = self.0.storage.scan(ctx, scan).await?;
        page.iter().map(|(key, stored)| decode(key, stored)).collect()
    }

    async fn forget(&self, ctx: &Context, scope: &Scope, forget: &Forget) -> Result<usize> {
        scope.check()?;
        forget.check()?;
        let (items, _) = self.load(ctx, scope).await?;
        let going: Vec<&MemoryItem> = items.iter().filter(|item| forget.names(item)).collect();
        self.remove(ctx, scope, &going).await
    }

    async fn erase(&self, ctx: &Context, scope: &Scope) -> Result<usize> {
        scope.check()?;
        let (prefix, mut after, mut erased) = (scope.wide_prefix(), None::<String>, 0);
        let mut last: Option<Scope> = None;
        loop {
            let scan = Scan { prefix: &prefix, after: after.as_deref(), limit: PAGE };
            let page = self.0.storage.scan(ctx, scan).await?;
            for (key, _) in &page {
                let Some((of, rest)) = Scope::of_key(key).filter(|(of, _)| scope.covers(of)) else {
                    continue;
                };
                // The index first: while there are items, an erase that was dropped finds it again.
                if last.as_ref() != Some(&of) {
                    self.0.bases.erase(ctx, &self.0.storage, &of).await?;
                    last = Some(of);
                }
                self.0.storage.delete(ctx, key, Expect::Any).await?;
                erased += usize::from(rest.starts_with(ITEM));
            }
            let full = page.len() == PAGE;
            after = page.into_iter().next_back().map(|(key, _)| key);
            if !full {
                return Ok(erased);
            }
        }
    }
}

/// The place of items below the keys of a scope.
const ITEM: &str = "item/";

fn items_prefix(scope: &Scope) -> String {
    format!("{}{ITEM}", scope.prefix())
}

fn item_key(scope: &Scope, id: &str) -> String {
    format!("{}{ITEM}{id}", scope.prefix())
}

fn decode(key: &str, stored: &Versioned) -> Result<MemoryItem> {
    serde_json::from_slice(&stored.value).map_err(|err| {
        Error::new(ErrorKind::Corrupt, "memory.read", "a stored memory is damaged or of a newer version")
            .with("key", key)
            .caused_by(err)
    })
}

impl fmt::Debug for StorageMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageMemory").field("bounds", &self.0.bounds).finish_non_exhaustive()
    }
}
