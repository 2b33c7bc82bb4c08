//! Sides that answer each other, turn by turn, until they agree, a judge decides or the rounds are used up.

use serde_json::{Value, json};

use crate::{
    error::Result,
    workflow::{
        Aggregate, Aggregated, Aggregation, Consensus, Debate, DebateFormat, Role, Stopped,
        patterns::{
            machine::{
                Ask, Batch, End, Next, Reads, Record, Said, Script, Until, question, tally, text, told,
            },
            reading::Reading,
        },
    },
};

/// A side needs more than this of the whole for a majority.
const HALF: f64 = 0.5 + 1e-9;
/// The place of a turn that asks a question.
const ASKS: usize = usize::MAX;

#[derive(Debug)]
pub(super) struct DebateScript {
    options: Debate,
    topic: Value,
    /// The sides, as places among the voices.
    sides: Vec<usize>,
    judge: Option<usize>,
    at: At,
    /// What each side stands for now, by its place among `sides`.
    positions: Vec<Option<Reading>>,
    /// Everything that was said.
    lines: Vec<Line>,
    /// What was said in the turn that is under way.
    spoke: usize,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// Who speaks next: a round and a turn, both from 1, and how many batches of the turn were asked.
    Turn { round: u32, turn: u32, part: usize },
    /// The judge was asked.
    Judge { round: u32, last: bool },
}

#[derive(Debug)]
struct Line {
    agent: String,
    role: Option<Role>,
    round: u32,
    said: Value,
}

impl DebateScript {
    pub(super) fn new(options: Debate, topic: Value) -> Self {
        let moderates = |place: &usize| {
            options.members.get(*place).is_some_and(|member| member.role == Some(Role::Moderator))
        };
        let all = 0..options.members.len();
        let moderator = all.clone().find(moderates);
        let sides: Vec<usize> = all.filter(|place| !moderates(place)).collect();
        let judge = options.judge.as_ref().map(|_| options.members.len()).or(moderator);
        let positions = vec![None; sides.len()];
        let at = At::Turn { round: 1, turn: 1, part: 0 };
        Self { options, topic, sides, judge, at, positions, lines: Vec::new(), spoke: 0 }
    }

    fn consensus(&self) -> Consensus {
        let by_default = if self.judge.is_some() { Consensus::Moderator } else { Consensus::Majority };
        self.options.consensus.unwrap_or(by_default)
    }

    /// Who speaks in each part of a turn, as places among the sides, and what for.
    fn parts(&self, turn: u32) -> (Vec<Vec<usize>>, &'static str) {
        let all: Vec<usize> = (0..self.sides.len()).collect();
        let one_by_one = || all.iter().map(|side| vec![*side]).collect();
        match self.options.format {
            DebateFormat::RoundRobin => (one_by_one(), "argument"),
            DebateFormat::FreeForm => (vec![all], "argument"),
            DebateFormat::Structured if turn == 1 => (vec![all], "opening"),
            DebateFormat::Structured if turn == self.options.turns => (one_by_one(), "closing"),
            DebateFormat::Structured => (one_by_one(), "rebuttal"),
            DebateFormat::Socratic => {
                let critic = |side: &usize| {
                    let member = self.sides.get(*side).and_then(|who| self.options.members.get(*who));
                    member.is_some_and(|member| member.role == Some(Role::Critic))
                };
                let asks = all.iter().copied().find(critic).unwrap_or(0);
                (vec![vec![asks], all], "answer")
            }
        }
    }

    fn hear(&mut self, record: &Record, said: Vec<Said>) {
        let round = match self.at {
            At::Turn { round, .. } | At::Judge { round, .. } => round,
        };
        for turn in said {
            let Ok(spoken) = turn.outcome else { continue };
            let Some(side) = self.sides.iter().position(|who| *who == turn.who) else { continue };
            self.spoke += 1;
            let (agent, role) = (record.label(turn.who).to_owned(), record.role(turn.who));
            self.lines.push(Line { agent, role, round, said: spoken.value });
            // A question is no position.
            if turn.place != ASKS
                && let Some(position) = self.positions.get_mut(side)
            {
                *position = Some(spoken.reading);
            }
        }
    }

    fn counted(&self, record: &Record, method: Aggregate) -> Result<Aggregated> {
        let readings: Vec<_> = self.sides.iter().copied().zip(self.positions.iter().cloned()).collect();
        tally(record, &Aggregation::new(method).with_tie(self.options.tie), &readings)
    }

