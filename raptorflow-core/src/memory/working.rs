//! `Conversations`: what was said in a thread, within a window, and the summary of what no longer is in it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    memory::{Scope, Window},
    runtime::Context,
    storage::{Expect, Storage},
    types::{Message, Part, Role, RunId, Timestamp},
};

/// How many ids of messages are known after the messages are gone, so that none comes in twice.
const KNOWN: usize = 200;
/// How often a write is tried again when somebody else was quicker.
const ATTEMPTS: usize = 16;

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// Its id: a message of an id that is known is not taken again.
    pub id: String,
    /// The message.
    pub message: Message,
    /// Whether it stays word by word.
    #[serde(default)]
    pub pinned: bool,
    /// The run in which it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// When it was said.
    pub time: Timestamp,
}

impl Said {
    /// A message of an id, said now.
    pub fn new(ctx: &Context, id: impl Into<String>, message: Message) -> Self {
        Self { id: id.into(), message, pinned: false, run: Some(ctx.run_id()), time: ctx.now() }
    }

    /// Stays word by word when the conversation is summarized.
    #[must_use]
    pub fn pinned(mut self) -> Self {
        self.pinned = true;
        self
    }
}

/// What was said in a thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conversation {
    /// What came before the messages, in short; written by a model, so it is not trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The messages, oldest first.
    pub said: Vec<Said>,
    /// Ids of messages that were taken, the newest last.
    known: VecDeque<String>,
}

/// Conversations in a store, one a scope; cloning shares them.
///
/// A conversation is one value that is written with compare and set, so that what several processes say all lands, and
/// a summary and what it stands for change places at once.
///
/// ```
/// use raptorflow_core::memory::{Conversations, Said, Scope, Window};
/// use raptorflow_core::{runtime::{Context, Runtime}, storage::Storage, types::Message};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let conversations = Conversations::new(Storage::memory(), Window::default())?;
/// let (ctx, scope) = (Context::new(&Runtime::current()?), Scope::default().with_thread("support-1")?);
/// let hello = Said::new(&ctx, "1", Message::user("Hello"));
/// conversations.append(&ctx, &scope, vec![hello.clone()]).await?;
/// let conversation = conversations.append(&ctx, &scope, vec![hello]).await?;
/// assert_eq!(conversation.said.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Conversations {
    storage: Storage,
    window: Window,
}

impl Conversations {
    /// Conversations of a store.
    ///
    /// # Errors
    /// As [`Window::check`].
    pub fn new(storage: Storage, window: Window) -> Result<Self> {
        window.check()?;
        Ok(Self { storage, window })
    }

    /// How long they may become.
    #[must_use]
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// What was said; an empty conversation when nothing was.
    ///
    /// # Errors
    /// `Corrupt` for a damaged conversation, and what the storage says.
    pub async fn read(&self, ctx: &Context, scope: &Scope) -> Result<Conversation> {
        Ok(self.load(ctx, scope).await?.0)
    }

    /// Takes messages, except those of ids that were taken before, and gives the conversation as it is then.
    ///
    /// # Errors
    /// `InvalidInput` for a message of the system, which is not said but set; `LimitExceeded` when pinned messages would
    /// leave no room for others; what [`Conversations::read`] says.
    ///
    /// # Cancellation
    /// Dropping the future leaves all of the messages or none.
    pub async fn append(&self, ctx: &Context, scope: &Scope, said: Vec<Said>) -> Result<Conversation> {
        if said.iter().any(|said| said.message.role == Role::System) {
            let message = "instructions are no part of a conversation";
            return Err(
                Error::new(ErrorKind::InvalidInput, "memory.append", message).with("field", "message.role")
            );
        }
        self.change(ctx, scope, |conversation| {
            for said in &said {
                if !conversation.known.contains(&said.id) {
                    conversation.known.push_back(said.id.clone());
                    conversation.said.push(self.bounded(said.clone()));
                }
            }
            let pinned = conversation.said.iter().filter(|said| said.pinned).count();
            let room = self.window.messages.saturating_sub(self.window.keep);
            if pinned > room {
                let message = "the conversation has no room for more pinned messages";
                return Err(Error::new(ErrorKind::LimitExceeded, "memory.append", message)
                    .with("pinned", pinned)
                    .with("limit", room));
            }
            self.window.trim(&mut conversation.said);
            let over = conversation.known.len().saturating_sub(KNOWN);
            conversation.known.drain(..over);
            Ok(())
        })
        .await
    }

    /// Puts a summary in the place of messages; of several who summarize the same ones the first counts.
    ///
    /// # Errors
    /// What [`Conversations::read`] says.
    ///
    /// # Cancellation
    /// Dropping the future leaves the summary or the messages.
    pub async fn summarize(
        &self,
        ctx: &Context,
        scope: &Scope,
        ids: &[String],
        summary: &str,
    ) -> Result<Conversation> {
        self.change(ctx, scope, |conversation| {
            if ids.iter().all(|id| conversation.said.iter().any(|said| said.id == *id)) {
                conversation.said.retain(|said| !ids.contains(&said.id));
                conversation.summary = Some(self.window.shortened(summary.trim()));
            }
            Ok(())
        })
        .await
    }

    /// Pins a message, or lets it go again, and says whether it is in the window.
    ///
    /// # Errors
    /// What [`Conversations::read`] says.
    pub async fn pin(&self, ctx: &Context, scope: &Scope, id: &str, pinned: bool) -> Result<bool> {
        let mut found = false;
        self.change(ctx, scope, |conversation| {
            let said = conversation.said.iter_mut().find(|said| said.id == id);
            found = said.is_some();
            if let Some(said) = said {
                said.pinned = pinned;
            }
            Ok(())
        })
        .await?;
        Ok(found)
    }

    /// Forgets a conversation and says whether there was one.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn erase(&self, ctx: &Context, scope: &Scope) -> Result<bool> {
        scope.check()?;
        self.storage.delete(ctx, &key(scope), Expect::Any).await
    }

    async fn load(&self, ctx: &Context, scope: &Scope) -> Result<(Conversation, Expect)> {
        scope.check()?;
        let stored = self.storage.get_json(ctx, &key(scope)).await?;
        Ok(stored.map_or_else(
            || (Conversation::default(), Expect::Absent),
            |(conversation, version)| (conversation, Expect::Version(version)),
        ))
    }

    /// Changes a conversation; `change` is asked again when somebody else changed it in between.
    async fn change(
        &self,
        ctx: &Context,
        scope: &Scope,
        mut change: impl FnMut(&mut Conversation) -> Result<()> + Send,
    ) -> Result<Conversation> {
        let key = key(scope);
        let mut attempt = 1;
        loop {
            let (before, expect) = self.load(ctx, scope).await?;
            let mut after = before.clone();
            change(&mut after)?;
            if after == before {
                return Ok(after);
            }
            match self.storage.put_json(ctx, &key, &after, expect).await {
                Ok(_) => return Ok(after),
                Err(err) if err.kind() == ErrorKind::Conflict && attempt < ATTEMPTS => attempt += 1,
                Err(err) => return Err(err),
            }
        }
    }

    fn bounded(&self, mut said: Said) -> Said {
        for part in &mut said.message.parts {
            if let Part::Text { text } = part {
                *text = self.window.shortened(text);
            }
        }
        said
    }
}

fn key(scope: &Scope) -> String {
    format!("{}conversation", scope.prefix())
}
