//! `Finish`: whether an answer is whole, or which bound ended it.

use serde::{Deserialize, Serialize};

/// A bound that ended a run early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Limit {
    /// Calls of the model.
    Steps,
    /// Calls of tools.
    ToolCalls,
    /// Tokens.
    Tokens,
    /// Money.
    Cost,
    /// The model's own longest answer.
    Length,
    /// The same call of a tool, again and again.
    RepeatedCalls,
    /// What a hook said.
    Hook,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// With a whole answer.
    #[default]
    Complete,
    /// At a bound, with what there was.
    Limited(Limit),
}

impl Finish {
    /// Whether the answer is whole.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self, Self::Complete)
    }
}
