//! `RunState`: what a run looked like at any of its entries, step by step.

use std::{sync::Arc, time::Duration};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result},
    journal::{Entry, Fact, Journals, Question, Summary, shared::PAGE},
    runtime::Context,
    types::{Currency, Money, RunId, Timestamp, Usage},
};

/// A run and its steps: a pure fold over its entries.
///
/// ```
/// use raptorflow_core::journal::{Entry, Fact, RunState, StepStatus};
/// use raptorflow_core::types::Timestamp;
/// let fact = Fact::StepCompleted { value: 2.into(), took: Some(1_500) };
/// let entry = Entry { sequence: 0, time: Timestamp::from_micros(2_000), path: "sum/add".into(), fact };
/// let state = RunState::of(&[entry]);
/// assert_eq!((state.steps[0].status, state.steps[0].started.as_micros()), (StepStatus::Completed, 500));
/// let outline: Vec<_> = state.outline().iter().map(|node| (node.depth, node.name.to_string())).collect();
/// assert_eq!(outline, [(0, "sum".to_owned()), (1, "add".to_owned())]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// The run in short.
    pub summary: Summary,
    /// What the run was given.
    #[serde(default)]
    pub input: Value,
    /// Every path at which something happened, the top of the run left out, in the order of their first entries.
    pub steps: Vec<StepState>,
    /// Questions that nobody has answered.
    #[serde(default)]
    pub questions: Vec<QuestionState>,
    /// Timers that were set and have not fired.
    pub timers: Vec<TimerState>,
    /// Signals that were given.
    pub signals: Vec<SignalState>,
    /// Runs that were begun as parts of this one.
    pub children: Vec<ChildState>,
    /// The run that the first entries are from, and how many they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<(RunId, u64)>,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Something of it was recorded, and no end.
    #[default]
    Running,
    /// It waits for a person, a point in time or a child run.
    Waiting,
    /// It ended with a value, or its agent answered.
    Completed,
    /// It ended with an error.
    Failed,
    /// The run ended without it.
    Stopped,
}

/// One path of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepState {
    /// The place inside the run, steps joined with `/`.
    pub path: Arc<str>,
    /// How far it is.
    pub status: StepStatus,
    /// When it began, as far as its entries say.
    pub started: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// How long it took, from its beginning to its end or to its last entry.
    pub took: Duration,
    /// Which attempt it is at, from 1.
    pub attempts: u32,
    /// What was spent at this path, without what is below it.
    pub spent: Spent,
    /// The value that was recorded when it completed; what an agent answered stands in its entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Why it failed, or why it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

/// What calls of models and tools came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Tokens of all model calls.
    pub usage: Usage,
    /// What they cost, and calls of tools that say so; zero dollars before the first, `None` once one had no known price or when currencies differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Money>,
    /// How often a model answered.
    pub model_calls: u64,
    /// How often a tool answered.
    pub tool_calls: u64,
}

/// A question that waits for its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuestionState {
    /// Where; the name of the signal that answers it.
    pub path: Arc<str>,
    /// What is asked.
    pub question: Question,
    /// Since when.
    pub since: Timestamp,
}

/// A timer that was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerState {
    /// Where.
    pub path: Arc<str>,
    /// When it fires.
    pub due: Timestamp,
}

/// A signal that was given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignalState {
    /// What it answers.
    pub name: Arc<str>,
    /// The answer.
    pub value: Value,
    /// Who gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Arc<str>>,
    /// When.
    pub time: Timestamp,
}

/// A run that is a part of this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildState {
    /// Where it was begun.
    pub path: Arc<str>,
    /// The run.
    pub run: RunId,
    /// What it runs.
    pub target: Arc<str>,
}

/// One line of the tree of a run's steps; see [`RunState::outline`].
#[derive(Clone, Debug, PartialEq)]
pub struct OutlineNode<'a> {
    /// How many steps are above it.
    pub depth: usize,
    /// The last part of its path.
    pub name: &'a str,
    /// Its path.
    pub path: &'a str,
    /// The step; `None` when something happened only below it.
    pub step: Option<&'a StepState>,
    /// What was spent at it and below it.
    pub spent: Spent,
    /// When the first of it and what is below it began.
    pub started: Timestamp,
    /// When the last of them ended, or had its last entry.
    pub last: Timestamp,
}

impl Default for Spent {
    fn default() -> Self {
        Self {
            usage: Usage::default(),
            cost: Some(Money::new(0, Currency::USD)),
            model_calls: 0,
            tool_calls: 0,
        }
    }
}

