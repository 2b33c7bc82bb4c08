//! `PatternRun`: whose turn it is in a pattern and when it ends, as a machine without input and output.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    error::{Error, ErrorKind, Result},
    types::{Money, Usage},
    workflow::{
        Absent, Aggregated, Aggregation, Decision, Irregular, Member, Opinion, PatternKind, PatternSpec,
        Problem, Role, Stopped, Turn, Verdict,
        patterns::{
            debate::DebateScript,
            map_reduce::MapReduceScript,
            panel::PanelScript,
            parallel::ParallelScript,
            reading::{Reading, decision, read},
            revise::ReviseScript,
            sequential::SequentialScript,
        },
    },
};

/// Something that a member is asked.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// Where it stands in the journal below the pattern, unique within it.
    pub(super) key: String,
    /// Whom, as a place among the voices.
    pub(super) who: usize,
    pub(super) round: u32,
    pub(super) phase: &'static str,
    pub(super) input: Value,
    pub(super) reads: Reads,
    /// What the script knows it by.
    pub(super) place: usize,
}

/// What is looked for in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// Nothing: it is taken as it is.
    Plain,
    /// What it stands for; an answer that says nothing is none.
    Position,
    /// Also a verdict or a score.
    Verdict,
}

/// Turns that are under way at the same time.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) asks: Vec<Ask>,
    pub(super) until: Until,
}

/// When a batch is over.
#[derive(Debug)]
pub(super) enum Until {
    /// When all have answered or failed.
    All,
    /// The same, or when one has failed.
    Failure,
    /// When those who have answered weigh enough together; `failure` says whether one that fails ends it too.
    Enough { weights: Vec<f64>, needed: f64, failure: bool },
}

/// What came of a turn; recorded by the driver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Heard {
    pub(super) output: Value,
    #[serde(default)]
    pub(super) usage: Usage,
    #[serde(default)]
    pub(super) cost: Option<Money>,
    #[serde(default)]
    pub(super) limited: bool,
}

/// A turn that is over, as the driver tells it.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) ask: Ask,
    pub(super) outcome: Result<Heard>,
}

/// A turn that is over, as a script reads it.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) who: usize,
    pub(super) place: usize,
    pub(super) outcome: Result<Spoken>,
}

#[derive(Clone, Debug)]
pub(super) struct Spoken {
    /// All of it; of a decision its answer.
    pub(super) value: Value,
    pub(super) reading: Reading,
}

/// What a script wants next.
#[derive(Debug)]
pub(super) enum Next {
    Ask(Batch),
    End(End),
    /// It fails, and what was done is taken back: by whom, with what.
    Fail {
        error: Error,
        undo: Vec<Undo>,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Undo {
    pub(super) label: String,
    pub(super) agent: String,
    pub(super) value: Value,
}

/// What a pattern came to.
#[derive(Debug)]
pub(super) struct End {
    pub(super) answer: Value,
    pub(super) agreed: bool,
    pub(super) confidence: f64,
    pub(super) stopped: Stopped,
    pub(super) verdict: Option<Verdict>,
    /// In a box, as few ends have one.
    pub(super) tally: Option<Box<Aggregated>>,
}

impl End {
    /// An answer that nobody voted on.
    pub(super) fn of(answer: Value, agreed: bool, confidence: f64, stopped: Stopped) -> Self {
        Self { answer, agreed, confidence, stopped, verdict: None, tally: None }
    }

    /// What votes came to.
    pub(super) fn counted(tally: Aggregated, agreed: bool, stopped: Stopped) -> Self {
        let answer = tally.value.clone().unwrap_or_default();
        let confidence = tally.confidence;
        Self { answer, agreed, confidence, stopped, verdict: None, tally: Some(Box::new(tally)) }
    }
}

/// The order of turns of one kind of pattern.
///
/// It is told what was said in the batch before, and is a function of that alone, so that the same answers lead to the
/// same turns when a resumed run reads them again.
pub(super) trait Script: Debug + Send {
    /// What comes next.
    fn next(&mut self, record: &Record, said: Vec<Said>) -> Result<Next>;

    /// What it comes to when no further turn may begin.
    fn cut(&mut self, record: &Record) -> Result<End>;
}

/// Who takes part.
#[derive(Clone, Debug)]
pub(super) struct Voice {
    pub(super) label: String,
    pub(super) role: Option<Role>,
    pub(super) weight: f64,
}

/// What happened so far.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) voices: Vec<Voice>,
    pub(super) turns: Vec<Turn>,
    pub(super) missing: Vec<Absent>,
    irregular: Vec<Irregular>,
}

impl Record {
    pub(super) fn label(&self, who: usize) -> &str {
        self.voices.get(who).map_or("", |voice| &voice.label)
    }

