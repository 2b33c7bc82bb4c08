//! `ProviderSettings`: what a host sets for a provider and its models.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
};

use serde::{Deserialize, Serialize};

use crate::model::ModelProfile;

/// What a host may set for a provider; what is not set is the provider's default.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ProviderSettings {
    /// Where the API begins, like `https://api.openai.com/v1`.
    pub base_url: Option<String>,
    /// Which wire is spoken, for providers with several: `chat` or `responses` for those of OpenAI's kind; the
    /// provider's default when `None`.
    pub api: Option<String>,
    /// The organization that pays, for providers that know such a header.
    pub organization: Option<String>,
    /// The project that pays, for providers that know such a header.
    pub project: Option<String>,
    /// Further headers of every request; never logged.
    pub headers: BTreeMap<String, String>,
    /// Further parameters of every address, like Azure's `api-version`; never logged.
    pub query: BTreeMap<String, String>,
    /// What the host states of models, after what is known of them by name; later ones replace earlier ones.
    pub profiles: Vec<ModelProfile>,
}

impl Debug for ProviderSettings {
    /// Names the headers and parameters and never their values, which may be keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderSettings")
            .field("base_url", &self.base_url.as_deref().and_then(|url| url.split('?').next()))
            .field("api", &self.api)
            .field("organization", &self.organization)
            .field("project", &self.project)
            .field("headers", &self.headers.keys())
            .field("query", &self.query.keys())
            .field("profiles", &self.profiles)
            .finish()
    }
}

impl ProviderSettings {
    /// Another address of the API.
    #[must_use]
    pub fn with_base_url(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = Some(base_url.into());
        self
    }

    /// Another parameter of every address.
    #[must_use]
    pub fn with_query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.insert(name.into(), value.into());
        self
    }

    /// What the host states of models.
    #[must_use]
    pub fn with_profiles(mut self, profiles: impl IntoIterator<Item = ModelProfile>) -> Self {
        self.profiles.extend(profiles);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_text_names_headers_and_parameters_and_never_their_values() {
        let headers = BTreeMap::from([("x-api-key".to_owned(), "canary".to_owned())]);
        let settings = ProviderSettings { headers, ..ProviderSettings::default() }
            .with_base_url("https://host/v1?key=canary")
            .with_query("sig", "canary");
        let shown = format!("{settings:?}");
        assert!(shown.contains("x-api-key") && shown.contains("sig") && !shown.contains("canary"), "{shown}");
    }
}
