//! `OpenAiConfig`: which host, which model, which wire, and what that host understands.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::model::{ModelInfo, ModelProfile};

/// OpenAI's own address.
const BASE_URL: &str = "https://api.openai.com/v1";

/// Which of OpenAI's wires is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenAiApi {
    /// Responses for OpenAI's models that think, at OpenAI itself; chat completions otherwise.
    #[default]
    Auto,
    /// Chat completions, which every compatible host speaks.
    Chat,
    /// Responses: what a model thought goes back to it, encrypted, so that it need not think again between calls of
    /// tools. Nothing is kept at the host.
    Responses,
}

/// Under which name chat completions are told the longest answer.
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
    /// As [`Structured::JsonSchema`] where the model's provider enforces schemas, and else as
    /// [`Structured::JsonObject`]; see [`ModelAbilities::strict`](crate::model::ModelAbilities).
    #[default]
    Auto,
    /// With the schema, which the host enforces where it keeps to the subset that it knows.
    JsonSchema,
    /// An emulation: for any JSON object, with the schema told in a system message.
    JsonObject,
    /// Not at all: a request for JSON is `Unsupported`.
    None,
}

/// Which host, which model, which wire, and what that host understands.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct OpenAiConfig {
    /// The provider's name in front of the model's, as in `openai:gpt-5-mini`.
    pub provider: String,
    /// The model, as the host calls it.
    pub model: String,
    /// Where the API begins; `/chat/completions` or `/responses` follows unless it is there, and a query is kept.
    pub base_url: String,
    /// Which wire is spoken.
    pub api: OpenAiApi,
    /// The organization that pays.
    pub organization: Option<String>,
    /// The project that pays.
    pub project: Option<String>,
    /// Further headers of every request, in place of our own of the same name.
    pub headers: BTreeMap<String, String>,
    /// Parameters of the address, like Azure's `api-version`.
    pub query: BTreeMap<String, String>,
    /// Under which name chat completions are told the longest answer.
    pub limit_field: LimitField,
    /// How the host is asked for JSON.
    pub structured: Structured,
    /// Whether chat completions get back what the model thought since the last question, beside its calls of tools, as
    /// DeepSeek's models want it; not by default.
    pub send_reasoning: bool,
    /// Whether responses tell a summary of what the model thinks; OpenAI wants a verified organization for that, so
    /// not by default.
    pub reasoning_summary: bool,
    /// What is stated of the model, after what is known of it by provider and name.
    pub profiles: Vec<ModelProfile>,
}

impl fmt::Debug for OpenAiConfig {
    /// Names headers and parameters and never their values, which may be keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAiConfig")
            .field("provider", &self.provider)
            .field("model", &self.model)
            .field("base_url", &self.base_url.split('?').next().unwrap_or_default())
            .field("api", &self.api)
            .field("organization", &self.organization)
            .field("project", &self.project)
            .field("headers", &self.headers.keys())
            .field("query", &self.query.keys())
            .field("limit_field", &self.limit_field)
            .field("structured", &self.structured)
            .field("send_reasoning", &self.send_reasoning)
            .field("reasoning_summary", &self.reasoning_summary)
            .field("profiles", &self.profiles)
            .finish()
    }
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
            api: OpenAiApi::default(),
            organization: None,
            project: None,
            headers: BTreeMap::new(),
            query: BTreeMap::new(),
            limit_field: LimitField::default(),
            structured: Structured::default(),
            send_reasoning: false,
            reasoning_summary: false,
            profiles: Vec::new(),
        }
    }

    /// A model of a compatible host: another address, and `max_tokens`.
    #[must_use]
    pub fn at(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = base_url.into();
        if !self.is_openai() {
            self.limit_field = LimitField::MaxTokens;
        }
        self
    }

    /// Another wire.
    #[must_use]
    pub const fn over(mut self, api: OpenAiApi) -> Self {
        self.api = api;
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

    pub(super) fn is_openai(&self) -> bool {
        self.base_url.trim().trim_end_matches('/') == BASE_URL
    }

    /// Whether responses are spoken to a model.
    pub(super) fn speaks_responses(&self, info: &ModelInfo) -> bool {
        match self.api {
            OpenAiApi::Auto => self.is_openai() && info.abilities.reasoning,
            OpenAiApi::Chat => false,
            OpenAiApi::Responses => true,
        }
    }
}
