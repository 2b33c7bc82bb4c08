//! Every item of a list by itself, and then all outputs together.

use serde_json::{Value, json};

use crate::{
    error::{Error, ErrorKind, Result},
    workflow::{
        MapReduce, Stopped,
        patterns::machine::{Ask, Batch, End, Next, Reads, Record, Said, Script, Until, text},
    },
};

/// How many items there may be.
const MAX_ITEMS: usize = 10_000;

#[derive(Debug)]
pub(super) struct MapReduceScript {
    options: MapReduce,
    task: Value,
    items: Vec<Value>,
    /// What is left to be reduced; none for an item that failed, which is not one whose output is null.
    values: Vec<Option<Value>>,
    /// The rounds that were asked: 1 for the items, and one for each time that it was reduced.
    round: u32,
}

impl MapReduceScript {
    /// # Errors
    /// `InvalidInput` for an input without a list, `LimitExceeded` for a list that is too long.
    pub(super) fn new(options: MapReduce, input: &Value) -> Result<Self> {
        let list = input.as_array().or_else(|| input.get("items").and_then(Value::as_array));
        let Some(items) = list else {
            let message = "expected a list, or an object with a list under `items`";
            return Err(Error::new(ErrorKind::InvalidInput, "pattern.map_reduce", message));
        };
        if items.is_empty() || items.len() > MAX_ITEMS {
            let kind = if items.is_empty() { ErrorKind::InvalidInput } else { ErrorKind::LimitExceeded };
            return Err(Error::new(kind, "pattern.map_reduce", "expected from 1 to 10,000 items")
                .with("items", items.len()));
        }
        let (items, values) = (items.clone(), Vec::new());
        Ok(Self { options, task: input.clone(), items, values, round: 0 })
    }

    fn ask_items(&mut self, record: &Record) -> Next {
        self.round = 1;
        let mappers = self.options.mappers.len().max(1);
        let ask = |(place, item): (usize, &Value)| Ask {
            key: format!("map.{place}.{}", record.label(place % mappers)),
            who: place % mappers,
            round: 1,
            phase: "map",
            input: item.clone(),
            reads: Reads::Plain,
            place,
        };
        let asks = self.items.iter().enumerate().map(ask).collect();
        // Once it is known that too few succeed, nothing is gained by the rest.
        let until = if self.options.threshold >= 1.0 { Until::Failure } else { Until::All };
        Next::Ask(Batch { asks, until })
    }

    #[expect(clippy::cast_precision_loss, reason = "at most 10,000 items")]
    fn mapped(&mut self, record: &Record, said: Vec<Said>) -> Result<()> {
        self.values = vec![None; self.items.len()];
        let (mut done, mut first) = (0_usize, None);
        for turn in said {
            match turn.outcome {
                Ok(spoken) => {
                    done += 1;
                    if let Some(value) = self.values.get_mut(turn.place) {
                        *value = Some(spoken.value);
                    }
                }
                Err(error) => {
                    first.get_or_insert(error.with("item", turn.place));
                }
            }
        }
        let share = done as f64 / self.items.len() as f64;
        if done == 0 || share < self.options.threshold - 1e-9 {
            return Err(match first {
                Some(error) => error.with("succeeded", done).with("items", self.items.len()),
                None => record.nobody(),
            });
        }
        Ok(())
    }

    /// Reduces what is left, by lots; the end when one is left, or nobody reduces.
    fn reduce(&mut self, record: &Record) -> Next {
        let done = self.round > 1 && self.values.len() == 1;
        if self.options.reducer.is_none() || done {
            let mut values = std::mem::take(&mut self.values).into_iter().map(Option::unwrap_or_default);
            let answer = match self.options.reducer {
                Some(_) => values.next().unwrap_or_default(),
                None => Value::Array(values.collect()),
            };
            return Next::End(End::of(
                answer,
                record.missing.is_empty(),
                self.share(record),
                Stopped::Complete,
            ));
        }
        let left: Vec<Value> = self.values.iter().flatten().cloned().collect();
        self.round += 1;
        let who = self.options.mappers.len();
        let at_once = self.options.at_once.unwrap_or(usize::MAX).max(2);
        let ask = |(place, lot): (usize, &[Value])| Ask {
            key: format!("reduce{}.{place}.{}", self.round - 1, record.label(who)),
            who,
            round: self.round,
            phase: "reduce",
            input: json!({ "goal": reduction(lot), "task": self.task, "items": lot }),
            reads: Reads::Plain,
            place,
        };
        let asks = left.chunks(at_once).enumerate().map(ask).collect();
        Next::Ask(Batch { asks, until: Until::Failure })
    }

    #[expect(clippy::cast_precision_loss, reason = "at most 10,000 items")]
    fn share(&self, record: &Record) -> f64 {
        let failed = record.missing.iter().filter(|absent| absent.phase == "map").count();
        1.0 - failed as f64 / self.items.len() as f64
    }
}

fn reduction(lot: &[Value]) -> String {
    let items = lot.iter().map(|value| format!("- {}\n", text(value)));
    format!("Make one answer of these parts:\n{}", items.collect::<String>())
}

impl Script for MapReduceScript {
    fn next(&mut self, record: &Record, said: Vec<Said>) -> Result<Next> {
        match self.round {
            0 => return Ok(self.ask_items(record)),
            1 => self.mapped(record, said)?,
            _ => {
                let mut values = Vec::with_capacity(said.len());
                for turn in said {
                    values.push(Some(turn.outcome?.value));
                }
                self.values = values;
            }
        }
        Ok(self.reduce(record))
    }

    fn cut(&mut self, _record: &Record) -> Result<End> {
        let values = std::mem::take(&mut self.values).into_iter().map(Option::unwrap_or_default).collect();
        Ok(End::of(Value::Array(values), false, 0.0, Stopped::Tokens))
    }
}
