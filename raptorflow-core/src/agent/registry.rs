//! `AgentRegistry`: names to agents.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{
    agent::Agent,
    error::{Error, ErrorKind, Result},
    types::AgentId,
};

/// How many names an error lists.
const MAX_LISTED: usize = 12;

/// The agents that an engine knows; cloning shares them.
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
            let listed = nearest(name, known.keys().map(AgentId::as_str));
            Error::new(ErrorKind::NotFound, "agent.find", "no agent of this name is registered")
                .with("agent", name)
                .with("known", if listed.is_empty() { "none".to_owned() } else { listed.join(", ") })
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

/// Names that share the most pairs of letters with `name`, best first.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let pairs = |text: &str| -> Vec<(char, char)> {
        let lower = text.to_lowercase();
        lower.chars().zip(lower.chars().skip(1)).collect()
    };
    let wanted = pairs(name);
    let shared = |other: &str| pairs(other).iter().filter(|pair| wanted.contains(pair)).count();
    let mut all: Vec<(usize, &str)> = known.map(|other| (shared(other), other)).collect();
    all.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    all.into_iter().take(MAX_LISTED).map(|(_, other)| other).collect()
}
