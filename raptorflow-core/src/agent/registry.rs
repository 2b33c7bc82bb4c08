//! `AgentRegistry`: names to agents.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{
    agent::Agent,
    error::{Error, ErrorKind, Result},
    types::{AgentId, nearest},
};

/// How many names an error lists.
const MAX_LISTED: usize = 12;

/// The agents that an engine knows; cloning shares them.
///
/// ```
/// use raptorflow_core::{Agent, agent::AgentRegistry};
/// let agents = AgentRegistry::default();
/// agents.register(Agent::builder("pricing").build()?)?;
/// assert_eq!(agents.get("pricing")?.name().as_str(), "pricing");
/// assert_eq!(agents.get("pricng").unwrap_err().get("nearest"), Some("pricing"));
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct AgentRegistry(Arc<RwLock<BTreeMap<AgentId, Agent>>>);

impl AgentRegistry {
    /// Adds an agent.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken.
    pub fn register(&self, agent: Agent) -> Result<()> {
        self.register_all(vec![agent])
    }

    /// Adds an agent, unless its name is taken.
    pub(crate) fn make_known(&self, agent: &Agent) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(agent.name().clone()).or_insert_with(|| agent.clone());
    }

    /// Adds all of them or, if one name is taken, none.
    ///
    /// # Errors
    /// `AlreadyExists` that names the first agent whose name is taken, also by another of the same call.
    pub fn register_all(&self, agents: Vec<Agent>) -> Result<()> {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut added = BTreeMap::new();
        for agent in agents {
            let name = agent.name().clone();
            if known.contains_key(&name) || added.insert(name.clone(), agent).is_some() {
                return Err(Error::new(
                    ErrorKind::AlreadyExists,
                    "agent.register",
                    "an agent of this name is registered",
                )
                .with("agent", name));
            }
        }
        known.append(&mut added);
        Ok(())
    }

    /// The agent of a name.
    ///
    /// # Errors
    /// `NotFound` that lists names close to it, or some that are registered.
    pub fn get(&self, name: &str) -> Result<Agent> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(name).cloned().ok_or_else(|| {
            let names = || known.keys().map(AgentId::as_str);
            let err = Error::new(ErrorKind::NotFound, "agent.find", "no agent of this name is registered")
                .with("agent", name);
            let near = nearest(name, names());
            if near.is_empty() {
                let some: Vec<&str> = names().take(MAX_LISTED).collect();
                err.with("known", if some.is_empty() { "none".to_owned() } else { some.join(", ") })
            } else {
                err.with("nearest", near.join(", "))
            }
        })
    }

    /// Takes an agent out and says whether it was there; runs that use it go on.
    pub fn remove(&self, name: &str) -> bool {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(name).is_some()
    }

    /// All agents, by name.
    #[must_use]
    pub fn list(&self) -> Vec<Agent> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
