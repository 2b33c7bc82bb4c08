//! `Decision`: what a pattern came to, and the record of how.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result},
    workflow::{Aggregated, Role},
};

/// Why a pattern stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stopped {
    /// Everybody had their turn.
    Complete,
    /// Enough had answered; the others were stopped.
    Enough,
    /// The sides agreed.
    Consensus,
    /// The judge decided.
    Judged,
    /// The rounds were used up.
    Rounds,
    /// It passed.
    Approved,
    /// It was rejected.
    Rejected,
    /// A person has to look at it.
    Escalated,
    /// Too few gave anything to go on.
    TooFew,
    /// The tokens were used up.
    Tokens,
}

/// What a verification says of an answer; from the mildest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// It passes.
    Approve,
    /// It passes, and something is said of it.
    ApproveWithNotes,
    /// It has to be written again.
    RequestRevision,
    /// A person has to look at it: a verifier said so, or one that is required said nothing that counts.
    Escalate,
    /// It cannot be mended.
    Reject,
}

/// One thing that a member was asked and said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Turn {
    /// The round, from 1.
    pub round: u32,
    /// Who spoke, by label.
    pub agent: String,
    /// The part that it plays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// What the turn was for, such as `opening`, `draft` or `review`.
    pub phase: String,
    /// Everything that it said.
    pub said: Value,
    /// What it stands for: the part of what it said that votes are counted by.
    pub position: Value,
    /// How sure it is, where it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// The score that it gave, where it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// The verdict that it gave, where it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

/// Somebody who was asked and did not answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Absent {
    /// The round, from 1.
    pub round: u32,
    /// Who, by label.
    pub agent: String,
    /// What the turn was for.
    pub phase: String,
    /// Why; `None` for one who was stopped because enough had answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

/// What was wrong with an answer that was taken all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Problem {
    /// It says nothing; it counts as no answer.
    Empty,
    /// Its confidence is no number from 0 to 1, and does not count.
    Confidence,
    /// Its score is no number from 0 to 1, and does not count.
    Score,
    /// It gives no verdict that is known where one was asked for; it counts as none.
    Verdict,
    /// It ended at a bound of the agent.
    Limited,
}

/// An answer that had something wrong with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Irregular {
    /// The round, from 1.
    pub round: u32,
    /// Whose answer, by label.
    pub agent: String,
    /// What was wrong.
    pub problem: Problem,
}

/// What a pattern came to, and the record of how: the output of a pattern.
///
/// ```
/// use raptorflow_core::{Engine, agent::{AgentSpec, FunctionAgent}, workflow::{Decision, Stopped, debate}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let engine = Engine::builder().build().await?;
/// for name in ["pro", "con"] {
///     engine.register(FunctionAgent::new(AgentSpec::new(name)?, |_ctx, _input| async move {
///         Ok("Position: ship it on Monday".into())
///     }))?;
/// }
/// let outcome = engine.run(debate(["pro", "con"]).rounds(3), "When do we ship?").await?;
/// let decision = Decision::of(&outcome.output)?;
/// assert_eq!((decision.answer, decision.stopped), ("ship it on Monday".into(), Stopped::Consensus));
/// assert_eq!((decision.rounds, decision.turns.len()), (1, 2));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Decision {
    /// The kind of the pattern, such as `debate`.
    pub pattern: String,
    /// What it came to; null when there is none, and `stopped` says why.
    pub answer: Value,
    /// Whether those who took part agreed to it, or it passed, as the options of the pattern demand.
    pub agreed: bool,
    /// How sure the answer is, from 0 to 1: what the tally, the judge or the scores say of it.
    pub confidence: f64,
    /// Why it stopped.
    pub stopped: Stopped,
    /// How many rounds there were.
    pub rounds: u32,
    /// What a verification said in the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Every turn, in order.
    pub turns: Vec<Turn>,
    /// How votes were counted: sides, weights, ties, dissent and what was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tally: Option<Aggregated>,
    /// Who was asked and did not answer, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Absent>,
    /// Answers that had something wrong with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub irregular: Vec<Irregular>,
}

impl Decision {
    /// The decision that the output of a pattern is.
    ///
    /// # Errors
    /// `InvalidOutput` for a value that is none.
    pub fn of(output: &Value) -> Result<Self> {
        serde_json::from_value(output.clone()).map_err(|err| {
            let message = "the value is no decision of a pattern";
            Error::new(ErrorKind::InvalidOutput, "pattern.decision", message).caused_by(err)
        })
    }
}
