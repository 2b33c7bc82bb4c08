//! An answer that is written, checked, and written again: verification and reflection.

use serde_json::{Value, json};

use crate::{
    error::{Error, ErrorKind, Result},
    workflow::{
        Reflection, Stopped, Verdict, Verification, VerificationLevel,
        patterns::{
            machine::{Ask, Batch, End, Next, Reads, Record, Said, Script, Until, question, text, told},
            reading::Reading,
        },
    },
};

#[derive(Debug)]
pub(super) struct ReviseScript {
    task: Value,
    /// Who writes; nobody where the input itself is checked.
    author: Option<usize>,
    /// Who checks.
    checkers: Vec<usize>,
    /// What is looked for.
    looks_for: &'static str,
    iterations: u32,
    threshold: f64,
    all_required: bool,
    /// Whether an approval with notes is none.
    strict: bool,
    at: At,
    iteration: u32,
    draft: Option<Value>,
    /// The draft with the best score so far.
    best: Option<(f64, Value)>,
    notes: Vec<Value>,
    last: Option<Verdict>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Begin,
    Draft,
    Check,
}

/// What the checks of one draft come to.
struct Checked {
    verdict: Verdict,
    score: f64,
}

impl ReviseScript {
    pub(super) fn verification(options: &Verification, task: Value) -> Self {
        let checkers: Vec<usize> = (0..options.verifiers.len()).collect();
        let critical = options.level == VerificationLevel::Critical;
        Self {
            author: options.author.as_ref().map(|_| checkers.len()),
            checkers,
            looks_for: looks_for(options.level),
            iterations: options.iterations,
            threshold: options.threshold,
            all_required: options.all_required || critical,
            strict: critical,
            ..Self::new(task)
        }
    }

    pub(super) fn reflection(options: &Reflection, task: Value) -> Self {
        Self {
            author: Some(0),
            checkers: vec![usize::from(options.critic.is_some())],
            looks_for: "Look for what is wrong, what is missing, and what could be said better.",
            iterations: options.rounds,
            threshold: options.threshold,
            ..Self::new(task)
        }
    }

    fn new(task: Value) -> Self {
        Self {
            task,
            author: None,
            checkers: Vec::new(),
            looks_for: "",
            iterations: 1,
            threshold: 0.0,
            all_required: true,
            strict: false,
            at: At::Begin,
            iteration: 1,
            draft: None,
            best: None,
            notes: Vec::new(),
            last: None,
        }
    }

    fn ask_draft(&mut self, record: &Record, who: usize) -> Next {
        self.at = At::Draft;
        let goal = match &self.draft {
            None => question(&self.task),
            Some(draft) => format!(
                "{}\n\nYour answer so far:\n{}\n\nWhat was said of it:\n{}\nWrite the answer again, with all of this in mind.",
                question(&self.task),
                text(draft),
                self.notes.iter().map(|note| format!("- {}\n", text(note))).collect::<String>(),
            ),
        };
        let fields = json!({ "round": self.iteration, "draft": self.draft, "notes": self.notes });
        let input = match &self.draft {
            None => self.task.clone(),
            Some(_) => told(&goal, &self.task, fields),
        };
        let key = format!("{}.draft.{}", self.iteration, record.label(who));
        let (round, reads) = (self.iteration, Reads::Plain);
        let ask = Ask { key, who, round, phase: "draft", input, reads, place: 0 };
        Next::Ask(Batch { asks: vec![ask], until: Until::All })
    }

    fn ask_checks(&mut self, record: &Record) -> Next {
        self.at = At::Check;
        let draft = self.draft.clone().unwrap_or_default();
        let asked = match self.author {
            Some(_) => format!("What was asked: {}\n\n", question(&self.task)),
            None => String::new(),
        };
        let goal = format!(
            "Check this answer.\n{asked}The answer:\n{}\n\n{}\nSay what is wrong with it. End with the lines `Verdict: ` \
             and one of approve, approve with notes, request revision, reject or escalate, and `Score: ` and how good \
             it is, from 0 to 1.",
            text(&draft),
            self.looks_for,
        );
        let fields = json!({ "round": self.iteration, "draft": draft, "phase": "check" });
        let ask = |who: &usize| Ask {
            key: format!("{}.check.{}", self.iteration, record.label(*who)),
            who: *who,
            round: self.iteration,
            phase: "check",
            input: told(&goal, &self.task, fields.clone()),
            reads: Reads::Verdict,
            place: *who,
        };
        Next::Ask(Batch { asks: self.checkers.iter().map(ask).collect(), until: Until::All })
    }

    /// What one verifier says; a score alone says whether it passes, and one that is too low is no approval.
    fn verdict(&self, reading: &Reading) -> Option<Verdict> {
        let passes = reading.score.is_none_or(|score| score >= self.threshold);
        let verdict = match (reading.verdict, reading.score) {
            (Some(verdict), _) => verdict,
            (None, Some(_)) => Verdict::Approve,
            (None, None) => return None,
        };
        Some(match verdict {
            Verdict::Approve | Verdict::ApproveWithNotes if !passes => Verdict::RequestRevision,
            Verdict::ApproveWithNotes if self.strict => Verdict::RequestRevision,
            verdict => verdict,
        })
    }

