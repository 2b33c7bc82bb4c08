//! Experts with parts to play, whose answers become one.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    error::Result,
    workflow::{
        Aggregate, Aggregated, Aggregation, ExpertPanel, PanelOrder, PanelStrategy, Role, Stopped,
        patterns::{
            machine::{
                Ask, Batch, End, Next, Reads, Record, Said, Script, Spoken, Until, question, tally, text,
                told,
            },
            reading::Reading,
        },
    },
};

#[derive(Debug)]
pub(super) struct PanelScript {
    options: ExpertPanel,
    task: Value,
    /// Who answers, as places among the voices: the primary one first.
    experts: Vec<usize>,
    reviewers: Vec<usize>,
    coordinator: Option<usize>,
    /// What each expert said.
    answers: Vec<Option<Spoken>>,
    reviews: Vec<(usize, Spoken)>,
    at: At,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// How many experts were asked.
    Answers(usize),
    Reviews,
    Coordinator,
}

impl PanelScript {
    pub(super) fn new(options: ExpertPanel, task: Value) -> Self {
        let role = |who: &usize| options.members.get(*who).and_then(|member| member.role);
        let all = 0..options.members.len();
        let (reviewers, mut experts): (Vec<usize>, Vec<usize>) =
            all.partition(|who| role(who) == Some(Role::Reviewer));
        experts.sort_by_key(|who| role(who) != Some(Role::Primary));
        let primary = experts.first().copied().filter(|who| role(who) == Some(Role::Primary));
        let own = options.coordinator.as_ref().map(|_| options.members.len());
        let coordinator = own.or(primary).or_else(|| experts.first().copied());
        let answers = vec![None; experts.len()];
        Self {
            options,
            task,
            experts,
            reviewers,
            coordinator,
            answers,
            reviews: Vec::new(),
            at: At::Answers(0),
        }
    }

    fn one_by_one(&self) -> bool {
        self.options.order == PanelOrder::Sequential
            || self.options.strategy == PanelStrategy::SequentialBuild
    }

    fn ask_experts(&mut self, record: &Record, from: usize) -> Next {
        let to = if self.one_by_one() { from + 1 } else { self.experts.len() };
        let asks = (from..to).filter_map(|expert| {
            let who = *self.experts.get(expert)?;
            let (key, input) = (format!("1.{}", record.label(who)), self.expert_input(record, who));
            Some(Ask { key, who, round: 1, phase: "answer", input, reads: Reads::Position, place: expert })
        });
        let asks = asks.collect();
        self.at = At::Answers(to);
        Next::Ask(Batch { asks, until: Until::All })
    }

    fn expert_input(&self, record: &Record, who: usize) -> Value {
        let role = record.role(who).unwrap_or(Role::Specialist);
        let builds = self.options.strategy == PanelStrategy::SequentialBuild;
        let before = if self.one_by_one() { self.said(record) } else { Vec::new() };
        let goal = format!(
            "{}\n\nYour part on the panel: {}. {}\n{}{}\nIf a short answer is enough, end with the line `Position: ` and \
             that answer, and in any case with `Confidence: ` and how sure you are, from 0 to 1.",
            question(&self.task),
            role.name(),
            role.task(),
            lines("Said before you", &before),
            if builds && !before.is_empty() {
                "Build on the last answer, and give the whole of it.\n"
            } else {
                ""
            },
        );
        told(&goal, &self.task, json!({ "round": 1, "phase": "answer", "role": role, "said": before }))
    }

    fn said(&self, record: &Record) -> Vec<Value> {
        let answers = self.experts.iter().zip(&self.answers);
        let said = |(who, spoken): (&usize, &Option<Spoken>)| {
            let said = &spoken.as_ref()?.value;
            Some(json!({ "agent": record.label(*who), "role": record.role(*who), "said": said }))
        };
        answers.filter_map(said).collect()
    }

    fn ask_reviewers(&mut self, record: &Record) -> Next {
        self.at = At::Reviews;
        let said = self.said(record);
        let goal = format!(
            "{}\n\n{}\nScore each answer from 0 to 1, each on a line of its own: the name of who gave it, a colon and the \
             score. End with the line `Score: ` and your score of all of them together.",
            question(&self.task),
            lines("The answers of the panel", &said),
        );
        let ask = |(place, who): (usize, &usize)| Ask {
            key: format!("2.{}", record.label(*who)),
            who: *who,
            round: 2,
            phase: "review",
            input: told(&goal, &self.task, json!({ "round": 2, "phase": "review", "said": said })),
            reads: Reads::Position,
            place,
        };
        Next::Ask(Batch { asks: self.reviewers.iter().enumerate().map(ask).collect(), until: Until::All })
    }

