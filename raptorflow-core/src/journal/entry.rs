//! `Entry`: the typed facts of a run, and their compact form in storage.

use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result},
    journal::Question,
    storage::Record,
    types::{
        AgentId, Finish, Message, Moment, Money, Part, Passage, RunId, Schema, Timestamp, ToolResult, Usage,
        Verdict,
    },
};

/// One fact and where and when it became one.
///
/// In storage it is `{"t": microseconds, "p": path, "f": {name: fields}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the journal, from 0; known once it was appended.
    #[serde(skip)]
    pub sequence: u64,
    /// When it was appended.
    #[serde(rename = "t", with = "micros")]
    pub time: Timestamp,
    /// The place inside the run, steps joined with `/`; empty at its top.
    #[serde(rename = "p", default, skip_serializing_if = "str::is_empty")]
    pub path: Arc<str>,
    /// What happened.
    #[serde(rename = "f")]
    pub fact: Fact,
}

/// What can happen in a run.
///
/// Facts are stored: a change of one needs a new name or a default for what is new.
/// A version that does not know a fact refuses the journal; a field that it does not know it skips.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fact {
    /// The run began; always the first fact.
    ExecutionStarted {
        /// What runs: the name of an agent or of an orchestration.
        target: String,
        /// The capability that is wanted; the target as a whole when `None`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        capability: Option<Arc<str>>,
        /// What it was told to be a part of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        background: Option<Arc<str>>,
        /// Who asked, where the host said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<Arc<str>>,
        /// What it was given.
        input: Value,
    },
    /// What the run was asked for besides its input; it follows the start of a run that was.
    FormRecorded {
        /// The agent as data, for one that nobody has registered; the run's target when `None`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<Value>,
        /// The form of the answer, in place of the agent's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schema: Option<Schema>,
        /// How often an answer that does not fit is sent back, in place of the agent's own number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repairs: Option<u32>,
        /// The pictures and files that came with the question.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        attachments: Vec<Part>,
        /// The conversation that the run belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thread: Option<Arc<str>>,
        /// What was said before the question.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        history: Vec<Message>,
    },
    /// The run ended with an answer.
    ExecutionCompleted {
        /// The answer.
        output: Value,
        /// Whether the answer is whole.
        #[serde(default, skip_serializing_if = "Finish::is_complete")]
        finish: Finish,
    },
    /// The run ended with an error; it can be resumed, and tries again what failed.
    ExecutionFailed {
        /// The error.
        error: Error,
    },
    /// Somebody cancelled the run.
    ExecutionCancelled,
    /// The run was taken up again, after its process ended or the run failed.
    ExecutionResumed,
    /// Somebody asked the run to begin nothing new; said from outside, see [`crate::journal::Journals::pause`].
    ExecutionPaused,
    /// Somebody let a paused run go on; said from outside.
    ExecutionContinued,
    /// Somebody asked the owner of the run to cancel it; said from outside.
    CancelRequested,
    /// The entries before this one are those of another run.
    ExecutionForked {
        /// The other run.
        from: RunId,
        /// How many of its entries were taken.
        at: u64,
    },
    /// What the steps of a workflow are, so that a later resume can tell whether they have changed.
    DefinitionRecorded {
        /// The digest of each step by its name, in the order of definition.
        steps: Arc<IndexMap<Arc<str>, Arc<str>>>,
    },
    /// A run of its own was begun as a part of this one.
    ChildStarted {
        /// The other run.
        run: RunId,
        /// What it runs.
        target: Arc<str>,
    },
    /// Somebody answered a question or said something to the run; said from outside.
    SignalReceived {
        /// What it answers: the path of a gate, or a name that the host and its code agreed on.
        name: Arc<str>,
        /// The answer.
        value: Value,
        /// Who said it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Arc<str>>,
    },
    /// The run asks people something, and waits for a signal under this path.
    QuestionAsked {
        /// What it asks.
        question: Question,
    },
    /// The run waits for a point in time.
    TimerSet {
        /// The point in time.
        due: Timestamp,
    },
    /// The point in time has come.
    TimerFired,
    /// Work under a key failed and is tried again.
    RetryTriggered {
        /// Which attempt failed, from 1.
        attempt: u32,
        /// Why.
        error: Error,
    },
    /// A workflow failed, and what its steps did is being taken back.
    RollbackStarted {
        /// Why it failed.
        error: Error,
        /// The paths of the steps that are taken back, in that order.
        steps: Vec<Arc<str>>,
    },
    /// Work under a key ended; asked for again, the value is given instead of doing the work.
    StepCompleted {
        /// The value.
        value: Value,
        /// How long it took, in microseconds.
        #[serde(default, rename = "us", skip_serializing_if = "Option::is_none")]
        took: Option<u64>,
    },
    /// Work under a key failed; it is tried again only when the run as a whole failed after it and is resumed.
    StepFailed {
        /// The error.
        error: Error,
    },
    /// Passages were given to an agent.
    ContextLoaded {
        /// What was searched for.
        query: String,
        /// What was found.
        passages: Vec<Passage>,
    },
    /// An agent was given what it remembers; a resumed run reads it here, and not in the memory again.
    MemoryRecalled {
        /// The ids of the memories.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        items: Vec<String>,
        /// What it was given, as messages before its question.
        messages: Vec<Message>,
    },
    /// What an agent was asked and answered is in its memory.
    MemoryKept {
        /// The ids of the memories.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        items: Vec<String>,
    },
    /// A model answered.
    ModelResponded {
        /// The model's name.
        model: String,
        /// Its answer.
        message: Message,
        /// What it took.
        usage: Usage,
        /// What it cost; `None` when no price is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost: Option<Money>,
        /// Whether it stopped at its length limit.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        truncated: bool,
    },
    /// An agent answered that the agent at this path asked as a tool; what it did lies below.
    AgentAnswered {
        /// The agent that was asked; the one at this path for a summary of its own conversation.
        agent: AgentId,
        /// The tokens that its calls took; each call stands at its own place too.
        #[serde(default)]
        usage: Usage,
        /// What its calls cost; `None` when there were none or a price is unknown.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost: Option<Money>,
    },
    /// The agent at this path had handed the conversation to another one, and this is the answer.
    HandoffAnswered {
        /// Who answered.
        agent: AgentId,
        /// The answer.
        output: Value,
        /// Whether the answer is whole.
        #[serde(default, skip_serializing_if = "Finish::is_complete")]
        finish: Finish,
        /// The tokens that the calls below took; each call stands at its own place too.
        #[serde(default)]
        usage: Usage,
        /// What they cost; `None` when there were none or a price is unknown.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost: Option<Money>,
        /// The passages that the answer rests on.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        passages: Vec<Passage>,
    },
    /// The agent at this path gave an answer again that it had given to the same input.
    ResultRecalled {
        /// The answer.
        output: Value,
        /// The passages that it rests on.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        passages: Vec<Passage>,
    },
    /// Something was written on the blackboard of the run.
    NotePosted {
        /// What it was posted under; a run has one note of a key.
        key: Arc<str>,
        /// What it is about.
        topic: Arc<str>,
        /// Who posted it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        author: Option<AgentId>,
        /// Whom it is meant for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<AgentId>,
        /// What it says.
        value: Value,
    },
    /// A tool answered.
    ToolReturned {
        /// The result.
        result: ToolResult,
    },
    /// The conversation of the agent at this path was made shorter before it filled the model's context window.
    ContextCompacted {
        /// How many messages at its end stayed, besides the instructions and the question.
        kept: usize,
        /// How many messages before them did not.
        dropped: usize,
        /// What stands in their place.
        message: Message,
        /// About how many tokens it took before.
        before: u64,
        /// About how many tokens it takes now.
        after: u64,
        /// Why the dropped messages were left out and not summed up, where a model should have done that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Error>,
    },
    /// Hooks are asked about the answer of the model or the tool that follows; it counts once they decided.
    HookAsked {
        /// After the model, or after a tool.
        moment: Moment,
    },
    /// Hooks decided about a moment; a resumed run goes by it and does not ask them again.
    ///
    /// What changes nothing is recorded for the moments after something alone.
    HookDecided {
        /// The moment.
        moment: Moment,
        /// The names of the hooks that said so; none when nothing changes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        hooks: Vec<String>,
        /// The call of a tool that it is about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<String>,
        /// What they said: a request, a message, arguments, a result or a handoff as JSON.
        verdict: Verdict<Value, Value>,
    },
}

