//! `CallToApprove` and `ApprovalAnswer`: a call of a tool that waits for a person, and what the person said.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::types::{AgentId, Digest, RunId};

/// What the last part of the path of such a question begins with; a digest of the call's key follows.
const PREFIX: &str = "tool-approval-";
/// How many digits of that digest.
const DIGITS: usize = 16;

/// A call of a tool that waits for approval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallToApprove {
    /// The agent or the workflow that wants it.
    pub agent: AgentId,
    /// The tool.
    pub tool: Arc<str>,
    /// Exactly what the tool is called with.
    pub arguments: Value,
    /// The digest of the run, the place in it, the agent, the tool and the arguments; an approval names it.
    pub digest: Digest,
}

impl CallToApprove {
    /// A call with its digest.
    #[must_use]
    pub fn new(run: RunId, path: &str, agent: AgentId, tool: Arc<str>, arguments: Value) -> Self {
        let digest = Digest::of_all([&*run.to_string(), path, agent.as_str(), &tool, &arguments.to_string()]);
        Self { agent, tool, arguments, digest }
    }

    /// The last part of the path at which a call with a key is asked about.
    pub(crate) fn name(key: &str) -> String {
        let digest = Digest::of(key).to_string();
        format!("{PREFIX}{}", digest.get(..DIGITS).unwrap_or(&digest))
    }

    /// Whether a path is that of a question about a call.
    pub(crate) fn is_path(path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or_default();
        name.strip_prefix(PREFIX)
            .is_some_and(|rest| rest.len() == DIGITS && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
    }
}

/// What a person said about a call; the value of the signal under the question's path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalAnswer {
    /// Whether the call may be carried out.
    pub approved: bool,
    /// The digest of what was looked at.
    pub digest: Digest,
    /// Why not, for the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl ApprovalAnswer {
    /// The answer in a signal, if it is one.
    pub(crate) fn read(value: &Value) -> Option<Self> {
        Self::deserialize(value).ok()
    }
}
