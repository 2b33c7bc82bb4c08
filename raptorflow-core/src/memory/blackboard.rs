//! `Blackboard`: notes that the agents of one run share, bounded and in one order.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result},
    journal::{Journal, Note},
    runtime::Context,
    types::AgentId,
};

/// The bounds of a blackboard.
///
/// ```
/// use raptorflow_core::memory::BlackboardConfig;
/// assert_eq!(BlackboardConfig::default().notes, 1_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlackboardConfig {
    /// How many notes a run has at most; 1,000 by default.
    pub notes: usize,
    /// How large a note's value is at most, in bytes of JSON; 64 KiB by default.
    pub bytes: usize,
}

impl Default for BlackboardConfig {
    fn default() -> Self {
        Self { notes: 1_000, bytes: 64 * 1024 }
    }
}

impl BlackboardConfig {
    /// Another number of notes.
    #[must_use]
    pub fn with_notes(mut self, notes: usize) -> Self {
        self.notes = notes;
        self
    }

    /// Another size of a note's value, in bytes of JSON.
    #[must_use]
    pub fn with_bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }
}

/// What is to be posted.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Post {
    /// What it is posted under: posted again, by a resumed run say, it is the note that stands.
    pub key: Arc<str>,
    /// What it is about.
    pub topic: Arc<str>,
    /// Who posts it.
    pub author: Option<AgentId>,
    /// Whom it is meant for.
    pub to: Option<AgentId>,
    /// What it says.
    pub value: Value,
}

impl Post {
    /// A value under a key, on a topic.
    pub fn new(key: impl Into<Arc<str>>, topic: impl Into<Arc<str>>, value: impl Into<Value>) -> Self {
        Self { key: key.into(), topic: topic.into(), author: None, to: None, value: value.into() }
    }

    /// Says who posts it.
    #[must_use]
    pub fn by(mut self, author: AgentId) -> Self {
        self.author = Some(author);
        self
    }

    /// Says whom it is meant for.
    #[must_use]
    pub fn for_agent(mut self, agent: AgentId) -> Self {
        self.to = Some(agent);
        self
    }
}

/// Which notes are wanted; all by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NoteFilter {
    /// About this.
    pub topic: Option<Arc<str>>,
    /// By this agent.
    pub author: Option<AgentId>,
    /// For this agent, or for everybody.
    pub reader: Option<AgentId>,
    /// After this place in the journal.
    pub after: Option<u64>,
}

impl NoteFilter {
    /// Whether a note is wanted.
    #[must_use]
    pub fn matches(&self, note: &Note) -> bool {
        self.topic.as_ref().is_none_or(|topic| *topic == note.topic)
            && self.author.as_ref().is_none_or(|author| note.author.as_ref() == Some(author))
            && self.reader.as_ref().is_none_or(|reader| note.to.as_ref().is_none_or(|to| to == reader))
            && self.after.is_none_or(|after| note.sequence > after)
    }
}

/// The notes of one run, which its agents share; cloning shares them.
///
/// Notes are facts of the run's journal: they have its order, and a resumed or forked run has those that were posted.
///
/// ```
/// use raptorflow_core::journal::{Fact, JournalConfig, Journals};
/// use raptorflow_core::memory::{Blackboard, NoteFilter, Post};
/// use raptorflow_core::{runtime::{Context, Runtime}, storage::Storage};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let runtime = Runtime::current()?;
/// let journals = Journals::new(Storage::memory(), runtime.clone(), JournalConfig::default());
/// let ctx = Context::new(&runtime);
/// let started =
///     Fact::ExecutionStarted { target: "team".into(), input: 2.into(), capability: None, background: None, user: None };
/// let journal = journals.create(&ctx, &[started]).await?;
/// let board = Blackboard::of(&journal);
/// board.post(&ctx, Post::new("price", "facts", "₹499")).await?;
/// board.post(&ctx, Post::new("price", "facts", "asked for again by a resume")).await?;
/// let notes = board.read(&NoteFilter { topic: Some("facts".into()), ..NoteFilter::default() });
/// assert_eq!((notes.len(), &notes[0].value), (1, &"₹499".into()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Blackboard {
    journal: Journal,
    config: BlackboardConfig,
}

impl Blackboard {
    /// The blackboard of a run.
    #[must_use]
    pub fn of(journal: &Journal) -> Self {
        Self { journal: journal.clone(), config: BlackboardConfig::default() }
    }

    /// The same notes within other bounds.
    #[must_use]
    pub fn with_config(mut self, config: BlackboardConfig) -> Self {
        self.config = config;
        self
    }

    /// Posts a note at the context's path; when its key has one already, that one stands and is given.
    ///
    /// # Errors
    /// `LimitExceeded` when the run has as many notes as it may have or the value is too large, and what
    /// [`Journal::append`] says.
    ///
    /// # Cancellation
    /// Dropping the future leaves the note or none.
    pub async fn post(&self, ctx: &Context, post: Post) -> Result<Note> {
        let Post { key, topic, author, to, value } = post;
        let size = value.to_string().len();
        if size > self.config.bytes {
            let message = "the value is larger than a note may be";
            return Err(Error::new(ErrorKind::LimitExceeded, "memory.post", message)
                .with("bytes", size)
                .with("most", self.config.bytes));
        }
        let note = Note { sequence: 0, key, topic, author, to, value };
        self.journal.post(ctx, note, self.config.notes).await
    }

    /// The notes that a filter lets through, oldest first.
    #[must_use]
    pub fn read(&self, filter: &NoteFilter) -> Vec<Note> {
        self.journal.notes().into_iter().filter(|note| filter.matches(note)).collect()
    }

    /// The note of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Note> {
        self.journal.note(key)
    }
}