impl Spent {
    /// Whether nothing was called that may cost something.
    fn is_free(&self) -> bool {
        self.model_calls == 0 && self.cost.is_some_and(|cost| cost.micros == 0)
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            usage: self.usage.plus(other.usage),
            // The zero before the first call has no currency of its own.
            cost: match (self.cost, other.cost) {
                (cost, _) if other.is_free() => cost,
                (_, cost) if self.is_free() => cost,
                (Some(left), Some(right)) => left.plus(right).ok(),
                _ => None,
            },
            model_calls: self.model_calls.saturating_add(other.model_calls),
            tool_calls: self.tool_calls.saturating_add(other.tool_calls),
        }
    }
}

impl RunState {
    /// The fold over entries in their order.
    #[must_use]
    pub fn of(entries: &[Entry]) -> Self {
        let mut fold = Fold::default();
        entries.iter().for_each(|entry| fold.apply(entry));
        fold.end()
    }

    /// The steps as the lines of a tree, each above what is below it, in the order of their first entries.
    ///
    /// Steps that only hold others appear too, so that every line has its parent above it.
    #[must_use]
    pub fn outline(&self) -> Vec<OutlineNode<'_>> {
        let mut nodes = IndexMap::<&str, OutlineNode<'_>>::new();
        let mut below = IndexMap::<&str, Vec<&str>>::new();
        for step in &self.steps {
            for path in with_parents(&step.path) {
                let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
                let last = step.started.plus(step.took);
                let node = nodes.entry(path).or_insert_with(|| {
                    below.entry(parent).or_default().push(path);
                    let depth = path.matches('/').count();
                    OutlineNode {
                        depth,
                        name,
                        path,
                        step: None,
                        spent: Spent::default(),
                        started: step.started,
                        last,
                    }
                });
                node.spent = node.spent.plus(step.spent);
                node.started = node.started.min(step.started);
                node.last = node.last.max(last);
                if *path == *step.path {
                    node.step = Some(step);
                }
            }
        }
        let mut lines = Vec::with_capacity(nodes.len());
        let mut open: Vec<&str> = below.get("").into_iter().flatten().rev().copied().collect();
        while let Some(path) = open.pop() {
            lines.extend(nodes.get(path).cloned());
            open.extend(below.get(path).into_iter().flatten().rev());
        }
        lines
    }
}

impl Journals {
    /// What a run looked like before its entry `at`, or looks like now.
    ///
    /// # Errors
    /// `NotFound` when there is no such run; `InvalidInput` with `at` and `length` when `at` is beyond its end; otherwise
    /// as [`Journals::read`].
    pub async fn state(&self, ctx: &Context, run: RunId, at: Option<u64>) -> Result<RunState> {
        let (mut fold, mut length) = (Fold::default(), 0);
        let end = at.unwrap_or(u64::MAX);
        while length < end {
            let limit = usize::try_from(end - length).unwrap_or(PAGE).min(PAGE);
            let page = self.read(ctx, run, length, limit).await?;
            page.iter().for_each(|entry| fold.apply(entry));
            length += page.len() as u64;
            if page.len() < limit {
                break;
            }
        }
        if length == 0 && self.0.length(ctx, run).await? == 0 {
            return Err(
                Error::new(ErrorKind::NotFound, "journal.state", "there is no such run").with("run", run)
            );
        }
        match at {
            Some(at) if at > length => {
                let message = "expected a number of entries up to the length of the run";
                Err(Error::new(ErrorKind::InvalidInput, "journal.state", message)
                    .with("run", run)
                    .with("at", at)
                    .with("length", length))
            }
            _ => Ok(fold.end()),
        }
    }
}

/// A state that is not finished, with its steps and timers by their paths.
#[derive(Default)]
struct Fold {
    state: RunState,
    steps: IndexMap<Arc<str>, StepState>,
    questions: IndexMap<Arc<str>, QuestionState>,
    timers: IndexMap<Arc<str>, Timestamp>,
}