    fn ask_coordinator(&mut self, record: &Record, who: usize) -> Next {
        self.at = At::Coordinator;
        let said = self.said(record);
        let reviews: Vec<Value> = self
            .reviews
            .iter()
            .map(|(who, spoken)| json!({ "agent": record.label(*who), "said": spoken.value }))
            .collect();
        let goal = format!(
            "{}\n\n{}{}\nMake one answer of what the panel says. End with the line `Confidence: ` and how sure you are, \
             from 0 to 1.",
            question(&self.task),
            lines("The answers of the panel", &said),
            lines("What the reviewers say", &reviews),
        );
        let fields = json!({ "round": 3, "phase": "coordination", "said": said, "reviews": reviews });
        let ask = Ask {
            key: format!("3.{}", record.label(who)),
            who,
            round: 3,
            phase: "coordination",
            input: told(&goal, &self.task, fields),
            reads: Reads::Position,
            place: 0,
        };
        Next::Ask(Batch { asks: vec![ask], until: Until::All })
    }

    /// All experts have answered or failed.
    fn after_answers(&mut self, record: &Record) -> Result<Next> {
        if self.answers.iter().all(Option::is_none) {
            return Err(record.nobody());
        }
        if !self.reviewers.is_empty() {
            return Ok(self.ask_reviewers(record));
        }
        self.after_reviews(record)
    }

    fn after_reviews(&mut self, record: &Record) -> Result<Next> {
        match (self.options.strategy, self.coordinator) {
            (PanelStrategy::Coordinator, Some(who)) => Ok(self.ask_coordinator(record, who)),
            _ => self.end(record, Stopped::Complete).map(Next::End),
        }
    }

    /// What the answers come to without a coordinator.
    fn end(&self, record: &Record, stopped: Stopped) -> Result<End> {
        let aggregation = |method| Aggregation::new(method).with_tie(self.options.tie);
        let counted = match self.options.strategy {
            PanelStrategy::Consensus | PanelStrategy::Coordinator => {
                let vote = tally(record, &aggregation(Aggregate::Vote), &self.readings())?;
                let share = vote.sides.first().map_or(0.0, |side| side.share);
                let agreed = vote.value.is_some() && share >= self.options.threshold - 1e-9;
                return Ok(End::counted(vote, agreed, if agreed { Stopped::Consensus } else { stopped }));
            }
            PanelStrategy::WeightedMerge => self.merged(record)?,
            PanelStrategy::SequentialBuild => return self.built(record, stopped),
            PanelStrategy::BestSolution => return self.best(record, stopped),
        };
        let score = self.mean_score(record);
        let mut end =
            End::counted(counted, score.is_none_or(|it| it >= self.options.threshold - 1e-9), stopped);
        end.confidence = score.unwrap_or(end.confidence);
        Ok(end)
    }

    /// The readings of the experts, whole answers in place of positions where `whole` is asked for.
    fn readings(&self) -> Vec<(usize, Option<Reading>)> {
        let reading = |spoken: &Option<Spoken>| spoken.as_ref().map(|spoken| spoken.reading.clone());
        self.experts.iter().copied().zip(self.answers.iter().map(reading)).collect()
    }

    /// Those with more weight first.
    fn merged(&self, record: &Record) -> Result<Aggregated> {
        let mut readings: Vec<(usize, Option<Reading>)> = self.readings();
        for ((_, reading), spoken) in readings.iter_mut().zip(&self.answers) {
            if let (Some(reading), Some(spoken)) = (reading, spoken) {
                reading.position = spoken.value.clone();
            }
        }
        readings.sort_by(|(a, _), (b, _)| record.weight(*b).total_cmp(&record.weight(*a)));
        tally(record, &Aggregation::new(Aggregate::Merge), &readings)
    }

    fn built(&self, record: &Record, stopped: Stopped) -> Result<End> {
        let last = self.answers.iter().rev().flatten().next().ok_or_else(|| record.nobody())?;
        let score = self.mean_score(record).or(last.reading.confidence);
        let agreed = score.is_none_or(|it| it >= self.options.threshold - 1e-9);
        Ok(End::of(last.value.clone(), agreed, score.unwrap_or(1.0), stopped))
    }

