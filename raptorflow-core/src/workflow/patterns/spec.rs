//! `PatternSpec`: a pattern as data, with the options of each kind and their defaults.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    workflow::{Aggregate, Aggregation, Member, Tie, spec::some_seconds},
};

/// A pattern as data: what kind it is, and what every kind knows.
///
/// ```
/// use raptorflow_core::workflow::{Pattern, PatternSpec};
/// let spec = PatternSpec::from_json(r#"{
///     "name": "dispute",
///     "pattern": { "debate": { "members": ["pro", "con"], "judge": "judge", "rounds": 3 } }
/// }"#)?;
/// assert_eq!(Pattern::new(spec)?.name().as_str(), "dispute");
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PatternSpec {
    /// Its name, unique among the agents of an engine; the kind and a digest of everything else by default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    /// What it does and when to choose it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The kind, with its options.
    pub pattern: PatternKind,
    /// Seconds for one turn of a member; 600 by default.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "some_seconds")]
    pub timeout: Option<Duration>,
    /// How often a turn that failed is tried again, when that may help; 2 in a sequence and none elsewhere by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// How many turns are under way at the same time; 16 by default.
    #[serde(default = "parallel_turns")]
    pub parallel: usize,
    /// How many tokens the turns may take together: once that many are used up no further turn begins, and the pattern
    /// ends with what it has. Without a bound by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Whether the output is the answer alone; the decision is in the journal then. By default it is the decision.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answer_only: bool,
}

fn parallel_turns() -> usize {
    16
}

/// The kinds of patterns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PatternKind {
    /// One after another, each with what the one before it gave.
    Sequential(Sequential),
    /// All at once with the same input.
    Parallel(Parallel),
    /// Sides that answer each other.
    Debate(Debate),
    /// An answer that others check until it passes.
    Verification(Verification),
    /// Experts with parts to play.
    ExpertPanel(ExpertPanel),
    /// Every item of a list by itself, and then all together.
    MapReduce(MapReduce),
    /// An answer that is criticized and written again.
    Reflection(Reflection),
}

impl PatternSpec {
    /// A kind with the defaults of everything else.
    pub fn new(pattern: impl Into<PatternKind>) -> Self {
        let pattern = pattern.into();
        Self {
            name: String::new(),
            description: String::new(),
            pattern,
            timeout: None,
            retries: None,
            parallel: parallel_turns(),
            tokens: None,
            answer_only: false,
        }
    }

    /// Reads one in JSON.
    ///
    /// # Errors
    /// `InvalidInput` with the line and column of what cannot be read.
    pub fn from_json(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|err| {
            Error::new(ErrorKind::InvalidInput, "pattern.read", "the text is no pattern")
                .with("line", err.line())
                .with("column", err.column())
                .with("problem", &err)
        })
    }

    /// Its name; empty when it has the default one.
    #[must_use]
    pub fn name(&self) -> &str {
        if self.name.is_empty() { self.pattern.name() } else { &self.name }
    }
}

impl PatternKind {
    /// The word for it, as data has it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Sequential(_) => "sequential",
            Self::Parallel(_) => "parallel",
            Self::Debate(_) => "debate",
            Self::Verification(_) => "verification",
            Self::ExpertPanel(_) => "expert_panel",
            Self::MapReduce(_) => "map_reduce",
            Self::Reflection(_) => "reflection",
        }
    }

    /// Everybody who takes part, each once: those whose turn is by place first, then those with a part of their own.
    pub(super) fn voices(&self) -> Vec<&Member> {
        match self {
            Self::Sequential(it) => it.members.iter().collect(),
            Self::Parallel(it) => it.members.iter().collect(),
            Self::Debate(it) => it.members.iter().chain(&it.judge).collect(),
            Self::Verification(it) => it.verifiers.iter().chain(&it.author).collect(),
            Self::ExpertPanel(it) => it.members.iter().chain(&it.coordinator).collect(),
            Self::MapReduce(it) => it.mappers.iter().chain(&it.reducer).collect(),
            Self::Reflection(it) => std::iter::once(&it.author).chain(&it.critic).collect(),
        }
    }
}

/// Options of a sequence.
///
/// The output of an optional member that failed is that of the one before it. When one fails that is not optional, what
/// was done is taken back, last first, and the pattern fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Sequential {
    /// Who works, in order; at least one.
    pub members: Vec<Member>,
}

/// When a group has answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Complete {
    /// When every member has answered or failed, and one has answered.
    #[default]
    All,
    /// When one has answered.
    Any,
    /// When more than half of the members have answered.
    Majority,
    /// When members have answered that weigh at least the threshold together.
    Threshold,
}

/// Options of a group that works at the same time.
///
/// Members that are not waited for are stopped and listed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Parallel {
    /// Who works; at least one.
    pub members: Vec<Member>,
    /// When they have answered; `all` by default.
    #[serde(default)]
    pub complete: Complete,
    /// The share of the weight that has to have answered for [`Complete::Threshold`]; 0.7 by default.
    #[serde(default = "share")]
    pub threshold: f64,
    /// What their answers come to; `all` by default.
    #[serde(default)]
    pub aggregate: Aggregation,
    /// Whether one that fails ends the pattern; not by default.
    #[serde(default)]
    pub fail_fast: bool,
}

fn share() -> f64 {
    0.7
}

/// How the turns of a debate follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DebateFormat {
    /// One after another, each with all that was said so far.
    #[default]
    RoundRobin,
    /// All at once, each with all that was said before the turn.
    FreeForm,
    /// Each round has an opening, which all give at once, rebuttals and a closing, one after another.
    Structured,
    /// One asks a question, a critic or else the first side, and then all answer it at once.
    Socratic,
}