    /// What they agree to, if they do.
    fn agreement(&self, record: &Record) -> Result<Option<Aggregated>> {
        let method = match self.consensus() {
            Consensus::Moderator => return Ok(None),
            Consensus::Majority => Aggregate::Majority,
            Consensus::Unanimous => Aggregate::Consensus,
            Consensus::WeightedVote | Consensus::Confidence => Aggregate::Vote,
        };
        let counted = self.counted(record, method)?;
        let agrees = counted.value.is_some()
            && match self.consensus() {
                Consensus::WeightedVote => counted.sides.first().is_some_and(|side| side.share > HALF),
                Consensus::Confidence => self.sureness(record, &counted) >= self.options.confidence - 1e-9,
                _ => true,
            };
        Ok(agrees.then_some(counted))
    }

    /// The confidence of those who say the same, by weight; one that did not say how sure it is counts for nothing.
    fn sureness(&self, record: &Record, counted: &Aggregated) -> f64 {
        let with = |agent: &str| !counted.dissent.iter().any(|it| it.agent == agent);
        let voices = self.sides.iter().zip(&self.positions);
        let (mut sure, mut whole) = (0.0, 0.0);
        for (who, position) in voices {
            let weight = record.weight(*who);
            whole += weight;
            if with(record.label(*who)) {
                sure += weight * position.as_ref().and_then(|it| it.confidence).unwrap_or(0.0);
            }
        }
        if whole > 0.0 { sure / whole } else { 0.0 }
    }

    fn ask_part(&self, record: &Record, round: u32, turn: u32, part: &[usize], phase: &'static str) -> Batch {
        let asking = phase == "question";
        let ask = |side: &usize| {
            let who = self.sides.get(*side).copied().unwrap_or_default();
            Ask {
                key: format!("{round}.{turn}.{}{}", record.label(who), if asking { ".question" } else { "" }),
                who,
                round,
                phase,
                input: self.input(record, who, round, turn, phase),
                reads: Reads::Position,
                place: if asking { ASKS } else { *side },
            }
        };
        Batch { asks: part.iter().map(ask).collect(), until: Until::All }
    }

    fn input(&self, record: &Record, who: usize, round: u32, turn: u32, phase: &str) -> Value {
        let (rounds, turns) = (self.options.rounds, self.options.turns);
        let role = record.role(who).unwrap_or(Role::Neutral);
        let goal = format!(
            "You take part in a debate: round {round} of at most {rounds}, turn {turn} of {turns}, {phase}.\n\
             Topic: {}\nYour part: {}. {}\n\n{}{}",
            question(&self.topic),
            role.name(),
            role.task(),
            self.transcript(),
            match phase {
                "question" => "Ask the one question whose answer would settle most.",
                _ =>
                    "Answer what the others said, and change your position when they are right.\n\
                      End with the lines `Position: ` and your answer in a few words, and `Confidence: ` and how sure \
                      you are, from 0 to 1.",
            }
        );
        let fields = json!({
            "round": round, "rounds": rounds, "turn": turn, "turns": turns, "phase": phase,
            "role": role, "said": self.said(),
        });
        told(&goal, &self.topic, fields)
    }

    fn ask_judge(&mut self, record: &Record, who: usize, round: u32, last: bool) -> Batch {
        self.at = At::Judge { round, last };
        let goal = format!(
            "You judge a debate after round {round} of at most {}.\nTopic: {}\n\n{}{}\nEnd with the lines `Position: ` \
             and the answer in a few words, and `Confidence: ` and how sure you are, from 0 to 1.",
            self.options.rounds,
            question(&self.topic),
            self.transcript(),
            if last {
                "Decide it now."
            } else {
                "Decide it if it can be decided; if it has to go on, say so with the line `Decided: no`."
            }
        );
        let fields = json!({ "round": round, "phase": "verdict", "last": last, "said": self.said() });
        let ask = Ask {
            key: format!("{round}.verdict.{}", record.label(who)),
            who,
            round,
            phase: "verdict",
            input: told(&goal, &self.topic, fields),
            reads: Reads::Position,
            place: 0,
        };
        Batch { asks: vec![ask], until: Until::All }
    }

