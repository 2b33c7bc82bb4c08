//! `Scope`: whose memory it is, inside of a tenant.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    types::{AgentId, Digest},
};

/// What every key of a memory begins with.
const ROOT: &str = "memory/";
/// The longest name in a scope, in bytes.
const MAX_NAME: usize = 128;

/// Whose memory it is: of a user, a thread, an agent, or of several of these together.
///
/// A scope that names nobody is that of the whole tenant.
/// Two scopes share nothing: what a user's scope holds is not in that of one of the user's threads.
///
/// ```
/// use raptorflow_core::memory::Scope;
/// let scope = Scope::default().with_user("asha")?.with_thread("2026-05-01")?;
/// assert!(Scope::default().with_user("asha")?.covers(&scope));
/// assert!(Scope::default().with_user("").is_err());
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Scope {
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// The thread: a conversation over several runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<Arc<str>>,
    /// The agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
}

impl Scope {
    /// The same of one user.
    ///
    /// # Errors
    /// `InvalidInput` for a name that is not 1 to 128 bytes without control characters.
    pub fn with_user(mut self, user: impl Into<Arc<str>>) -> Result<Self> {
        self.user = Some(user.into());
        self.checked()
    }

    /// The same of one thread.
    ///
    /// # Errors
    /// As [`Scope::with_user`].
    pub fn with_thread(mut self, thread: impl Into<Arc<str>>) -> Result<Self> {
        self.thread = Some(thread.into());
        self.checked()
    }

    /// The same of one agent.
    #[must_use]
    pub fn with_agent(mut self, agent: AgentId) -> Self {
        self.agent = Some(agent);
        self
    }

    /// Whether all names of this scope are also those of another: then erasing this one erases the other too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        (self.user.is_none() || self.user == other.user)
            && (self.thread.is_none() || self.thread == other.thread)
            && (self.agent.is_none() || self.agent == other.agent)
    }

    /// The scope itself, unless a name in it could not be part of a key; its fields are public.
    pub(crate) fn checked(self) -> Result<Self> {
        self.check()?;
        Ok(self)
    }

    pub(crate) fn check(&self) -> Result<()> {
        for (field, name) in [("user", &self.user), ("thread", &self.thread)] {
            let Some(name) = name else { continue };
            if !(1..=MAX_NAME).contains(&name.len()) || name.chars().any(char::is_control) {
                let expected = "expected a name of 1 to 128 bytes without control characters";
                return Err(
                    Error::new(ErrorKind::InvalidInput, "memory.scope", expected).with("field", field)
                );
            }
        }
        Ok(())
    }

    /// What the keys of the scope begin with: three places, of which each may be empty.
    pub(crate) fn prefix(&self) -> String {
        let text = |name: &Option<Arc<str>>| encoded(name.as_deref().unwrap_or_default());
        let agent = self.agent.as_ref().map_or("", AgentId::as_str);
        format!("{ROOT}{}/{}/{}/", text(&self.user), text(&self.thread), encoded(agent))
    }

    /// What the keys of all scopes that this one covers begin with, and perhaps some others.
    pub(crate) fn wide_prefix(&self) -> String {
        match &self.user {
            Some(user) => format!("{ROOT}{}/", encoded(user)),
            None => ROOT.to_owned(),
        }
    }

    /// The scope of a key and what follows it.
    pub(crate) fn of_key(key: &str) -> Option<(Self, &str)> {
        let mut places = key.strip_prefix(ROOT)?.splitn(4, '/');
        let mut name = || places.next().map(|name| (!name.is_empty()).then(|| decoded(name)));
        let (user, thread, agent) = (name()?, name()?, name()?);
        let agent = agent.map(AgentId::new).transpose().ok()?;
        Some((Self { user, thread, agent }, places.next()?))
    }

    /// The name of a knowledge base of this scope.
    pub(crate) fn base_name(&self) -> String {
        let digest = Digest::of(self.prefix()).to_string();
        format!("memory-{}", digest.get(..40).unwrap_or(&digest))
    }
}

/// A name as a place of a key: without the sign between places.
fn encoded(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}

fn decoded(place: &str) -> Arc<str> {
    Arc::from(place.replace("%2F", "/").replace("%25", "%"))
}
