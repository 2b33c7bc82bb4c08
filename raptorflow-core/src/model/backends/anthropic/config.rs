//! `AnthropicConfig`: which model, where, and how long it may answer and think.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::model::{KeepPrompt, ModelProfile};

/// Which model, where, and how long it may answer and think.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AnthropicConfig {
    /// The model, as Anthropic calls it.
    pub model: String,
    /// Where the API begins; `/v1/messages` follows.
    pub base_url: String,
    /// The version of the API.
    pub version: String,
    /// Further headers of every request, like `anthropic-beta`, in place of our own of the same name.
    pub headers: BTreeMap<String, String>,
    /// Parameters of the address.
    pub query: BTreeMap<String, String>,
    /// The longest answer in tokens when the request does not say; the API wants a number. 8192 by default.
    pub max_output_tokens: u32,
    /// How many tokens the model may think before it answers, at least 1024; it does not think when `None`.
    ///
    /// They come on top of the longest answer; a request says otherwise with
    /// [`ChatRequest::reasoning`](crate::model::ChatRequest).
    pub thinking_tokens: Option<u32>,
    /// Whether models that hide what they think are asked for a summary of it; not by default.
    pub thinking_summary: bool,
    /// For how long the API keeps what it read, when the request does not say; it keeps nothing when `None`.
    pub keep_prompt: Option<KeepPrompt>,
    /// What is stated of the model, after what is known of it by its name.
    pub profiles: Vec<ModelProfile>,
}

impl fmt::Debug for AnthropicConfig {
    /// Names headers and parameters and never their values, which may be keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnthropicConfig")
            .field("model", &self.model)
            .field("base_url", &self.base_url.split('?').next().unwrap_or_default())
            .field("version", &self.version)
            .field("headers", &self.headers.keys())
            .field("query", &self.query.keys())
            .field("max_output_tokens", &self.max_output_tokens)
            .field("thinking_tokens", &self.thinking_tokens)
            .field("thinking_summary", &self.thinking_summary)
            .field("keep_prompt", &self.keep_prompt)
            .field("profiles", &self.profiles)
            .finish()
    }
}

impl Default for AnthropicConfig {
    fn default() -> Self {
        Self::new("")
    }
}

impl AnthropicConfig {
    /// A model at Anthropic's own address that does not think.
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            base_url: "https://api.anthropic.com".to_owned(),
            version: "2023-06-01".to_owned(),
            headers: BTreeMap::new(),
            query: BTreeMap::new(),
            max_output_tokens: 8192,
            thinking_tokens: None,
            thinking_summary: false,
            keep_prompt: None,
            profiles: Vec::new(),
        }
    }

    /// What is stated of the model, after what is known of it by its name.
    #[must_use]
    pub fn with_profile(mut self, profile: ModelProfile) -> Self {
        self.profiles.push(profile);
        self
    }

    /// Another address of the API.
    #[must_use]
    pub fn at(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = base_url.into();
        self
    }
}
