//! `Memories`: what an engine remembers with, and its settings as data.

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    error::Result,
    memory::{
        Conversations, Memory, MemoryBounds, MemoryItem, MemoryKind, ProfileForm, Profiles, Relevance, Scope,
        StorageMemory, Window,
    },
    rag::EmbedderRegistry,
    runtime::Context,
    security::PatternRedactor,
    storage::{Expect, Scan, Storage},
    types::Timestamp,
};

/// The name that stands for words alone in place of an embedder.
const WORDS: &str = "words";
/// How many keys are read at once.
const PAGE: usize = 256;

/// The memory of an engine as data.
///
/// ```
/// use raptorflow_core::memory::MemoryConfig;
/// use serde_json::json;
/// let config: MemoryConfig =
///     serde_json::from_value(json!({ "relevance": "words", "window": { "keep": 6 } })).unwrap();
/// assert_eq!((config.bounds.items, config.window.keep), (1_000, 6));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MemoryConfig {
    /// How items are compared with a question: `words`, or the name of an embedder such as
    /// `openai:text-embedding-3-small`.
    ///
    /// There is no default, because an embedder may send texts away.
    pub relevance: String,
    /// How much is kept in a scope.
    #[serde(default)]
    pub bounds: MemoryBounds,
    /// How long a conversation may become.
    #[serde(default)]
    pub window: Window,
    /// Whether personal data in items is kept as placeholders such as `[EMAIL_1]`; false by default.
    #[serde(default)]
    pub redact: bool,
    /// The model that summarizes conversations, by name; that of the agent when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Arc<str>>,
    /// What profiles there are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<ProfileForm>,
}

impl MemoryConfig {
    /// A memory that compares items with questions in this way, `words` or the name of an embedder.
    pub fn new(relevance: impl Into<String>) -> Self {
        Self {
            relevance: relevance.into(),
            bounds: MemoryBounds::default(),
            window: Window::default(),
            redact: false,
            model: None,
            profiles: Vec::new(),
        }
    }
}

/// What agents remember with: items, and the conversations of threads; cloning shares them.
///
/// ```
/// use raptorflow_core::memory::{Memories, MemoryConfig, NewItem, Scope};
/// use raptorflow_core::{rag::EmbedderRegistry, runtime::{Context, Runtime}, storage::Storage};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let ctx = Context::new(&Runtime::current()?);
/// let config = MemoryConfig::new("words");
/// let memories = Memories::open(&ctx, Storage::memory(), &config, &EmbedderRegistry::default()).await?;
/// let asha = Scope::default().with_user("asha")?;
/// memories.items().append(&ctx, &asha, vec![NewItem::note("Likes mangoes.")]).await?;
/// assert_eq!(memories.erase(&ctx, &asha).await?, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Memories {
    items: Arc<dyn Memory>,
    conversations: Conversations,
    profiles: Profiles,
    storage: Storage,
    model: Option<Arc<str>>,
}

impl Memories {
    /// A memory of the host's own for items, and conversations in a store.
    ///
    /// # Errors
    /// As [`Window::check`].
    pub fn new(items: impl Memory, storage: Storage, window: Window) -> Result<Self> {
        let conversations = Conversations::new(storage.clone(), window)?;
        let profiles = Profiles::new(storage.clone(), [])?;
        Ok(Self { items: Arc::new(items), conversations, profiles, storage, model: None })
    }

    /// With profiles of these forms.
    ///
    /// # Errors
    /// As [`Profiles::new`].
    pub fn with_profiles(self, forms: impl IntoIterator<Item = ProfileForm>) -> Result<Self> {
        Ok(Self { profiles: Profiles::new(self.storage.clone(), forms)?, ..self })
    }

    /// What settings say, over a store.
    ///
    /// # Errors
    /// `InvalidInput` for bounds that contradict each other, and what [`EmbedderRegistry::open`] and [`Profiles::new`]
    /// say.
    pub async fn open(
        ctx: &Context,
        storage: Storage,
        config: &MemoryConfig,
        embedders: &EmbedderRegistry,
    ) -> Result<Self> {
        let relevance = match config.relevance.as_str() {
            WORDS => Relevance::Words,
            name => Relevance::Embedder(embedders.open(ctx, name).await?),
        };
        let items = StorageMemory::new(storage.clone(), relevance, config.bounds);
        let items = if config.redact { items.with_redactor(PatternRedactor) } else { items };
        let memories = Self { model: config.model.clone(), ..Self::new(items, storage, config.window)? };
        memories.with_profiles(config.profiles.iter().cloned())
    }

