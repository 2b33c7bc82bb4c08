//! `Summary`: what the entries of a run add up to.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    journal::{Entry, Fact},
    types::{Currency, Money, Timestamp, Usage},
};

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// It has not ended; whether a process works on it is a matter of its lease.
    #[default]
    Running,
    /// It begins nothing new until somebody lets it go on.
    Paused,
    /// It ended with an answer.
    Completed,
    /// It ended with an error.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        })
    }
}

/// A run in short: a pure fold over its entries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// What runs: the name of an agent or of an orchestration.
    pub target: String,
    /// How far it is.
    pub status: RunStatus,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// How many entries it has.
    pub entries: u64,
    /// Tokens of all model calls.
    pub usage: Usage,
    /// What the calls of models cost, and those of tools that say so; zero dollars before the first.
    ///
    /// `None` once a call had no known price, or when currencies differ: a sum of the rest would look like the cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Money>,
    /// How often a model answered.
    pub model_calls: u64,
    /// How often a tool answered.
    pub tool_calls: u64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            target: String::new(),
            status: RunStatus::Running,
            started: Timestamp::default(),
            ended: None,
            entries: 0,
            usage: Usage::default(),
            cost: Some(Money::new(0, Currency::USD)),
            model_calls: 0,
            tool_calls: 0,
            error: None,
        }
    }
}

impl Summary {
    /// The fold over entries in their order.
    ///
    /// ```
    /// # use raptorflow_core::{journal::{Entry, Fact, RunStatus, Summary}, types::Timestamp};
    /// let entry = Entry { sequence: 0, time: Timestamp::default(), path: "".into(), fact: Fact::ExecutionCancelled };
    /// assert_eq!(Summary::of(&[entry]).status, RunStatus::Cancelled);
    /// ```
    #[must_use]
    pub fn of(entries: &[Entry]) -> Self {
        let mut summary = Self::default();
        entries.iter().for_each(|entry| summary.apply(entry));
        summary
    }

    /// Adds the next entry.
    pub fn apply(&mut self, entry: &Entry) {
        self.entries += 1;
        match &entry.fact {
            Fact::ExecutionStarted { target, .. } => {
                self.target.clone_from(target);
                self.started = entry.time;
            }
            Fact::ExecutionCompleted { .. } => self.end(RunStatus::Completed, entry.time),
            Fact::ExecutionCancelled => self.end(RunStatus::Cancelled, entry.time),
            Fact::ExecutionFailed { error } => {
                self.end(RunStatus::Failed, entry.time);
                self.error = Some(error.clone());
            }
            Fact::ExecutionPaused => self.status = RunStatus::Paused,
            Fact::ExecutionContinued => self.status = RunStatus::Running,
            Fact::ExecutionResumed | Fact::ExecutionForked { .. } => {
                self.status = RunStatus::Running;
                (self.ended, self.error) = (None, None);
            }
            Fact::ModelResponded { usage, cost, .. } => self.add_model_call(*usage, *cost),
            Fact::ToolReturned { result } => {
                self.tool_calls += 1;
                self.add_tool_cost(result.cost);
            }
            _ => {}
        }
    }

    /// Tokens of all model calls, and what these and the calls of tools cost; no cost while nothing was priced, or when
    /// one is unknown.
    #[must_use]
    pub fn spent(&self) -> (Usage, Option<Money>) {
        (self.usage, self.cost.filter(|cost| self.model_calls > 0 || cost.micros != 0))
    }

    pub(super) fn add_model_call(&mut self, usage: Usage, cost: Option<Money>) {
        self.add_cost(cost);
        self.model_calls += 1;
        self.usage = self.usage.plus(usage);
    }

    /// Adds what a call of a tool cost, where its tool says.
    pub(super) fn add_tool_cost(&mut self, cost: Option<Money>) {
        if cost.is_some() {
            self.add_cost(cost);
        }
    }

    fn end(&mut self, status: RunStatus, time: Timestamp) {
        self.status = status;
        self.ended = Some(time);
        // A run that failed may be taken up again and end well.
        self.error = None;
    }

    fn add_cost(&mut self, cost: Option<Money>) {
        // The zero before the first call has no currency of its own.
        self.cost = match (self.cost, cost) {
            (Some(sum), Some(cost)) if self.model_calls == 0 && sum.micros == 0 => Some(cost),
            (Some(sum), Some(cost)) => sum.plus(cost).ok(),
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::ErrorKind,
        types::{Finish, Message},
    };

    fn check(costs: &[Option<Money>], expected: Option<Money>) {
        let calls = costs.iter().map(|cost| Fact::ModelResponded {
            model: "m".into(),
            message: Message::assistant("a"),
            usage: Usage::new(2, 1),
            cost: *cost,
            truncated: false,
        });
        let entries: Vec<Entry> = (0..)
            .zip(calls)
            .map(|(sequence, fact)| Entry { sequence, time: Timestamp::default(), path: "a".into(), fact })
            .collect();
        let summary = Summary::of(&entries);
        assert_eq!(summary.cost, expected);
        assert_eq!(
            (summary.model_calls, summary.usage.total_tokens()),
            (costs.len() as u64, 3 * costs.len() as u64)
        );
    }

    #[test]
    fn a_run_that_failed_and_then_ended_well_has_no_error() {
        let error = Error::new(ErrorKind::Unavailable, "model.stream", "down");
        let facts = [
            Fact::ExecutionFailed { error },
            Fact::ExecutionResumed,
            Fact::ExecutionCompleted { output: 1.into(), finish: Finish::default() },
        ];
        let entries: Vec<Entry> = (0..)
            .zip(facts)
            .map(|(sequence, fact)| Entry { sequence, time: Timestamp::default(), path: "".into(), fact })
            .collect();
        assert!(Summary::of(&entries[..1]).error.is_some());
        assert_eq!(Summary::of(&entries).error, None);
    }

    #[test]
    fn what_tools_cost_counts_beside_what_models_cost() {
        let cost = |micros, currency| Some(Money::new(micros, currency));
        let check = |costs: &[(bool, Option<Money>)], expected| {
            let mut summary = Summary::default();
            for (is_tool, cost) in costs {
                if *is_tool {
                    summary.add_tool_cost(*cost);
                } else {
                    summary.add_model_call(Usage::new(1, 1), *cost);
                }
            }
            assert_eq!(summary.spent().1, expected, "{costs:?}");
        };
        check(&[(true, None)], None);
        check(&[(true, cost(5, Currency::INR)), (true, None)], cost(5, Currency::INR));
        check(&[(true, cost(5, Currency::INR)), (false, cost(2, Currency::INR))], cost(7, Currency::INR));
        check(&[(false, cost(2, Currency::USD)), (true, cost(5, Currency::INR))], None);
        check(&[(false, None), (true, cost(5, Currency::USD))], None);
    }

    #[test]
    fn a_cost_is_known_only_when_every_call_has_a_price_of_one_currency() {
        let (one, rupee) = (Money::new(1, Currency::USD), Money::new(1, Currency::INR));
        check(&[], Some(Money::new(0, Currency::USD)));
        check(&[Some(rupee), Some(rupee)], Some(Money::new(2, Currency::INR)));
        check(&[Some(one), None, Some(one)], None);
        check(&[Some(one), Some(rupee)], None);
    }
}