/// When a debate agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Consensus {
    /// When all sides say the same.
    Unanimous,
    /// When more than half of them do.
    Majority,
    /// When sides with more than half of the weight do.
    WeightedVote,
    /// When the judge decides, who is asked after each round.
    Moderator,
    /// When those who say the same are sure enough: their confidence by weight, over the weight of all.
    Confidence,
}

/// Options of a debate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Debate {
    /// The sides; at least two besides a moderator.
    pub members: Vec<Member>,
    /// Who decides when the sides do not agree; the moderator by default, or nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<Member>,
    /// How turns follow each other; round robin by default.
    #[serde(default)]
    pub format: DebateFormat,
    /// When they agree; `moderator` with a judge and `majority` without one by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consensus: Option<Consensus>,
    /// How sure they have to be for [`Consensus::Confidence`]; 0.8 by default.
    #[serde(default = "sure")]
    pub confidence: f64,
    /// How many rounds at most, from 1 to 100; 5 by default.
    #[serde(default = "five")]
    pub rounds: u32,
    /// How often each side speaks in a round, from 1 to 100; 3 by default.
    #[serde(default = "three")]
    pub turns: u32,
    /// Whether it ends as soon as they agree; it does by default.
    #[serde(default = "yes")]
    pub early_stop: bool,
    /// What a tie comes to at the end; it stays one by default.
    #[serde(default)]
    pub tie: Tie,
}

fn sure() -> f64 {
    0.8
}

fn five() -> u32 {
    5
}

fn three() -> u32 {
    3
}

fn yes() -> bool {
    true
}

/// How much a verification looks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum VerificationLevel {
    /// Whether it answers what was asked, in the form that was asked for.
    Basic,
    /// Also whether it is right and whole.
    #[default]
    Standard,
    /// Also whether it contradicts itself, what it rests on, and what it leaves out.
    Thorough,
    /// Also what harm it could do; it is taken to be wrong until it is shown right, every verifier has to approve, and
    /// an approval with notes is none.
    Critical,
}

/// Options of a verification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Verification {
    /// Who checks; at least one.
    pub verifiers: Vec<Member>,
    /// Who writes the answer, and writes it again with the notes; without one the input itself is checked, once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Member>,
    /// How much is looked for; standard by default.
    #[serde(default)]
    pub level: VerificationLevel,
    /// How often it is checked at most, from 1 to 100; 3 by default.
    #[serde(default = "three")]
    pub iterations: u32,
    /// The score that a verifier who gives one has to give for it to pass, from 0 to 1; 0.8 by default.
    #[serde(default = "sure")]
    pub threshold: f64,
    /// Whether all verifiers have to approve, which is the default, or those with more than half of the weight.
    #[serde(default = "yes")]
    pub all_required: bool,
}

/// How a panel comes to one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PanelStrategy {
    /// The coordinator writes it from what the others say; the primary one when there is no other.
    #[default]
    Coordinator,
    /// What a share of the weight says that is at least the threshold.
    Consensus,
    /// Answers become one, those with more weight first: see [`Aggregate::Merge`].
    WeightedMerge,
    /// Each builds on the answer before; the last one counts.
    SequentialBuild,
    /// The answer with the best score of the reviewers; without reviewers, by its own confidence and weight.
    BestSolution,
}

/// Whether members of a panel see what others said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PanelOrder {
    /// All at once, each by itself.
    #[default]
    Parallel,
    /// One after another, each with what was said before.
    Sequential,
}

/// Options of a panel of experts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ExpertPanel {
    /// The experts; at least one who is no reviewer.
    pub members: Vec<Member>,
    /// Who writes the answer; the primary one by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<Member>,
    /// How it comes to one answer; by a coordinator by default.
    #[serde(default)]
    pub strategy: PanelStrategy,
    /// Whether they see what others said; not by default.
    #[serde(default)]
    pub order: PanelOrder,
    /// What the share, the score or the confidence has to be for the panel to agree, from 0 to 1; 0.7 by default.
    #[serde(default = "share")]
    pub threshold: f64,
    /// What a tie comes to; it stays one by default.
    #[serde(default)]
    pub tie: Tie,
}

/// Options of work on every item of a list.
///
/// The input is a list, or an object with a list under `items`; at most 10,000.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MapReduce {
    /// Who works on the items, in turn; at least one.
    pub mappers: Vec<Member>,
    /// Who makes one answer of a list of outputs; without one the answer is that list, with null for what failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reducer: Option<Member>,
    /// How many outputs the reducer is given at once, from 2 on; all of them by default. What it makes of each lot is
    /// reduced again until one is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<usize>,
    /// The share of the items that has to succeed, from 0 to 1; all by default.
    #[serde(default = "whole")]
    pub threshold: f64,
}

fn whole() -> f64 {
    1.0
}

/// Options of an answer that is criticized and written again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Reflection {
    /// Who writes.
    pub author: Member,
    /// Who criticizes; the author itself by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critic: Option<Member>,
    /// How often it is written at most, from 1 to 100; 3 by default.
    #[serde(default = "three")]
    pub rounds: u32,
    /// The score that is good enough, from 0 to 1; 0.8 by default.
    #[serde(default = "sure")]
    pub threshold: f64,
}

macro_rules! kinds {
    ($($kind:ident),*) => {$(
        impl From<$kind> for PatternKind {
            fn from(options: $kind) -> Self {
                Self::$kind(options)
            }
        }
    )*};
}

kinds!(Sequential, Parallel, Debate, Verification, ExpertPanel, MapReduce, Reflection);

impl Parallel {
    /// Whether the aggregate takes what was there first as well as what it says.
    pub(super) fn takes_first(&self) -> bool {
        self.complete == Complete::Any || self.aggregate.method == Aggregate::First
    }
}