    /// The items.
    #[must_use]
    pub fn items(&self) -> &Arc<dyn Memory> {
        &self.items
    }

    /// The conversations.
    #[must_use]
    pub fn conversations(&self) -> &Conversations {
        &self.conversations
    }

    /// The profiles.
    #[must_use]
    pub fn profiles(&self) -> &Profiles {
        &self.profiles
    }

    /// The model that summarizes conversations; that of the agent when `None`.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Removes everything of a scope and of every scope that it covers, and says how many items there were.
    ///
    /// Journals of runs hold what these runs recalled; they go with
    /// [`Retention`](crate::journal::Retention) or with their tenant.
    ///
    /// # Errors
    /// What the memory and the storage say.
    ///
    /// # Cancellation
    /// Dropping the future may leave a part; erasing again removes it.
    pub async fn erase(&self, ctx: &Context, scope: &Scope) -> Result<usize> {
        let erased = self.items.erase(ctx, scope).await?;
        let (prefix, mut after) = (scope.wide_prefix(), None::<String>);
        loop {
            let scan = Scan { prefix: &prefix, after: after.as_deref(), limit: PAGE };
            let page = self.storage.scan(ctx, scan).await?;
            let full = page.len() == PAGE;
            for (key, _) in &page {
                if Scope::of_key(key).is_some_and(|(of, _)| scope.covers(&of)) {
                    self.storage.delete(ctx, key, Expect::Any).await?;
                }
            }
            after = page.into_iter().next_back().map(|(key, _)| key);
            if !full {
                return Ok(erased);
            }
        }
    }

    /// The facts about a subject, the newest first, those that were replaced too.
    ///
    /// # Errors
    /// What the memory says.
    pub async fn history(&self, ctx: &Context, scope: &Scope, subject: &str) -> Result<Vec<MemoryItem>> {
        let mut facts = self.all(ctx, scope).await?;
        facts.retain(|item| item.kind == MemoryKind::Fact && item.subject.as_deref() == Some(subject));
        facts.sort_by(|left, right| age(right).cmp(&age(left)));
        Ok(facts)
    }

    /// Every item of a scope, by id.
    ///
    /// # Errors
    /// What the memory says.
    pub async fn all(&self, ctx: &Context, scope: &Scope) -> Result<Vec<MemoryItem>> {
        let mut items: Vec<MemoryItem> = Vec::new();
        loop {
            let after = items.last().map(|item| item.id.clone());
            let page = self.items.list(ctx, scope, after.as_deref(), PAGE).await?;
            let full = page.len() == PAGE;
            items.extend(page);
            if !full {
                return Ok(items);
            }
        }
    }

    /// The oldest episodes of which no facts were made yet, and the subjects of facts that are known.
    pub(crate) async fn unconsolidated(
        &self,
        ctx: &Context,
        scope: &Scope,
        limit: usize,
    ) -> Result<(Vec<MemoryItem>, Vec<Arc<str>>)> {
        let done = self.storage.get_json::<Mark>(ctx, &mark_key(scope)).await?.map(|(mark, _)| mark);
        let items = self.all(ctx, scope).await?;
        let facts = items.iter().filter(|item| item.kind == MemoryKind::Fact);
        let subjects: BTreeSet<Arc<str>> = facts.filter_map(|fact| fact.subject.clone()).collect();
        let mut episodes: Vec<MemoryItem> = items
            .into_iter()
            .filter(|item| item.kind == MemoryKind::Episode)
            .filter(|item| done.as_ref().is_none_or(|done| age(item) > (done.created, &*done.id)))
            .collect();
        episodes.sort_by(|left, right| age(left).cmp(&age(right)));
        episodes.truncate(limit);
        Ok((episodes, subjects.into_iter().collect()))
    }

    /// Notes the last episode of which facts were made.
    pub(crate) async fn set_consolidated(
        &self,
        ctx: &Context,
        scope: &Scope,
        last: &MemoryItem,
    ) -> Result<()> {
        let key = mark_key(scope);
        let stored = self.storage.get_json::<Mark>(ctx, &key).await?.map(|(mark, _)| mark);
        if stored.is_none_or(|mark| (mark.created, &*mark.id) < age(last)) {
            let mark = Mark { created: last.created, id: last.id.clone() };
            self.storage.put_json(ctx, &key, &mark, Expect::Any).await?;
        }
        Ok(())
    }
}

/// Up to which episode facts were made.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    created: Timestamp,
    id: String,
}

fn age(item: &MemoryItem) -> (Timestamp, &str) {
    (item.created, &item.id)
}

fn mark_key(scope: &Scope) -> String {
    format!("{}consolidated", scope.prefix())
}