    fn check(&mut self, record: &Record, said: &[Said]) -> Checked {
        self.notes.clear();
        let (mut verdicts, mut scores) = (Vec::new(), Vec::new());
        for turn in said {
            let Ok(spoken) = &turn.outcome else { continue };
            self.notes.push(json!({ "from": record.label(turn.who), "said": spoken.value }));
            scores.extend(spoken.reading.score.map(|score| (score, record.weight(turn.who))));
            verdicts.extend(self.verdict(&spoken.reading).map(|verdict| (verdict, record.weight(turn.who))));
        }
        let whole: f64 = self.checkers.iter().map(|who| record.weight(*who)).sum();
        let strictest = verdicts.iter().map(|(verdict, _)| *verdict).max();
        let all = verdicts.len() == self.checkers.len();
        let weight_of = |wanted: &dyn Fn(Verdict) -> bool| -> f64 {
            verdicts.iter().filter(|(verdict, _)| wanted(*verdict)).map(|(_, weight)| *weight).sum()
        };
        let verdict = match strictest {
            // One that is required said nothing that counts, so that nobody but a person can let it pass.
            None => Verdict::Escalate,
            Some(verdict) if self.all_required && !all && verdict <= Verdict::ApproveWithNotes => {
                Verdict::Escalate
            }
            Some(verdict) if self.all_required => verdict,
            Some(_) => {
                let over_half = |weight: f64| weight > whole / 2.0 * (1.0 + 1e-9);
                let steps = [
                    Verdict::Approve,
                    Verdict::ApproveWithNotes,
                    Verdict::RequestRevision,
                    Verdict::Escalate,
                    Verdict::Reject,
                ];
                // The mildest that more than half of the weight is content with.
                let found = steps.into_iter().find(|step| over_half(weight_of(&|it| it <= *step)));
                found.unwrap_or(Verdict::Escalate)
            }
        };
        let weight: f64 = scores.iter().map(|(_, weight)| weight).sum();
        let score = if weight > 0.0 {
            scores.iter().map(|(score, its)| score * its).sum::<f64>() / weight
        } else {
            weight_of(&|it| it <= Verdict::ApproveWithNotes) / if whole > 0.0 { whole } else { 1.0 }
        };
        Checked { verdict, score }
    }

    fn after_check(&mut self, record: &Record, said: &[Said]) -> Result<Next> {
        let Checked { verdict, score } = self.check(record, said);
        let draft = self.draft.clone().unwrap_or_default();
        if self.best.as_ref().is_none_or(|(best, _)| score >= *best) {
            self.best = Some((score, draft.clone()));
        }
        self.last = Some(verdict);
        let stopped = match verdict {
            Verdict::Approve | Verdict::ApproveWithNotes => Stopped::Approved,
            Verdict::Reject => Stopped::Rejected,
            Verdict::Escalate => Stopped::Escalated,
            Verdict::RequestRevision => match self.author {
                Some(author) if self.iteration < self.iterations => {
                    self.iteration += 1;
                    return Ok(self.ask_draft(record, author));
                }
                _ => return self.over(record, Stopped::Rounds).map(Next::End),
            },
        };
        let mut end = End::of(draft, stopped == Stopped::Approved, score, stopped);
        end.verdict = Some(verdict);
        Ok(Next::End(end))
    }

    /// It ends without having passed: with the best draft that there was.
    fn over(&self, record: &Record, stopped: Stopped) -> Result<End> {
        let best = self.best.clone().or_else(|| self.draft.clone().map(|draft| (0.0, draft)));
        let (score, answer) = best.ok_or_else(|| record.nobody())?;
        let mut end = End::of(answer, false, score, stopped);
        end.verdict = self.last;
        Ok(end)
    }
}

impl Script for ReviseScript {
    fn next(&mut self, record: &Record, said: Vec<Said>) -> Result<Next> {
        match (self.at, self.author) {
            (At::Begin, Some(author)) => Ok(self.ask_draft(record, author)),
            (At::Begin, None) => {
                self.draft = Some(self.task.clone());
                Ok(self.ask_checks(record))
            }
            (At::Draft, _) => match said.into_iter().next().map(|turn| turn.outcome) {
                Some(Ok(spoken)) => {
                    self.draft = Some(spoken.value);
                    Ok(self.ask_checks(record))
                }
                // A first draft that is not there leaves nothing; a later one leaves the best before.
                Some(Err(_)) if self.draft.is_some() => self.over(record, Stopped::TooFew).map(Next::End),
                Some(Err(error)) => Err(error),
                None => Err(Error::new(ErrorKind::Internal, "pattern.run", "a draft was not told")),
            },
            (At::Check, _) => self.after_check(record, &said),
        }
    }

    fn cut(&mut self, record: &Record) -> Result<End> {
        self.over(record, Stopped::Tokens)
    }
}

const fn looks_for(level: VerificationLevel) -> &'static str {
    match level {
        VerificationLevel::Basic => {
            "Look for whether it answers what was asked, in the form that was asked for."
        }
        VerificationLevel::Standard => {
            "Look for whether it answers what was asked, in the form that was asked for, and is right and whole."
        }
        VerificationLevel::Thorough => {
            "Look for whether it answers what was asked, in the form that was asked for, is right and whole, \
             contradicts itself, what it rests on, and what it leaves out."
        }
        VerificationLevel::Critical => {
            "Take it to be wrong until you are shown that it is right. Look for whether it answers what was asked, in \
             the form that was asked for, is right and whole, contradicts itself, what it rests on, what it leaves \
             out, and what harm it could do."
        }
    }
}
