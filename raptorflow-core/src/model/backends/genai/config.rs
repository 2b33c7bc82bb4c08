//! `GenaiConfig`: which provider, which model, and where.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
};

use genai::adapter::AdapterKind;
use serde::{Deserialize, Serialize};

use crate::model::ModelProfile;

/// A provider that is reached through the crate `genai`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GenaiProvider {
    /// Google's Gemini API.
    Gemini,
    /// Vertex AI, with models of Google and of Anthropic; the key is an access token.
    Vertex,
    /// Amazon Bedrock's Converse API with a Bedrock API key; requests signed with AWS credentials are not offered.
    Bedrock,
    /// Cohere's chat, without tools.
    Cohere,
    /// Groq.
    Groq,
}

impl GenaiProvider {
    pub(super) const ALL: [Self; 5] = [Self::Gemini, Self::Vertex, Self::Bedrock, Self::Cohere, Self::Groq];

    /// The name in front of a model's.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gemini => "gemini",
            Self::Vertex => "vertex",
            Self::Bedrock => "bedrock",
            Self::Cohere => "cohere",
            Self::Groq => "groq",
        }
    }

    /// The secret that holds the key.
    #[must_use]
    pub const fn secret(self) -> &'static str {
        match self {
            Self::Gemini => "GEMINI_API_KEY",
            Self::Vertex => "VERTEX_API_KEY",
            Self::Bedrock => "AWS_BEARER_TOKEN_BEDROCK",
            Self::Cohere => "COHERE_API_KEY",
            Self::Groq => "GROQ_API_KEY",
        }
    }

    /// Where the API begins; `None` where a region or project is a part of it.
    #[must_use]
    pub const fn base_url(self) -> Option<&'static str> {
        match self {
            Self::Gemini => Some("https://generativelanguage.googleapis.com/v1beta"),
            Self::Cohere => Some("https://api.cohere.com/v1"),
            Self::Groq => Some("https://api.groq.com/openai/v1"),
            Self::Vertex | Self::Bedrock => None,
        }
    }

    /// What an address looks like.
    pub(super) const fn example(self) -> &'static str {
        match self {
            Self::Vertex => "https://REGION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/REGION",
            Self::Bedrock => "https://bedrock-runtime.REGION.amazonaws.com",
            _ => "https://host/v1",
        }
    }

    /// Always named, because the crate takes an unknown name for one of Ollama's.
    pub(super) const fn adapter(self) -> AdapterKind {
        match self {
            Self::Gemini => AdapterKind::Gemini,
            Self::Vertex => AdapterKind::Vertex,
            Self::Bedrock => AdapterKind::BedrockApi,
            Self::Cohere => AdapterKind::Cohere,
            Self::Groq => AdapterKind::Groq,
        }
    }
}

/// Which provider, which model, and where.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct GenaiConfig {
    /// The provider.
    pub provider: GenaiProvider,
    /// The model, as the provider calls it.
    pub model: String,
    /// Where the API begins; needed for Vertex AI and Bedrock, whose addresses have a region.
    #[serde(default)]
    pub base_url: Option<String>,
    /// Further headers of every request; never logged.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What the host states of models, after what is known of them by name.
    #[serde(default)]
    pub profiles: Vec<ModelProfile>,
}

impl Debug for GenaiConfig {
    /// Names the headers and never their values, which may be keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GenaiConfig")
            .field("provider", &self.provider)
            .field("model", &self.model)
            .field("base_url", &self.base_url)
            .field("headers", &self.headers.keys())
            .finish_non_exhaustive()
    }
}

impl GenaiConfig {
    /// A model of a provider.
    pub fn new(provider: GenaiProvider, model: impl Into<String>) -> Self {
        Self { provider, model: model.into(), base_url: None, headers: BTreeMap::new(), profiles: Vec::new() }
    }

    /// Another address of the API.
    #[must_use]
    pub fn at(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = Some(base_url.into());
        self
    }
}
