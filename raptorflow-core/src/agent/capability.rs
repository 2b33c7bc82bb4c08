//! `Capability`: one thing that an agent can do, with the schemas of what goes in and comes out.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{Error, Result},
    types::{Diagnostics, Effects, Schema},
};

/// One thing that an agent can do.
///
/// ```
/// use raptorflow_core::{agent::Capability, types::Schema};
/// use serde_json::json;
/// let input = Schema::unchecked(json!({ "type": "object", "required": ["goal"] }));
/// let capability = Capability::new("price", "Works out a price.", input, Schema::any_object());
/// assert_eq!((capability.timeout_seconds, capability.retries), (30, 3));
/// capability.check_input(&json!({ "goal": "the basic plan" }))?;
/// assert!(capability.check_input(&json!({})).is_err());
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capability {
    /// Its name, unique within the agent.
    pub name: String,
    /// What it does; requests are matched against it.
    pub description: String,
    /// How long one execution may take, its retries included, in seconds; 30 by default.
    #[serde(default = "default_timeout")]
    pub timeout_seconds: u64,
    /// How often an execution is tried again that failed with an error that may pass; 3 by default.
    ///
    /// What was recorded before the failure is kept: an agent with a model goes on where it was.
    #[serde(default = "default_retries")]
    pub retries: u32,
    /// What an execution changes; the world outside by default.
    #[serde(default = "default_effects")]
    pub effects: Effects,
    /// For how many seconds an answer is given again to the same input, where nothing is changed; 300 by default, and 0
    /// for never.
    ///
    /// Answers are kept in the process, 1,000 at most, apart for each tenant and user; a recalled one costs nothing.
    #[serde(default = "default_cache")]
    pub cache_seconds: u64,
    /// What goes in.
    pub input: Schema,
    /// What comes out.
    pub output: Schema,
}

impl Capability {
    /// A capability with the defaults for the rest.
    pub fn new(
        name: impl Into<String>,
        description: impl Into<String>,
        input: Schema,
        output: Schema,
    ) -> Self {
        Self {
            name: name.into(),
            description: description.into(),
            timeout_seconds: default_timeout(),
            retries: default_retries(),
            effects: default_effects(),
            cache_seconds: default_cache(),
            input,
            output,
        }
    }

    /// How long one execution may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }

    /// Checks arguments against the input schema.
    ///
    /// # Errors
    /// `InvalidInput` whose cause is every way in which they do not fit.
    pub fn check_input(&self, arguments: &Value) -> Result<()> {
        let problems = self.input.validate(arguments);
        if problems.is_empty() {
            return Ok(());
        }
        let err: Error = Diagnostics(problems)
            .into_error("agent.capability", "the arguments do not fit the capability's input schema");
        Err(err.with("capability", &self.name))
    }
}

fn default_timeout() -> u64 {
    30
}

fn default_retries() -> u32 {
    3
}

fn default_effects() -> Effects {
    Effects::External
}

fn default_cache() -> u64 {
    300
}
