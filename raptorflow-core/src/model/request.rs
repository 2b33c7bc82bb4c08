//! `ChatRequest`: a conversation and what is expected of the answer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    types::{Message, Schema, ToolSpec},
};

/// The form of the answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Output {
    /// Free text.
    #[default]
    Text,
    /// JSON that fits a schema.
    Json {
        /// A name for the schema, `[A-Za-z0-9_-]`, at most 64 characters.
        name: String,
        /// The schema.
        schema: Schema,
    },
}

/// Whether the model may or must ask for tools.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// As it sees fit.
    #[default]
    Auto,
    /// Not at all.
    None,
    /// At least one.
    Required,
    /// This one.
    Tool(String),
}

/// How much a model thinks before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reasoning {
    /// This hard.
    Effort(Effort),
    /// For so many tokens, which come on top of the answer's.
    Budget(u32),
}

/// How hard a model thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    /// As little as the model offers: the same as a little where it offers nothing below.
    Minimal,
    /// A little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
}

/// How a model is to answer, whatever it is asked; what is not set is the provider's default.
///
/// ```
/// use raptorflow_core::model::{ChatRequest, Effort, ModelSettings, Reasoning};
/// let settings: ModelSettings = toml::from_str("temperature = 0.2\nreasoning = { effort = 'low' }").unwrap();
/// let request = ChatRequest::default().with_settings(&settings);
/// assert_eq!((request.temperature, request.reasoning), (Some(0.2), Some(Reasoning::Effort(Effort::Low))));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ModelSettings {
    /// Randomness, 0 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Of how much of the probable the next token is drawn, above 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// The longest answer in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// With the same seed the provider tries to give the same answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Texts before which the answer ends.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// How much it thinks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Reasoning>,
    /// Whether it may ask for several tools at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_tool_calls: Option<bool>,
    /// For how long the provider may keep what it read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_prompt: Option<KeepPrompt>,
}

impl ModelSettings {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses numbers that no provider takes.
    ///
    /// # Errors
    /// `InvalidInput` that names the field and what was expected.
    pub fn check(&self) -> Result<()> {
        let refused = |field, value: String, expected: &'static str| {
            let err = Error::new(ErrorKind::InvalidInput, "model.settings", "a setting is out of its range");
            Err(err.with("field", field).with("value", value).with("expected", expected))
        };
        match (self.temperature, self.top_p, self.max_output_tokens) {
            (Some(value), ..) if !(0.0..=2.0).contains(&value) => {
                refused("temperature", value.to_string(), "0 to 2")
            }
            (_, Some(value), _) if !(value > 0.0 && value <= 1.0) => {
                refused("top_p", value.to_string(), "above 0 to 1")
            }
            (.., Some(0)) => refused("max_output_tokens", "0".to_owned(), "at least 1"),
            _ => Ok(()),
        }
    }
}

/// For how long a provider may keep what it read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepPrompt {
    /// For some minutes since it was last used.
    #[default]
    Minutes,
    /// For an hour or longer, where the provider offers that; writing it may cost more.
    Hours,
}

/// A conversation and what is expected of the answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChatRequest {
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// Tools it may ask for.
    pub tools: Arc<[ToolSpec]>,
    /// Whether it may or must.
    pub tool_choice: ToolChoice,
    /// The form of the answer.
    pub output: Output,
    /// Randomness, 0 to 2; the provider's default when `None`.
    pub temperature: Option<f32>,
    /// The longest answer in tokens; the provider's default when `None`.
    pub max_output_tokens: Option<u32>,
    /// Of how much of the probable the next token is drawn, above 0 to 1; the provider's default when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// Texts before which the answer ends.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// With the same seed the provider tries to give the same answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// How much it thinks; the provider's default when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Reasoning>,
    /// Whether it may ask for several tools at a time; the provider's default when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_tool_calls: Option<bool>,
    /// For how long the provider may keep what it read of the conversation, so that the next call costs less.
    ///
    /// A wish that changes no answer: providers that keep prompts by themselves or not at all ignore it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_prompt: Option<KeepPrompt>,
}

impl ChatRequest {
    /// A conversation without tools that wants free text.
    #[must_use]
    pub fn new(messages: Vec<Message>) -> Self {
        Self { messages, ..Self::default() }
    }

    /// Tools it may ask for.
    #[must_use]
    pub fn with_tools(mut self, tools: impl Into<Arc<[ToolSpec]>>) -> Self {
        self.tools = tools.into();
        self
    }

    /// How the model is to answer.
    #[must_use]
    pub fn with_settings(mut self, settings: &ModelSettings) -> Self {
        let ModelSettings {
            temperature,
            top_p,
            max_output_tokens,
            seed,
            stop,
            reasoning,
            parallel_tool_calls,
            keep_prompt,
        } = settings;
        self.temperature = *temperature;
        self.top_p = *top_p;
        self.max_output_tokens = *max_output_tokens;
        self.seed = *seed;
        self.stop.clone_from(stop);
        self.reasoning = *reasoning;
        self.parallel_tool_calls = *parallel_tool_calls;
        self.keep_prompt = *keep_prompt;
        self
    }

    /// JSON that fits a schema.
    #[must_use]
    pub fn with_output(mut self, output: Output) -> Self {
        self.output = output;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let with = |change: fn(&mut ModelSettings)| {
            let mut settings = ModelSettings::default();
            change(&mut settings);
            settings.check().unwrap_err().get("field").unwrap().to_owned()
        };
        assert_eq!(with(|it| it.temperature = Some(2.1)), "temperature");
        assert_eq!(with(|it| it.temperature = Some(f32::NAN)), "temperature");
        assert_eq!(with(|it| it.top_p = Some(0.0)), "top_p");
        assert_eq!(with(|it| it.max_output_tokens = Some(0)), "max_output_tokens");
        assert!(ModelSettings::default().check().is_ok());
    }
}
