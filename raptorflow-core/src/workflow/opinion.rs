//! `Opinion` and `Aggregated`: what each one says, and what it comes to, with who stood against it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result},
    workflow::{Aggregate, Tie},
};

/// The most weight that one voice may have, so that sums stay exact enough.
const MAX_WEIGHT: f64 = 1e9;

/// What one of several says.
///
/// ```
/// use raptorflow_core::workflow::Opinion;
/// let opinion = Opinion::new("legal", "wait").with_weight(2.0).with_confidence(0.9);
/// assert_eq!((opinion.agent.as_str(), opinion.weight), ("legal", 2.0));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Opinion {
    /// Who says it.
    pub agent: String,
    /// What is said: a text, one word of a few, a number, or any JSON.
    pub value: Value,
    /// How much it counts; 1 by default, from 0 to 10⁹.
    #[serde(default = "one")]
    pub weight: f64,
    /// How sure who says it is, from 0 to 1; `None` when that was not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// How good it is, for [`Aggregate::Best`]; any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// How far in front it stands, for [`Aggregate::Priority`] and tie rules; 0 by default, higher is further in front.
    #[serde(default)]
    pub priority: i64,
}

fn one() -> f64 {
    1.0
}

impl Opinion {
    /// What somebody says, with the weight 1.
    pub fn new(agent: impl Into<String>, value: impl Into<Value>) -> Self {
        Self {
            agent: agent.into(),
            value: value.into(),
            weight: 1.0,
            confidence: None,
            score: None,
            priority: 0,
        }
    }

    /// Says how much it counts.
    #[must_use]
    pub fn with_weight(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    /// Says how sure it is.
    #[must_use]
    pub fn with_confidence(mut self, confidence: f64) -> Self {
        self.confidence = Some(confidence);
        self
    }

    /// Says how good it is.
    #[must_use]
    pub fn with_score(mut self, score: f64) -> Self {
        self.score = Some(score);
        self
    }

    /// Says how far in front it stands.
    #[must_use]
    pub fn with_priority(mut self, priority: i64) -> Self {
        self.priority = priority;
        self
    }

    /// Refuses numbers that cannot be counted with.
    pub(super) fn check(&self) -> Result<()> {
        check_weight(self.weight).map_err(|err| err.with("agent", &self.agent))?;
        let wrong = |field: &'static str, expected: &'static str, value: f64| {
            Err(Error::new(ErrorKind::InvalidInput, "workflow.aggregate", "a number cannot be counted with")
                .with("agent", &self.agent)
                .with("field", field)
                .with("value", value)
                .with("expected", expected))
        };
        match (self.confidence, self.score) {
            (Some(value), _) if !(0.0..=1.0).contains(&value) => {
                wrong("confidence", "a number from 0 to 1", value)
            }
            (_, Some(value)) if !value.is_finite() => wrong("score", "a finite number", value),
            _ => Ok(()),
        }
    }
}

/// Refuses a weight that cannot be counted with.
pub(super) fn check_weight(weight: f64) -> Result<()> {
    if (0.0..=MAX_WEIGHT).contains(&weight) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidInput, "workflow.aggregate", "a weight cannot be counted with")
        .with("field", "weight")
        .with("value", weight)
        .with("expected", "a number from 0 to 1,000,000,000"))
}

/// One of the things that were said, and all who said it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Side {
    /// What they say, in the words that have the most weight.
    pub value: Value,
    /// Who says it, in the order of the opinions.
    pub agents: Vec<String>,
    /// What they weigh together.
    pub weight: f64,
    /// Their part of the weight of everybody who was asked, from 0 to 1.
    pub share: f64,
}

/// Something that was said and is not part of the value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LeftOut {
    /// Who said it.
    pub agent: String,
    /// What was said.
    pub value: Value,
    /// Why it is not part of it.
    pub reason: String,
}

/// A tie, and how it was broken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tied {
    /// What stood level.
    pub between: Vec<Value>,
    /// The rule that was asked to break it; when it could not, there is no value.
    pub rule: Tie,
}

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Undecided {
    /// Nobody said anything.
    NoOpinions,
    /// All who said something weigh nothing.
    NoWeight,
    /// The tie rule left a tie.
    Tie,
    /// No side is large enough.
    BelowThreshold,
    /// Nothing that was said is of a kind that the method takes.
    NothingUsable,
}

/// What several opinions come to, and how.
///
/// Every opinion is behind the value, in `dissent` or in `left_out`: none is dropped silently.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Aggregated {
    /// How it was found.
    pub method: Aggregate,
    /// What it came to; `None` when it is undecided.
    pub value: Option<Value>,
    /// Why there is no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undecided: Option<Undecided>,
    /// What was said, each thing once: the most weight first, then by what it is.
    pub sides: Vec<Side>,
    /// The part of all weight that is behind the value, each voice by its own confidence where it said one; from 0 to
    /// 1, and 0 without a value.
    pub confidence: f64,
    /// Opinions that stand against the value; all of them when there is none.
    pub dissent: Vec<Opinion>,
    /// The tie that there was, and the rule that was to break it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tie: Option<Tied>,
    /// What could not become part of the value, such as a text where numbers are averaged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}
