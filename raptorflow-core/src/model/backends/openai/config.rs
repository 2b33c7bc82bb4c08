//! `OpenAiConfig`: which host, which model, and what that host understands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::ModelProfile;

/// OpenAI's own address.
const BASE_URL: &str = "https://api.openai.com/v1";

/// Under which name the longest answer is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitField {
    /// `max_completion_tokens`, which OpenAI's reasoning models want.
    #[default]
    MaxCompletionTokens,
    /// `max_tokens`, which every compatible host knows.
    MaxTokens,
}

/// How the host is asked for JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Structured {
    /// `response_format` of the type `json_schema`.
    #[default]
    JsonSchema,
    /// `response_format` of the type `json_object`, with the schema told in a system message.
    JsonObject,
    /// Not at all: a request for JSON is `Unsupported`.
    None,
}

/// Which host, which model, and what that host understands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct OpenAiConfig {
    /// The provider's name in front of the model's, as in `openai:gpt-5-mini`.
    pub provider: String,
    /// The model, as the host calls it.
    pub model: String,
    /// Where the API begins; `/chat/completions` follows.
    pub base_url: String,
    /// The organization that pays.
    pub organization: Option<String>,
    /// The project that pays.
    pub project: Option<String>,
    /// Further headers of every request.
    pub headers: BTreeMap<String, String>,
    /// Under which name the longest answer is sent.
    pub limit_field: LimitField,
    /// How the host is asked for JSON.
    pub structured: Structured,
    /// What is stated of the model, after what is known of it by provider and name.
    pub profiles: Vec<ModelProfile>,
}

impl Default for OpenAiConfig {
    fn default() -> Self {
        Self::new("")
    }
}

impl OpenAiConfig {
    /// A model of OpenAI itself.
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            provider: "openai".to_owned(),
            model: model.into(),
            base_url: BASE_URL.to_owned(),
            organization: None,
            project: None,
            headers: BTreeMap::new(),
            limit_field: LimitField::default(),
            structured: Structured::default(),
            profiles: Vec::new(),
        }
    }

    /// A model of a compatible host: another address, and `max_tokens`.
    #[must_use]
    pub fn at(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = base_url.into();
        if self.base_url.trim_end_matches('/') != BASE_URL {
            self.limit_field = LimitField::MaxTokens;
        }
        self
    }

    /// What is stated of the model, after what is known of it by provider and name.
    #[must_use]
    pub fn with_profile(mut self, profile: ModelProfile) -> Self {
        self.profiles.push(profile);
        self
    }

    /// Another name of the provider.
    #[must_use]
    pub fn of(mut self, provider: impl Into<String>) -> Self {
        self.provider = provider.into();
        self
    }
}
