//! `Aggregate`: one value out of what several agents answered.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    error::{Error, ErrorKind, Result},
    types::Digest,
};

/// How the answers of several agents to one step become one value.
///
/// Answers are taken in the order in which the step names its agents, whoever was first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Aggregate {
    /// An object with the answer of each agent under its name; all must answer.
    #[default]
    All,
    /// The answer that was there first; the others are stopped.
    First,
    /// The answer that more than half of the agents gave, compared as canonical JSON; an error without one.
    Majority,
    /// Objects become one object, in which the first agent that has a key gives its value; lists are joined; other
    /// answers are listed. All must answer.
    Merge,
}

impl Aggregate {
    /// The value of answers by agent; failures of agents are told by their absence.
    ///
    /// # Errors
    /// `InvalidOutput` when there is no majority among `agents`, or no answer at all.
    pub(super) fn value(self, agents: usize, answers: Vec<(String, Value)>) -> Result<Value> {
        match self {
            Self::All => Ok(Value::Object(answers.into_iter().collect::<Map<_, _>>())),
            Self::First => answers.into_iter().next().map(|(_, value)| value).ok_or_else(nobody),
            Self::Majority => majority(agents, answers),
            Self::Merge => Ok(merge(answers)),
        }
    }
}

fn majority(agents: usize, answers: Vec<(String, Value)>) -> Result<Value> {
    let digests: Vec<Digest> =
        answers.iter().map(|(_, value)| Digest::of(canonical(value).to_string())).collect();
    let count = |digest: &Digest| digests.iter().filter(|other| *other == digest).count();
    let votes = digests.iter().map(count).max().unwrap_or(0);
    let winner = digests.iter().position(|digest| count(digest) * 2 > agents);
    winner.and_then(|winner| answers.into_iter().nth(winner)).map(|(_, value)| value).ok_or_else(|| {
        let message = "no answer was given by more than half of the agents";
        Error::new(ErrorKind::InvalidOutput, "workflow.aggregate", message)
            .with("agents", agents)
            .with("most votes", votes)
    })
}

/// Keys in order and numbers that are equal written alike, so that equal values are equal texts.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| *key);
            Value::Object(sorted.into_iter().map(|(key, value)| (key.clone(), canonical(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect()),
        Value::Number(number) => number
            .as_f64()
            .filter(|float| float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0)
            .map_or_else(|| value.clone(), |float| Value::from(float as i64)),
        other => other.clone(),
    }
}

fn merge(answers: Vec<(String, Value)>) -> Value {
    let values: Vec<Value> = answers.into_iter().map(|(_, value)| value).collect();
    if values.iter().all(Value::is_object) {
        let mut merged = Map::new();
        for (key, value) in values
            .into_iter()
            .filter_map(|value| match value {
                Value::Object(fields) => Some(fields),
                _ => None,
            })
            .flatten()
        {
            merged.entry(key).or_insert(value);
        }
        return Value::Object(merged);
    }
    let parts = values.into_iter().flat_map(|value| match value {
        Value::Array(items) => items,
        other => vec![other],
    });
    Value::Array(parts.collect())
}

fn nobody() -> Error {
    Error::new(ErrorKind::InvalidOutput, "workflow.aggregate", "no agent answered")
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
