//! `Aggregate`: the rules by which several answers become one, how ties end, and when two texts are the same.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result},
    workflow::{Aggregation, Opinion, Undecided},
};

/// How what several say becomes one value.
///
/// Opinions are taken in the order in which they are given, which is that in which a step names its agents.
/// As the aggregate of a step, `All`, `Combine`, `Merge` and `Average` need an answer of every agent, the others take the
/// agents that failed as voices for nothing, and a step that is left undecided fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Aggregate {
    /// An object with the answer of each agent under its name.
    #[default]
    All,
    /// The answer that was there first; the others are stopped.
    First,
    /// A list of everything that was said, each thing once.
    Combine,
    /// What a share of at least [`Aggregation::threshold`] of the weight says; everybody by default.
    Consensus,
    /// The answer that more than half of the agents gave, each with one voice whatever it weighs.
    Majority,
    /// Objects become one object, in which the first agent that has a key gives its value; lists are joined; other
    /// answers are listed.
    Merge,
    /// What who stands furthest in front says: of the highest [`Opinion::priority`].
    Priority,
    /// The mean of the numbers that were said, by weight.
    Average,
    /// What the most weight is behind, and at least [`Aggregation::threshold`] of it where one is set.
    Vote,
    /// What has the highest score; the confidence stands in for a score that was not given.
    Best,
}

/// What a tie comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Tie {
    /// It stays one: there is no value.
    #[default]
    None,
    /// What was said first.
    First,
    /// What somebody of the highest priority said; a tie when several did.
    HighestPriority,
    /// What somebody of the lowest priority said; a tie when several did.
    LowestPriority,
    /// What those who say it are most sure of, on average by weight; a tie when several are.
    MostConfident,
    /// One by a number that decides, the same each time and in whatever order the opinions are.
    Seeded(u64),
}

/// When two texts are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TextMatch {
    /// When they differ only in case, white space, punctuation and Unicode forms.
    #[default]
    Folded,
    /// When every character is the same.
    Exact,
}

impl Aggregate {
    /// Whether a step that uses it needs an answer of every agent.
    pub(super) fn needs_all(self) -> bool {
        matches!(self, Self::All | Self::Combine | Self::Merge | Self::Average)
    }

    /// The value of answers by agent; failures of agents are told by their absence among `agents`.
    ///
    /// # Errors
    /// `InvalidOutput` when they are undecided, with why.
    pub(super) fn value(self, agents: usize, answers: Vec<(String, Value)>) -> Result<Value> {
        let absent = agents.saturating_sub(answers.len());
        let opinions: Vec<Opinion> =
            answers.into_iter().map(|(agent, value)| Opinion::new(agent, value)).collect();
        let aggregation = Aggregation::new(self).with_absent(std::iter::repeat_n(1.0, absent));
        let decided = aggregation.decide(&opinions)?;
        decided.value.ok_or_else(|| {
            let why = match decided.undecided {
                Some(Undecided::BelowThreshold) => "no answer was given by enough of the agents",
                Some(Undecided::Tie) => "the answers of the agents stand level",
                Some(Undecided::NothingUsable) => "no agent gave an answer of the kind that is aggregated",
                _ => "no agent answered",
            };
            let votes = decided.sides.iter().map(|side| side.agents.len()).max().unwrap_or(0);
            Error::new(ErrorKind::InvalidOutput, "workflow.aggregate", why)
                .with("agents", agents)
                .with("most votes", votes)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answers<const N: usize>(values: [Value; N]) -> Vec<(String, Value)> {
        values.into_iter().enumerate().map(|(index, value)| (format!("a{index}"), value)).collect()
    }

    #[test]
    fn a_majority_is_more_than_half_of_all_agents_by_canonical_value() {
        let of = |agents, values: Vec<(String, Value)>| Aggregate::Majority.value(agents, values);
        let same = answers([json!({ "a": 1, "b": 2 }), json!({ "b": 2.0, "a": 1 }), json!("other")]);
        assert_eq!(of(3, same.clone()).unwrap(), json!({ "a": 1, "b": 2 }));
        let err = of(4, same).unwrap_err();
        assert_eq!((err.kind(), err.get("most votes")), (ErrorKind::InvalidOutput, Some("2")));
        assert_eq!(of(2, answers([json!(1), json!(2)])).unwrap_err().kind(), ErrorKind::InvalidOutput);
    }

    #[test]
    fn nothing_is_dropped_by_a_merge() {
        let merged = Aggregate::Merge.value(2, answers([json!({ "a": 1 }), json!({ "a": 2, "b": 3 })]));
        assert_eq!(merged.unwrap(), json!({ "a": 1, "b": 3 }));
        let merged = Aggregate::Merge.value(3, answers([json!([1]), json!("two"), json!({ "c": 3 })]));
        assert_eq!(merged.unwrap(), json!([1, "two", { "c": 3 }]));
    }

    #[test]
    fn all_and_first_say_who_or_what() {
        assert_eq!(
            Aggregate::All.value(2, answers([json!(1), json!(2)])).unwrap(),
            json!({ "a0": 1, "a1": 2 })
        );
        assert_eq!(Aggregate::First.value(2, answers([json!(5)])).unwrap(), json!(5));
        assert!(Aggregate::First.value(2, Vec::new()).is_err());
    }
}
