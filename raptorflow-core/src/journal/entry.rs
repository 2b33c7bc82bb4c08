//! `Entry`: the typed facts of a run, versioned.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::Error,
    types::{AgentId, Digest, Message, Money, Passage, Timestamp, ToolResult, Usage},
};

/// One fact and where and when it became one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the journal, from 0; known once it was appended.
    #[serde(skip)]
    pub sequence: u64,
    /// When it was appended.
    #[serde(rename = "t")]
    pub time: Timestamp,
    /// The place inside the run, steps joined with `/`; empty at its top.
    #[serde(rename = "p", default, skip_serializing_if = "str::is_empty")]
    pub path: Arc<str>,
    /// What happened.
    #[serde(flatten)]
    pub fact: Fact,
}

/// What can happen in a run.
///
/// Facts are stored: a change of one needs a new name or a default for what is new.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fact {
    /// The run began; always the first fact.
    ExecutionStarted {
        /// What runs: the name of an agent or of an orchestration.
        target: String,
        /// What it was given.
        input: Value,
        /// The digest of the definition, so that a changed one is noticed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        definition: Option<Digest>,
    },
    /// The run ended with an answer.
    ExecutionCompleted {
        /// The answer.
        output: Value,
    },
    /// The run ended with an error.
    ExecutionFailed {
        /// The error.
        error: Error,
    },
    /// Somebody cancelled the run.
    ExecutionCancelled,
    /// The run was taken up again after its process ended.
    ExecutionResumed,
    /// Work under a key ended; asked for again, the value is given instead of doing the work.
    StepCompleted {
        /// The value.
        value: Value,
    },
    /// Work under a key failed and will not be tried again.
    StepFailed {
        /// The error.
        error: Error,
    },
    /// An agent began.
    AgentStarted {
        /// Its name.
        agent: AgentId,
    },
    /// An agent ended.
    AgentCompleted {
        /// Its answer.
        output: Value,
    },
    /// Passages were given to an agent.
    ContextLoaded {
        /// What was searched for.
        query: String,
        /// What was found.
        passages: Vec<Passage>,
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
    },
    /// An answer did not fit its schema and the model is asked again.
    ValidationFailed {
        /// What did not fit.
        problems: Vec<String>,
    },
    /// A tool answered.
    ToolReturned {
        /// The result.
        result: ToolResult,
    },
    /// Something failed and is tried again.
    RetryTriggered {
        /// Which attempt failed, from 1.
        attempt: u32,
        /// Why.
        error: Error,
    },
    /// Somebody sent a signal.
    SignalReceived {
        /// Its name.
        name: String,
        /// Its value.
        value: Value,
    },
}