    pub(super) fn weight(&self, who: usize) -> f64 {
        self.voices.get(who).map_or(1.0, |voice| voice.weight)
    }

    pub(super) fn role(&self, who: usize) -> Option<Role> {
        self.voices.get(who).and_then(|voice| voice.role)
    }

    /// The opinion that a reading is.
    pub(super) fn opinion(&self, who: usize, reading: &Reading) -> Opinion {
        let mut opinion =
            Opinion::new(self.label(who), reading.position.clone()).with_weight(self.weight(who));
        (opinion.confidence, opinion.score) = (reading.confidence, reading.score);
        opinion
    }

    /// Why nobody could go on: the last error, or that there was no answer that says anything.
    pub(super) fn nobody(&self) -> Error {
        match self.missing.iter().rev().find_map(|absent| absent.error.clone()) {
            Some(error) => error.with("missing", self.missing.len()),
            None => Error::new(
                ErrorKind::InvalidOutput,
                "pattern.run",
                "nobody gave an answer that says anything",
            ),
        }
    }
}

/// One pattern at work.
#[derive(Debug)]
pub(super) struct PatternRun {
    name: &'static str,
    script: Box<dyn Script>,
    record: Record,
    tokens: Option<u64>,
    used: u64,
    rounds: u32,
    asked: Vec<(u32, String, &'static str, String)>,
}

/// What the driver has to do next.
#[derive(Debug)]
pub(super) enum Step {
    Ask(Batch),
    Done(Box<Decision>),
    Fail { error: Error, undo: Vec<Undo> },
}

impl PatternRun {
    /// A pattern before its first turn.
    ///
    /// # Errors
    /// `InvalidInput` for an input that the kind cannot work on.
    pub(super) fn new(spec: &PatternSpec, input: &Value) -> Result<Self> {
        let voice = |member: &&Member| Voice {
            label: member.label().to_owned(),
            role: member.role,
            weight: member.weight,
        };
        let voices = spec.pattern.voices().iter().map(voice).collect();
        let record = Record { voices, turns: Vec::new(), missing: Vec::new(), irregular: Vec::new() };
        let input = input.clone();
        let script: Box<dyn Script> = match &spec.pattern {
            PatternKind::Sequential(it) => Box::new(SequentialScript::new(it.clone(), input)),
            PatternKind::Parallel(it) => Box::new(ParallelScript::new(it.clone(), input)),
            PatternKind::Debate(it) => Box::new(DebateScript::new(it.clone(), input)),
            PatternKind::Verification(it) => Box::new(ReviseScript::verification(it, input)),
            PatternKind::Reflection(it) => Box::new(ReviseScript::reflection(it, input)),
            PatternKind::ExpertPanel(it) => Box::new(PanelScript::new(it.clone(), input)),
            PatternKind::MapReduce(it) => Box::new(MapReduceScript::new(it.clone(), &input)?),
        };
        let (name, tokens) = (spec.pattern.name(), spec.tokens);
        Ok(Self { name, script, record, tokens, used: 0, rounds: 0, asked: Vec::new() })
    }

    /// What comes after the turns of the last batch; none at first.
    ///
    /// # Errors
    /// What makes the pattern fail with nothing to take back.
    pub(super) fn next(&mut self, answered: Vec<Answered>) -> Result<Step> {
        let said = self.absorb(answered);
        let next = self.script.next(&self.record, said)?;
        match next {
            Next::Ask(_) if self.tokens.is_some_and(|most| self.used >= most) => {
                let end = self.script.cut(&self.record)?;
                Ok(self.done(End { stopped: Stopped::Tokens, agreed: false, ..end }))
            }
            Next::Ask(batch) => {
                let of = |ask: &Ask| {
                    (ask.round, self.record.label(ask.who).to_owned(), ask.phase, ask.key.clone())
                };
                self.asked = batch.asks.iter().map(of).collect();
                self.rounds = batch.asks.iter().map(|ask| ask.round).max().unwrap_or(0).max(self.rounds);
                Ok(Step::Ask(batch))
            }
            Next::End(end) => Ok(self.done(end)),
            Next::Fail { error, undo } => Ok(Step::Fail { error, undo }),
        }
    }

