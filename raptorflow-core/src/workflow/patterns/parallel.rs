//! All members at once with the same input, until enough have answered.

use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result},
    workflow::{
        Aggregate, Complete, Opinion, Parallel, Stopped,
        patterns::machine::{Ask, Batch, End, Next, Reads, Record, Said, Script, Until},
    },
};

#[derive(Debug)]
pub(super) struct ParallelScript {
    options: Parallel,
    input: Value,
    asked: bool,
}

impl ParallelScript {
    pub(super) fn new(options: Parallel, input: Value) -> Self {
        Self { options, input, asked: false }
    }

    fn ask(&self, record: &Record) -> Batch {
        let ask = |who: usize| Ask {
            key: format!("1.{}", record.label(who)),
            who,
            round: 1,
            phase: "work",
            input: self.input.clone(),
            reads: if self.counts() { Reads::Position } else { Reads::Plain },
            place: who,
        };
        let members = 0..self.options.members.len();
        let heads: Vec<f64> = members.clone().map(|_| 1.0).collect();
        let weights: Vec<f64> = members.clone().map(|who| record.weight(who)).collect();
        let failure = self.options.fail_fast;
        let until = match self.needed(&weights) {
            None if failure => Until::Failure,
            None => Until::All,
            Some(needed) if self.options.complete == Complete::Threshold => {
                Until::Enough { weights, needed, failure }
            }
            Some(needed) => Until::Enough { weights: heads, needed, failure },
        };
        Batch { asks: members.map(ask).collect(), until }
    }

    /// Whether positions are counted or compared; otherwise answers are taken whole.
    fn counts(&self) -> bool {
        !matches!(
            self.options.aggregate.method,
            Aggregate::All | Aggregate::First | Aggregate::Combine | Aggregate::Merge
        )
    }

    /// What has to have answered before the others are stopped: heads, or weight for a threshold.
    #[expect(clippy::cast_precision_loss, reason = "counts of members are small")]
    fn needed(&self, weights: &[f64]) -> Option<f64> {
        match self.options.complete {
            _ if self.options.takes_first() => Some(1.0),
            Complete::All | Complete::Any => None,
            Complete::Majority => Some((self.options.members.len() / 2 + 1) as f64),
            // Sums of weights are not exact, so that a share that is all but reached is reached.
            Complete::Threshold => Some(self.options.threshold * weights.iter().sum::<f64>() * (1.0 - 1e-9)),
        }
    }

    fn end(&self, record: &Record, said: &[Said]) -> Result<End> {
        let weights: Vec<f64> = (0..self.options.members.len()).map(|who| record.weight(who)).collect();
        let mut got = (0.0, 0.0);
        let mut opinions: Vec<Opinion> = Vec::new();
        for turn in said {
            match &turn.outcome {
                Ok(spoken) => {
                    got = (got.0 + 1.0, got.1 + record.weight(turn.who));
                    opinions.push(record.opinion(turn.who, &spoken.reading));
                }
                Err(error) if self.options.fail_fast => {
                    return Err(error.clone().with("member", record.label(turn.who)));
                }
                Err(_) => {}
            }
        }
        if opinions.is_empty() {
            return Err(record.nobody());
        }
        let needed = self.needed(&weights).unwrap_or(1.0);
        let weight = self.options.complete == Complete::Threshold && !self.options.takes_first();
        let got = if weight { got.1 } else { got.0 };
        if got < needed {
            let message = "too few members answered";
            return Err(Error::new(ErrorKind::InvalidOutput, "pattern.parallel", message)
                .with("needed", needed)
                .with("answered", got)
                .caused_by(record.nobody()));
        }
        let mut aggregation = self.options.aggregate.clone();
        if !self.options.takes_first() && aggregation.method != Aggregate::First {
            // In the order of the members, whoever was first.
            opinions.sort_by_key(|it| record.voices.iter().position(|voice| voice.label == it.agent));
        }
        let failed = said.iter().filter(|turn| turn.outcome.is_err());
        aggregation.absent.extend(failed.map(|turn| record.weight(turn.who)));
        let tally = aggregation.decide(&opinions)?;
        let all = said.len() == self.options.members.len();
        let stopped = if all { Stopped::Complete } else { Stopped::Enough };
        let agreed = tally.value.is_some();
        Ok(End::counted(tally, agreed, stopped))
    }
}

impl Script for ParallelScript {
    fn next(&mut self, record: &Record, said: Vec<Said>) -> Result<Next> {
        if !std::mem::replace(&mut self.asked, true) {
            return Ok(Next::Ask(self.ask(record)));
        }
        self.end(record, &said).map(Next::End)
    }

    fn cut(&mut self, record: &Record) -> Result<End> {
        Err(record.nobody())
    }
}