    fn transcript(&self) -> String {
        if self.lines.is_empty() {
            return String::new();
        }
        let line = |line: &Line| {
            let role = line.role.map(|role| format!(" ({})", role.name())).unwrap_or_default();
            format!("{}{role}, round {}: {}\n", line.agent, line.round, text(&line.said))
        };
        format!("Said so far:\n{}\n", self.lines.iter().map(line).collect::<String>())
    }

    fn said(&self) -> Vec<Value> {
        let line = |line: &Line| json!({ "agent": line.agent, "role": line.role, "round": line.round, "said": line.said });
        self.lines.iter().map(line).collect()
    }

    /// After the judge: what it decided, or that it goes on.
    fn judged(&mut self, record: &Record, said: Vec<Said>, round: u32, last: bool) -> Result<Next> {
        let verdict = said.into_iter().find_map(|turn| turn.outcome.ok());
        match verdict {
            Some(spoken) if last || spoken.reading.decided != Some(false) => {
                let tally = self.counted(record, Aggregate::Vote)?;
                let confidence = spoken.reading.confidence.unwrap_or(tally.confidence);
                let mut end = End::of(spoken.reading.position, true, confidence, Stopped::Judged);
                end.tally = Some(Box::new(tally));
                Ok(Next::End(end))
            }
            // A judge that failed leaves it to the votes.
            _ if last => self.over(record, Stopped::Rounds).map(Next::End),
            _ => Ok(self.go_on(record, round + 1, 1)),
        }
    }

    fn go_on(&mut self, record: &Record, round: u32, turn: u32) -> Next {
        self.spoke = 0;
        self.at = At::Turn { round, turn, part: 0 };
        self.ask_next(record, round, turn, 0)
    }

    fn ask_next(&mut self, record: &Record, round: u32, turn: u32, part: usize) -> Next {
        let (parts, phase) = self.parts(turn);
        let first = self.options.format == DebateFormat::Socratic && part == 0;
        let phase = if first { "question" } else { phase };
        let asked = parts.get(part).map(Vec::as_slice).unwrap_or_default();
        self.at = At::Turn { round, turn, part: part + 1 };
        Next::Ask(self.ask_part(record, round, turn, asked, phase))
    }

    /// The end of a turn of all sides.
    fn after_turn(&mut self, record: &Record, round: u32, turn: u32) -> Result<Next> {
        if self.positions.iter().flatten().count() < 2 || self.spoke == 0 {
            return self.over(record, Stopped::TooFew).map(Next::End);
        }
        let last_turn = turn >= self.options.turns;
        let last = last_turn && round >= self.options.rounds;
        if (self.options.early_stop || last)
            && let Some(agreed) = self.agreement(record)?
        {
            let sure = self.sureness(record, &agreed);
            let mut end = End::counted(agreed, true, Stopped::Consensus);
            if self.consensus() == Consensus::Confidence {
                end.confidence = sure;
            }
            return Ok(Next::End(end));
        }
        match self.judge {
            Some(judge) if last => Ok(Next::Ask(self.ask_judge(record, judge, round, true))),
            Some(judge)
                if last_turn && self.options.early_stop && self.consensus() == Consensus::Moderator =>
            {
                Ok(Next::Ask(self.ask_judge(record, judge, round, false)))
            }
            _ if last => self.over(record, Stopped::Rounds).map(Next::End),
            _ if last_turn => Ok(self.go_on(record, round + 1, 1)),
            _ => Ok(self.go_on(record, round, turn + 1)),
        }
    }

    /// It ends without agreement: what the most weight is behind, where nothing stands level with it.
    fn over(&self, record: &Record, stopped: Stopped) -> Result<End> {
        if self.positions.iter().all(Option::is_none) {
            return Err(record.nobody());
        }
        Ok(End::counted(self.counted(record, Aggregate::Vote)?, false, stopped))
    }
}

impl Script for DebateScript {
    fn next(&mut self, record: &Record, said: Vec<Said>) -> Result<Next> {
        match self.at {
            At::Judge { round, last } => self.judged(record, said, round, last),
            At::Turn { round, turn, part } => {
                self.hear(record, said);
                if part < self.parts(turn).0.len() {
                    return Ok(self.ask_next(record, round, turn, part));
                }
                self.after_turn(record, round, turn)
            }
        }
    }

    fn cut(&mut self, record: &Record) -> Result<End> {
        self.over(record, Stopped::Tokens)
    }
}
