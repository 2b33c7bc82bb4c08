//! `Verdict`: what a hook says at a moment of a run.

use serde::{Deserialize, Serialize};

/// A moment of an agent's run at which hooks are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Moment {
    /// A step begins: a question to the model, and the calls of tools that it leads to.
    BeforeStep,
    /// The model is about to be asked.
    BeforeModel,
    /// The model answered.
    AfterModel,
    /// A tool is about to be called, with arguments that fit it.
    BeforeTool,
    /// A tool answered.
    AfterTool,
    /// The conversation is about to be handed over.
    Handoff,
    /// A step is over.
    AfterStep,
}

impl Moment {
    /// Every moment, in the order of a step.
    pub const ALL: [Self; 7] = [
        Self::BeforeStep,
        Self::BeforeModel,
        Self::AfterModel,
        Self::BeforeTool,
        Self::AfterTool,
        Self::Handoff,
        Self::AfterStep,
    ];

    /// The stable name, in snake case.
    ///
    /// ```
    /// # use raptorflow_core::types::Moment;
    /// assert_eq!(Moment::BeforeTool.name(), "before_tool");
    /// ```
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BeforeStep => "before_step",
            Self::BeforeModel => "before_model",
            Self::AfterModel => "after_model",
            Self::BeforeTool => "before_tool",
            Self::AfterTool => "after_tool",
            Self::Handoff => "handoff",
            Self::AfterStep => "after_step",
        }
    }

    /// Whether it comes after what it is about.
    #[must_use]
    pub const fn is_after(self) -> bool {
        matches!(self, Self::AfterModel | Self::AfterTool | Self::AfterStep)
    }
}

/// Has no values: what cannot be done at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Never {}

/// What a hook says at a moment: `C` is what it may change, `A` what it may answer in place of the call.
///
/// ```
/// use raptorflow_core::types::Verdict;
/// use serde_json::{Value, json};
/// let verdict: Verdict<Value, Value> = Verdict::Answer(json!("from a table"));
/// assert!(!verdict.is_continue());
/// assert!(Verdict::<Value>::default().is_continue());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict<C = Never, A = Never> {
    /// Goes on as it is.
    #[default]
    Continue,
    /// Goes on with this in its place.
    Change(C),
    /// Takes this as the answer, without the call.
    Answer(A),
    /// Does not let it happen, and says why.
    Refuse(String),
    /// Ends the run as limited, with this as its answer; with what was said last when `None`.
    Stop(Option<serde_json::Value>),
}

impl<C, A> Verdict<C, A> {
    /// Does not let it happen.
    pub fn refuse(reason: impl Into<String>) -> Self {
        Self::Refuse(reason.into())
    }

    /// Ends the run with an answer of the hook's.
    pub fn stop(output: impl Into<serde_json::Value>) -> Self {
        Self::Stop(Some(output.into()))
    }

    /// Whether nothing changes.
    #[must_use]
    pub const fn is_continue(&self) -> bool {
        matches!(self, Self::Continue)
    }

    /// The stable name, in snake case.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Change(_) => "change",
            Self::Answer(_) => "answer",
            Self::Refuse(_) => "refuse",
            Self::Stop(_) => "stop",
        }
    }
}
