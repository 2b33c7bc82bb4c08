//! The only code, besides the secret store, that reads environment variables.

use std::sync::Arc;

use crate::model::ProviderSettings;

/// The model when only a key or a base URL of the OpenAI wire is set.
const OPENAI_MODEL: &str = "openai:gpt-5-mini";
/// The model when only a key of Anthropic is set.
const ANTHROPIC_MODEL: &str = "anthropic:claude-sonnet-4-5";
/// The model when nothing is set.
const OFFLINE_MODEL: &str = "offline:extractive";

/// What the environment says; keys themselves are read by the secret store alone.
///
/// | variable | meaning |
/// |---|---|
/// | `RAPTORFLOW_MODEL` | the model that [`Settings::model`] names |
/// | `OPENAI_BASE_URL` | where the OpenAI-compatible API is |
/// | `ANTHROPIC_BASE_URL` | where an API like Anthropic's is |
/// | `OPENAI_API_KEY`, `ANTHROPIC_API_KEY` | only whether they are set |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// The model that was named.
    pub named_model: Option<Arc<str>>,
    /// Where the OpenAI-compatible API is.
    pub openai_base_url: Option<String>,
    /// Where an API like Anthropic's is.
    pub anthropic_base_url: Option<String>,
    /// Whether there is a key for the OpenAI wire.
    pub has_openai_key: bool,
    /// Whether there is a key for Anthropic.
    pub has_anthropic_key: bool,
}

impl Settings {
    /// Reads the environment of the process.
    #[must_use]
    pub fn from_env() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads variables through a function; empty ones count as not set.
    ///
    /// ```
    /// use raptorflow_core::engine::Settings;
    /// let settings = Settings::from_lookup(|name| (name == "ANTHROPIC_API_KEY").then(|| "k".to_owned()));
    /// assert!(settings.model().starts_with("anthropic:"));
    /// assert_eq!(&*Settings::from_lookup(|_| None).model(), "offline:extractive");
    /// ```
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let read = |name| lookup(name).filter(|value| !value.trim().is_empty());
        Self {
            named_model: read("RAPTORFLOW_MODEL").map(Arc::from),
            openai_base_url: read("OPENAI_BASE_URL"),
            anthropic_base_url: read("ANTHROPIC_BASE_URL"),
            has_openai_key: read("OPENAI_API_KEY").is_some(),
            has_anthropic_key: read("ANTHROPIC_API_KEY").is_some(),
        }
    }

    /// The model to use when the user names none: the named one, then one that a key or base URL is there for,
    /// then the offline model.
    #[must_use]
    pub fn model(&self) -> Arc<str> {
        if let Some(named) = &self.named_model {
            return Arc::clone(named);
        }
        if self.has_openai_key || self.openai_base_url.is_some() {
            Arc::from(OPENAI_MODEL)
        } else if self.has_anthropic_key {
            Arc::from(ANTHROPIC_MODEL)
        } else {
            Arc::from(OFFLINE_MODEL)
        }
    }

    /// What the provider `openai` is set to, if anything.
    #[must_use]
    pub fn openai(&self) -> Option<ProviderSettings> {
        self.openai_base_url.as_ref().map(|url| ProviderSettings::default().with_base_url(url))
    }

    /// What the provider `anthropic` is set to, if anything.
    #[must_use]
    pub fn anthropic(&self) -> Option<ProviderSettings> {
        self.anthropic_base_url.as_ref().map(|url| ProviderSettings::default().with_base_url(url))
    }
}