impl Fact {
    /// Whether it is said to a run from outside, by whoever does not own it.
    #[must_use]
    pub const fn is_external(&self) -> bool {
        matches!(
            self,
            Self::ExecutionPaused
                | Self::ExecutionContinued
                | Self::CancelRequested
                | Self::SignalReceived { .. }
        )
    }

    /// Whether nothing can follow it: the run is complete or was cancelled.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::ExecutionCompleted { .. } | Self::ExecutionCancelled)
    }

    /// Whether a run stops with it; after a failure it can be resumed.
    #[must_use]
    pub const fn is_end(&self) -> bool {
        matches!(
            self,
            Self::ExecutionCompleted { .. } | Self::ExecutionFailed { .. } | Self::ExecutionCancelled
        )
    }
}

/// An entry by reference, so that writing it copies nothing.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "t", with = "micros")]
    time: Timestamp,
    #[serde(rename = "p", skip_serializing_if = "str::is_empty")]
    path: &'a str,
    #[serde(rename = "f")]
    fact: &'a Fact,
}

/// The stored form of a fact; `buffer` is scratch room.
pub(super) fn encode(time: Timestamp, path: &str, fact: &Fact, buffer: &mut Vec<u8>) -> Result<Bytes> {
    buffer.clear();
    serde_json::to_writer(&mut *buffer, &Line { time, path, fact }).map_err(|err| {
        Error::new(ErrorKind::InvalidInput, "journal.append", "the fact cannot be written as JSON")
            .with("path", path)
            .caused_by(err)
    })?;
    Ok(Bytes::copy_from_slice(buffer))
}

/// The entry of a stored record.
pub(super) fn decode(run: RunId, record: &Record) -> Result<Entry> {
    let mut entry: Entry = serde_json::from_slice(&record.data).map_err(|err| {
        Error::new(ErrorKind::Corrupt, "journal.read", "the entry is damaged or of a newer version")
            .with("run", run)
            .with("sequence", record.sequence)
            .caused_by(err)
    })?;
    entry.sequence = record.sequence;
    Ok(entry)
}

/// Times as integers: a third of the size of RFC 3339, and ten times quicker to write.
mod micros {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::types::Timestamp;

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(time.as_micros())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(Timestamp::from_micros)
    }
}
