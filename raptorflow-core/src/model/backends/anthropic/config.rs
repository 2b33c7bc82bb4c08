//! `AnthropicConfig`: which model, where, and how long it may answer and think.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::ModelProfile;

/// Which model, where, and how long it may answer and think.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AnthropicConfig {
    /// The model, as Anthropic calls it.
    pub model: String,
    /// Where the API begins; `/v1/messages` follows.
    pub base_url: String,
    /// The version of the API.
    pub version: String,
    /// Further headers of every request, like `anthropic-beta`.
    pub headers: BTreeMap<String, String>,
    /// The longest answer in tokens when the request does not say; the API wants a number. 8192 by default.
    pub max_output_tokens: u32,
    /// How many tokens the model may think before it answers, at least 1024; it does not think when `None`.
    ///
    /// They come on top of the longest answer, and the temperature is then not sent, as the API demands.
    pub thinking_tokens: Option<u32>,
    /// What is stated of the model, after what is known of it by its name.
    pub profiles: Vec<ModelProfile>,
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
            max_output_tokens: 8192,
            thinking_tokens: None,
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