    fn done(&mut self, end: End) -> Step {
        let Record { turns, missing, irregular, .. } = &mut self.record;
        Step::Done(Box::new(Decision {
            pattern: self.name.to_owned(),
            answer: end.answer,
            agreed: end.agreed,
            confidence: end.confidence.clamp(0.0, 1.0),
            stopped: end.stopped,
            rounds: self.rounds,
            verdict: end.verdict,
            turns: std::mem::take(turns),
            tally: end.tally.map(|tally| *tally),
            missing: std::mem::take(missing),
            irregular: std::mem::take(irregular),
        }))
    }

    fn absorb(&mut self, answered: Vec<Answered>) -> Vec<Said> {
        let mut open = std::mem::take(&mut self.asked);
        let mut all = Vec::with_capacity(answered.len());
        for Answered { ask, outcome } in answered {
            open.retain(|(.., key)| *key != ask.key);
            let outcome = match outcome {
                Ok(heard) => self.heard(&ask, heard),
                Err(error) => Err(error),
            };
            if let Err(error) = &outcome {
                self.record.missing.push(Absent {
                    round: ask.round,
                    agent: self.record.label(ask.who).to_owned(),
                    phase: ask.phase.to_owned(),
                    error: Some(error.clone()),
                });
            }
            all.push(Said { who: ask.who, place: ask.place, outcome });
        }
        let stopped = open.into_iter().map(|(round, agent, phase, _)| Absent {
            round,
            agent,
            phase: phase.to_owned(),
            error: None,
        });
        self.record.missing.extend(stopped);
        all
    }

    /// Takes down what was said; an answer that says nothing is none.
    fn heard(&mut self, ask: &Ask, heard: Heard) -> Result<Spoken> {
        let Heard { output, usage, limited, .. } = heard;
        self.used = self.used.saturating_add(usage.total_tokens());
        let agent = self.record.label(ask.who).to_owned();
        let mut reading = read(&output);
        let decided = decision(&output);
        let value = decided.map_or(output, |decision| decision.answer);
        if ask.reads == Reads::Plain {
            let confidence = reading.confidence;
            reading = Reading { position: value.clone(), confidence, ..Reading::default() };
        }
        if ask.reads == Reads::Verdict && reading.verdict.is_none() && reading.score.is_none() {
            reading.problems.push(Problem::Verdict);
        }
        if limited {
            reading.problems.push(Problem::Limited);
        }
        for problem in reading.problems.iter().copied() {
            self.record.irregular.push(Irregular { round: ask.round, agent: agent.clone(), problem });
        }
        if reading.is_empty() {
            let message = "the answer says nothing";
            return Err(Error::new(ErrorKind::InvalidOutput, "pattern.turn", message).with("agent", agent));
        }
        self.record.turns.push(Turn {
            round: ask.round,
            agent,
            role: self.record.role(ask.who),
            phase: ask.phase.to_owned(),
            said: value.clone(),
            position: reading.position.clone(),
            confidence: reading.confidence,
            score: reading.score,
            verdict: reading.verdict,
        });
        Ok(Spoken { value, reading })
    }
}

/// What a member is asked in words and as data: a model reads `goal`, code the other fields.
pub(super) fn told(goal: &str, task: &Value, fields: Value) -> Value {
    let mut input = json!({ "goal": goal, "task": task });
    if let (Some(input), Value::Object(fields)) = (input.as_object_mut(), fields) {
        input.extend(fields);
    }
    input
}

/// A value as text for a model: a text as it is, anything else as JSON.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What an input asks in words: the `goal` of an object that has one.
pub(super) fn question(input: &Value) -> String {
    input.get("goal").map_or_else(|| text(input), text)
}

/// What those who have a reading come to, with those who have none as absent.
pub(super) fn tally(
    record: &Record,
    aggregation: &Aggregation,
    readings: &[(usize, Option<Reading>)],
) -> Result<Aggregated> {
    let said = readings.iter().filter_map(|(who, reading)| Some(record.opinion(*who, reading.as_ref()?)));
    let absent = readings.iter().filter(|(_, reading)| reading.is_none()).map(|(who, _)| record.weight(*who));
    let mut aggregation = aggregation.clone();
    aggregation.absent.extend(absent);
    aggregation.decide(&said.collect::<Vec<_>>())
}
