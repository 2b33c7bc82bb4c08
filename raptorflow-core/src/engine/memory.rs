//! `EngineMemory`: what the host itself does with the memory of its agents.

use serde_json::{Value, json};

use crate::{
    agent::{Agent, Consolidator},
    engine::{Engine, Outcome},
    error::{Error, ErrorKind, Result},
    memory::{Conversation, Forget, Memories, MemoryItem, NewItem, Profile, Recall, Recalled, Said, Scope},
    runtime::Context,
    types::Message,
};

/// The name of the agent that makes facts of episodes, unless the host has one of this name.
const CONSOLIDATOR: &str = "consolidator";

/// The memory of an engine, for the engine's tenant; see [`Memory`](crate::memory::Memory) for what holds.
///
/// ```
/// use raptorflow_core::{Engine, memory::{MemoryConfig, NewItem, Scope}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let engine = Engine::builder().memory(MemoryConfig::new("words")).build().await?;
/// let (memory, asha) = (engine.memory()?, Scope::default().with_user("asha")?);
/// memory.append(&asha, vec![NewItem::fact("plan", "The basic plan.").trusted()]).await?;
/// assert_eq!(memory.export(&asha).await?[0].text, "The basic plan.");
/// assert_eq!(memory.erase(&asha).await?, 1);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Every call gives `InvalidInput` for what cannot be part of a scope, and what the memory and the storage say.
#[derive(Clone, Debug)]
pub struct EngineMemory {
    engine: Engine,
    memories: Memories,
    ctx: Context,
}

impl Engine {
    /// The memory of the engine's agents, for its tenant.
    ///
    /// # Errors
    /// `InvalidInput` when the engine was built without one.
    pub fn memory(&self) -> Result<EngineMemory> {
        let memories = self.means().memory.clone().ok_or_else(|| {
            let message = "the engine was built without a memory";
            Error::new(ErrorKind::InvalidInput, "engine.memory", message).with("field", "memory")
        })?;
        Ok(EngineMemory {
            engine: self.clone(),
            memories,
            ctx: self.context(self.runtime().ids().run(), None),
        })
    }
}

impl EngineMemory {
    /// Keeps items; an id that is there changes nothing.
    pub async fn append(&self, scope: &Scope, items: Vec<NewItem>) -> Result<Vec<MemoryItem>> {
        self.memories.items().append(&self.ctx, scope, items).await
    }

    /// What is wanted, best first.
    pub async fn recall(&self, scope: &Scope, recall: &Recall) -> Result<Vec<Recalled>> {
        self.memories.items().recall(&self.ctx, scope, recall).await
    }

    /// Removes items of a scope and says how many.
    pub async fn forget(&self, scope: &Scope, forget: &Forget) -> Result<usize> {
        self.memories.items().forget(&self.ctx, scope, forget).await
    }

    /// Every item of a scope, by id.
    pub async fn export(&self, scope: &Scope) -> Result<Vec<MemoryItem>> {
        self.memories.all(&self.ctx, scope).await
    }

    /// The facts about a subject, the newest first, those that were replaced too.
    pub async fn history(&self, scope: &Scope, subject: &str) -> Result<Vec<MemoryItem>> {
        self.memories.history(&self.ctx, scope, subject).await
    }

    /// Makes facts of episodes that were not read yet, 20 at most, as a run of a [`Consolidator`].
    pub async fn consolidate(&self, scope: &Scope) -> Result<Outcome> {
        scope.check()?;
        let consolidator = Agent::new(Consolidator::new(CONSOLIDATOR)?);
        self.engine.run(consolidator, json!({ "scope": scope })).await
    }

    /// A profile of a scope; `None` when nobody wrote it.
    pub async fn profile(&self, scope: &Scope, name: &str) -> Result<Option<Profile>> {
        self.memories.profiles().read(&self.ctx, scope, name).await
    }

    /// Writes a profile over the version that was read; see [`Profiles::write`](crate::memory::Profiles::write).
    pub async fn write_profile(
        &self,
        scope: &Scope,
        name: &str,
        document: Value,
        expected: Option<u64>,
    ) -> Result<Profile> {
        self.memories.profiles().write(&self.ctx, scope, name, document, expected).await
    }

    /// A profile in short; `None` when there is nothing to say.
    pub async fn profile_summary(&self, scope: &Scope, name: &str) -> Result<Option<String>> {
        self.memories.profiles().summary(&self.ctx, scope, name).await
    }

    /// Removes everything of a scope and of those that it covers, conversations included; see [`Memories::erase`].
    pub async fn erase(&self, scope: &Scope) -> Result<usize> {
        self.memories.erase(&self.ctx, scope).await
    }

    /// What was said in a thread of a user with an agent, as the scope says.
    pub async fn conversation(&self, scope: &Scope) -> Result<Conversation> {
        self.memories.conversations().read(&self.ctx, scope).await
    }

    /// Adds a message to a conversation, under an id that keeps it from being added twice.
    pub async fn say(&self, scope: &Scope, id: &str, message: Message, pinned: bool) -> Result<Conversation> {
        let said = Said { run: None, pinned, ..Said::new(&self.ctx, id, message) };
        self.memories.conversations().append(&self.ctx, scope, vec![said]).await
    }

    /// Pins a message of a conversation, or lets it go again, and says whether it was found.
    pub async fn pin(&self, scope: &Scope, id: &str, pinned: bool) -> Result<bool> {
        self.memories.conversations().pin(&self.ctx, scope, id, pinned).await
    }

    /// The parts, for calls under a context of the host's own.
    #[must_use]
    pub fn memories(&self) -> &Memories {
        &self.memories
    }
}
