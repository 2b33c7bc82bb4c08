//! How a model of Anthropic is made to think, and what that excludes.

use super::{
    config::AnthropicConfig,
    wire::{OutputConfig, Thinking},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{ChatRequest, Effort, ModelInfo, Reasoning, ToolChoice},
};

/// The fewest tokens for which the API lets a model think.
const MIN_TOKENS: u32 = 1024;

/// Whether and how the model thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// It does not.
    No,
    /// For so many tokens.
    Tokens(u32),
    /// As much as it sees fit, guided by an effort; the tokens are room for it on top of the answer.
    Adaptive { effort: &'static str, room: u32 },
}

impl Plan {
    /// What the request asks for, or else the configuration.
    ///
    /// # Errors
    /// `Unsupported` for what the API does not do while a model thinks: a temperature, and a tool that is required.
    pub(super) fn of(config: &AnthropicConfig, info: &ModelInfo, request: &ChatRequest) -> Result<Self> {
        let plan = match (request.reasoning, config.thinking_tokens) {
            (Some(Reasoning::Budget(tokens)), _) | (None, Some(tokens)) => {
                Self::Tokens(tokens.max(MIN_TOKENS))
            }
            // Models that count tokens are given those that stand for an effort.
            (Some(Reasoning::Effort(effort)), _) if info.abilities.reasoning_budget => {
                Self::Tokens(tokens(effort))
            }
            (Some(Reasoning::Effort(effort)), _) => {
                Self::Adaptive { effort: word(effort), room: tokens(effort) }
            }
            (None, None) => Self::No,
        };
        let refuse = |message| {
            Err(Error::new(ErrorKind::Unsupported, "model.stream", message).with("model", &info.name))
        };
        if plan == Self::No {
            return Ok(plan);
        }
        if request.temperature.is_some() {
            return refuse("the model takes no temperature while it thinks");
        }
        if matches!(request.tool_choice, ToolChoice::Required | ToolChoice::Tool(_)) {
            return refuse("no tool can be required of the model while it thinks");
        }
        if info.max_output_tokens.is_some_and(|longest| plan.room() >= longest) {
            return refuse("the model does not think for so many tokens");
        }
        Ok(plan)
    }

    /// How many tokens it needs on top of the answer.
    pub(super) const fn room(self) -> u32 {
        match self {
            Self::No => 0,
            Self::Tokens(tokens) => tokens,
            Self::Adaptive { room, .. } => room,
        }
    }

    /// The fields of the request.
    pub(super) fn into_fields(self, config: &AnthropicConfig) -> (Option<Thinking>, OutputConfig) {
        let display = config.thinking_summary.then_some("summarized");
        match self {
            Self::No => (None, OutputConfig::default()),
            Self::Tokens(budget_tokens) => {
                (Some(Thinking::Enabled { budget_tokens }), OutputConfig::default())
            }
            Self::Adaptive { effort, .. } => {
                (Some(Thinking::Adaptive { display }), OutputConfig { effort: Some(effort), format: None })
            }
        }
    }
}

fn word(effort: Effort) -> &'static str {
    match effort {
        Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
    }
}

fn tokens(effort: Effort) -> u32 {
    match effort {
        Effort::Minimal => MIN_TOKENS,
        Effort::Low => 4 << 10,
        Effort::Medium => 8 << 10,
        Effort::High => 16 << 10,
    }
}
