//! `Capability`: one thing that an agent can do, with the schemas of what goes in and comes out.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{Error, Result},
    types::{Diagnostics, Schema},
};

/// One thing that an agent can do.
///
/// ```
/// use raptorflow_core::{agent::Capability, types::Schema};
/// use serde_json::json;
/// let capability = Capability {
///     name: "price".to_owned(),
///     description: "Works out a price.".to_owned(),
///     timeout_seconds: 30,
///     input: Schema::unchecked(json!({ "type": "object", "required": ["goal"] })),
///     output: Schema::any_object(),
/// };
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
    /// How long one execution may take, in seconds; 30 by default.
    #[serde(default = "default_timeout")]
    pub timeout_seconds: u64,
    /// What goes in.
    pub input: Schema,
    /// What comes out.
    pub output: Schema,
}

impl Capability {
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