    /// The answer with the best score; without a reviewer that scored it, by its own confidence and weight.
    fn best(&self, record: &Record, stopped: Stopped) -> Result<End> {
        let scores = self.scores(record);
        let heaviest = self.experts.iter().map(|who| record.weight(*who)).fold(0.0, f64::max);
        let mut readings = self.readings();
        for (who, reading) in &mut readings {
            let Some(reading) = reading else { continue };
            let own = || {
                let weight = if heaviest > 0.0 { record.weight(*who) / heaviest } else { 0.0 };
                reading.confidence.map(|confidence| confidence * weight)
            };
            reading.score =
                if self.reviews.is_empty() { own() } else { scores.get(record.label(*who)).copied() };
            // A confidence of its own would stand in for a score that no reviewer gave.
            if !self.reviews.is_empty() && reading.score.is_none() {
                reading.confidence = None;
            }
        }
        let tally = tally(record, &Aggregation::new(Aggregate::Best).with_tie(self.options.tie), &readings)?;
        let score = readings.iter().filter_map(|(_, it)| it.as_ref()?.score).fold(0.0, f64::max);
        let value = tally.value.clone();
        let agreed = value.is_some() && score >= self.options.threshold - 1e-9;
        let mut end = End::counted(tally, agreed, stopped);
        end.confidence = if value.is_some() { score } else { 0.0 };
        Ok(end)
    }

    /// The mean score that reviewers gave each expert, by their weight.
    fn scores(&self, record: &Record) -> BTreeMap<String, f64> {
        let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for (who, spoken) in &self.reviews {
            let weight = record.weight(*who);
            for (name, score) in &spoken.reading.scores {
                let labels = self.experts.iter().map(|expert| record.label(*expert));
                let Some(label) = labels.into_iter().find(|label| label.eq_ignore_ascii_case(name)) else {
                    continue;
                };
                let sum = sums.entry(label.to_owned()).or_default();
                *sum = (sum.0 + score * weight, sum.1 + weight);
            }
        }
        sums.into_iter()
            .filter(|(_, (_, weight))| *weight > 0.0)
            .map(|(it, (sum, weight))| (it, sum / weight))
            .collect()
    }

    /// What the reviewers think of the answers as a whole, by their weight.
    fn mean_score(&self, record: &Record) -> Option<f64> {
        let scored = || {
            self.reviews.iter().filter_map(|(who, spoken)| Some((spoken.reading.score?, record.weight(*who))))
        };
        let weight: f64 = scored().map(|(_, weight)| weight).sum();
        (weight > 0.0).then(|| scored().map(|(score, its)| score * its).sum::<f64>() / weight)
    }

    fn coordinated(&self, record: &Record, said: Vec<Said>) -> Result<Next> {
        let Some(spoken) = said.into_iter().find_map(|turn| turn.outcome.ok()) else {
            // A coordinator that failed leaves it to the votes.
            return self.end(record, Stopped::TooFew).map(Next::End);
        };
        let sure = spoken.reading.confidence.or_else(|| self.mean_score(record));
        let agreed = sure.is_none_or(|sure| sure >= self.options.threshold - 1e-9);
        let mut end = End::of(spoken.value, agreed, sure.unwrap_or(1.0), Stopped::Judged);
        end.tally = Some(Box::new(tally(record, &Aggregation::new(Aggregate::Vote), &self.readings())?));
        Ok(Next::End(end))
    }
}

impl Script for PanelScript {
    fn next(&mut self, record: &Record, said: Vec<Said>) -> Result<Next> {
        match self.at {
            At::Answers(asked) => {
                for turn in said {
                    if let Some(answer) = self.answers.get_mut(turn.place) {
                        *answer = turn.outcome.ok();
                    }
                }
                if asked < self.experts.len() {
                    return Ok(self.ask_experts(record, asked));
                }
                self.after_answers(record)
            }
            At::Reviews => {
                let reviews = said.into_iter().filter_map(|turn| Some((turn.who, turn.outcome.ok()?)));
                self.reviews = reviews.collect();
                self.after_reviews(record)
            }
            At::Coordinator => self.coordinated(record, said),
        }
    }

    fn cut(&mut self, record: &Record) -> Result<End> {
        if self.answers.iter().all(Option::is_none) {
            return Err(record.nobody());
        }
        self.end(record, Stopped::Tokens)
    }
}

fn lines(title: &str, said: &[Value]) -> String {
    if said.is_empty() {
        return String::new();
    }
    let line = |it: &Value| format!("- {}: {}\n", field(it, "agent"), field(it, "said"));
    format!("{title}:\n{}", said.iter().map(line).collect::<String>())
}

fn field(said: &Value, name: &str) -> String {
    said.get(name).map(text).unwrap_or_default()
}
