//! One member after another, each with what the one before it gave.

use serde_json::Value;

use crate::{
    error::Result,
    workflow::{
        Sequential, Stopped,
        patterns::machine::{Ask, Batch, End, Next, Reads, Record, Said, Script, Undo, Until},
    },
};

#[derive(Debug)]
pub(super) struct SequentialScript {
    options: Sequential,
    /// The input of the member whose turn it is.
    value: Value,
    at: usize,
    done: Vec<Undo>,
    confidence: f64,
}

impl SequentialScript {
    pub(super) fn new(options: Sequential, input: Value) -> Self {
        Self { options, value: input, at: 0, done: Vec::new(), confidence: 1.0 }
    }
}

impl Script for SequentialScript {
    fn next(&mut self, record: &Record, said: Vec<Said>) -> Result<Next> {
        for turn in said {
            let Some(member) = self.options.members.get(turn.who) else { continue };
            match turn.outcome {
                Ok(spoken) => {
                    if let Some(agent) = &member.undo {
                        let (label, value) = (member.label().to_owned(), spoken.value.clone());
                        self.done.push(Undo { label, agent: agent.clone(), value });
                    }
                    self.confidence = spoken.reading.confidence.unwrap_or(1.0);
                    self.value = spoken.value;
                }
                Err(_) if member.optional => {}
                Err(error) => {
                    let undo = std::mem::take(&mut self.done).into_iter().rev().collect();
                    let known = error.get("member").is_some();
                    let error = if known { error } else { error.with("member", member.label()) };
                    return Ok(Next::Fail { error, undo });
                }
            }
        }
        if self.at == self.options.members.len() {
            return if record.turns.is_empty() {
                Err(record.nobody())
            } else {
                Ok(Next::End(End::of(self.value.clone(), true, self.confidence, Stopped::Complete)))
            };
        }
        let who = self.at;
        self.at += 1;
        let ask = Ask {
            key: format!("{}.{}", who + 1, record.label(who)),
            who,
            round: 1,
            phase: "work",
            input: self.value.clone(),
            reads: Reads::Plain,
            place: who,
        };
        Ok(Next::Ask(Batch { asks: vec![ask], until: Until::All }))
    }

    fn cut(&mut self, record: &Record) -> Result<End> {
        if record.turns.is_empty() {
            return Err(record.nobody());
        }
        Ok(End::of(self.value.clone(), false, 0.0, Stopped::Tokens))
    }
}
