//! `Grants`: what somebody at work may do, by name; it never grows on the way down.

use std::sync::Arc;

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::Context,
    types::AgentId,
};

/// What an agent may do.
///
/// A context without grants bounds nothing.
/// One that has them allows what they name and nothing else, and what is below it can only have fewer:
///
/// ```
/// use raptorflow_core::{ErrorKind, runtime::{Context, Runtime}, types::AgentId};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let (chief, clerk) = (AgentId::new("chief")?, AgentId::new("clerk")?);
/// let ctx = Context::new(&Runtime::current()?).with_grants(&chief, ["files.read", "mail.send"])?;
/// let below = ctx.with_grants(&clerk, ["files.read"])?;
/// assert!(below.grants().is_some_and(|grants| grants.holds("files.read") && !grants.holds("mail.send")));
/// let err = below.with_grants(&chief, ["mail.send"]).unwrap_err();
/// assert_eq!((err.kind(), err.get("grant")), (ErrorKind::PermissionDenied, Some("mail.send")));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    holder: AgentId,
    names: Arc<[Arc<str>]>,
}

impl Grants {
    /// The agent that was given them; the nearest one above that has a list.
    #[must_use]
    pub fn holder(&self) -> &AgentId {
        &self.holder
    }

    /// What was granted.
    #[must_use]
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// Whether this was granted.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        self.names.iter().any(|known| **known == *name)
    }
}

impl Context {
    /// What may be done below here; anything when `None`.
    #[must_use]
    pub fn grants(&self) -> Option<&Grants> {
        self.own_grants()
    }

    /// Grants an agent these names and nothing else.
    ///
    /// # Errors
    /// `PermissionDenied` for a name that was not granted here, with `agent`, `grant` and the `caller`.
    pub fn with_grants<N: Into<Arc<str>>>(
        &self,
        agent: &AgentId,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self> {
        let names: Arc<[Arc<str>]> = names.into_iter().map(Into::into).collect();
        self.check_grants(agent, &names)?;
        Ok(self.with_own_grants(Grants { holder: agent.clone(), names }))
    }

    /// Refuses an agent that wants more than was granted here.
    pub(crate) fn check_grants(&self, agent: &AgentId, names: &[impl AsRef<str>]) -> Result<()> {
        let Some(have) = self.grants() else { return Ok(()) };
        match names.iter().find(|name| !have.holds(name.as_ref())) {
            Some(missing) => {
                let message = "the agent has a grant that its caller does not have";
                Err(Error::new(ErrorKind::PermissionDenied, "agent.grant", message)
                    .with("agent", agent)
                    .with("grant", missing.as_ref())
                    .with("caller", have.holder()))
            }
            None => Ok(()),
        }
    }
}