impl Fold {
    fn apply(&mut self, entry: &Entry) {
        self.state.summary.apply(entry);
        match &entry.fact {
            Fact::ExecutionStarted { input, .. } => self.state.input.clone_from(input),
            Fact::ExecutionForked { from, at } => self.state.forked_from = Some((*from, *at)),
            Fact::QuestionAsked { question } => {
                let path = Arc::clone(&entry.path);
                self.questions.entry(Arc::clone(&path)).or_insert_with(|| QuestionState {
                    path,
                    question: question.clone(),
                    since: entry.time,
                });
            }
            Fact::SignalReceived { name, value, by } => {
                self.questions.shift_remove(name);
                self.state.signals.push(SignalState {
                    name: Arc::clone(name),
                    value: value.clone(),
                    by: by.clone(),
                    time: entry.time,
                });
            }
            Fact::ChildStarted { run, target } => self.state.children.push(ChildState {
                path: Arc::clone(&entry.path),
                run: *run,
                target: Arc::clone(target),
            }),
            Fact::TimerSet { due } => {
                self.timers.entry(Arc::clone(&entry.path)).or_insert(*due);
            }
            // What a step waits for beside its timer may come first.
            Fact::TimerFired | Fact::StepCompleted { .. } | Fact::StepFailed { .. } => {
                self.timers.shift_remove(&entry.path);
                self.questions.shift_remove(&entry.path);
            }
            _ => {}
        }
        if entry.fact.is_final() {
            self.timers.clear();
            self.questions.clear();
            for step in self.steps.values_mut().filter(|step| step.ended.is_none()) {
                step.status = StepStatus::Stopped;
            }
        }
        // What lies at the top of the run is in its summary.
        if !entry.path.is_empty() && !entry.fact.is_external() {
            let step = self.steps.entry(Arc::clone(&entry.path)).or_insert_with(|| StepState::new(entry));
            step.apply(entry);
        }
    }

    fn end(self) -> RunState {
        let timers = self.timers.into_iter().map(|(path, due)| TimerState { path, due }).collect();
        let questions = self.questions.into_values().collect();
        RunState { steps: self.steps.into_values().collect(), questions, timers, ..self.state }
    }
}

impl StepState {
    fn new(entry: &Entry) -> Self {
        Self {
            path: Arc::clone(&entry.path),
            status: StepStatus::Running,
            started: entry.time,
            ended: None,
            took: Duration::ZERO,
            attempts: 1,
            spent: Spent::default(),
            output: None,
            error: None,
        }
    }

    fn apply(&mut self, entry: &Entry) {
        match &entry.fact {
            Fact::StepCompleted { value, took } => {
                self.output = Some(value.clone());
                if let Some(took) = took.and_then(|took| i64::try_from(took).ok()) {
                    let started = Timestamp::from_micros(entry.time.as_micros().saturating_sub(took));
                    self.started = self.started.min(started);
                }
                self.end(StepStatus::Completed, entry.time, None);
            }
            Fact::StepFailed { error } => self.end(StepStatus::Failed, entry.time, Some(error.clone())),
            Fact::TimerFired | Fact::HandoffAnswered { .. } | Fact::ResultRecalled { .. } => {
                self.end(StepStatus::Completed, entry.time, None);
            }
            Fact::QuestionAsked { .. } | Fact::TimerSet { .. } | Fact::ChildStarted { .. } => {
                self.go_on(StepStatus::Waiting);
            }
            Fact::RetryTriggered { attempt, error } => {
                self.attempts = attempt.saturating_add(1);
                self.go_on(StepStatus::Running);
                self.error = Some(error.clone());
            }
            Fact::ModelResponded { usage, cost, message, .. } => {
                self.spent =
                    self.spent.plus(Spent { usage: *usage, cost: *cost, model_calls: 1, tool_calls: 0 });
                match message.tool_calls().next() {
                    Some(_) => self.go_on(StepStatus::Running),
                    None => self.end(StepStatus::Completed, entry.time, None),
                }
            }
            Fact::ToolReturned { result } => {
                let nothing = Spent::default();
                let cost = result.cost.or(nothing.cost);
                self.spent = self.spent.plus(Spent { tool_calls: 1, cost, ..nothing });
                self.go_on(StepStatus::Running);
            }
            _ => self.go_on(self.status),
        }
        self.took = entry.time.since(self.started);
    }

    fn go_on(&mut self, status: StepStatus) {
        self.status = status;
        self.ended = None;
    }

    fn end(&mut self, status: StepStatus, time: Timestamp, error: Option<Error>) {
        self.status = status;
        self.ended = Some(time);
        self.error = error;
    }
}

/// A path after the paths that it is below, outermost first.
fn with_parents(path: &str) -> impl Iterator<Item = &str> {
    let parents = path.match_indices('/').filter_map(|(end, _)| path.get(..end));
    parents.filter(|parent| !parent.is_empty()).chain([path])
}
