//! `AgentRegistry`: names to agents.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{
    agent::{Agent, AgentKind, AgentMetrics, AgentSpec, results::Results, vitals::Vitals},
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
pub struct AgentRegistry(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    agents: RwLock<HashMap<AgentId, Agent>>,
    /// Of agents that have run; one that never did costs nothing here.
    vitals: RwLock<HashMap<AgentId, Vitals>>,
    results: Results,
}

/// Which agents are wanted: those that fit every field that is set; all by default.
///
/// ```
/// use raptorflow_core::agent::AgentFilter;
/// let filter = AgentFilter { tag: Some("tax".into()), ..AgentFilter::default() };
/// assert!(filter.domain.is_none());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentFilter {
    /// Of this domain.
    pub domain: Option<Arc<str>>,
    /// With this capability.
    pub capability: Option<Arc<str>>,
    /// Of this kind.
    pub kind: Option<AgentKind>,
    /// With this tag.
    pub tag: Option<Arc<str>>,
}

impl AgentFilter {
    /// Whether an agent is wanted.
    #[must_use]
    pub fn matches(&self, spec: &AgentSpec) -> bool {
        self.domain.as_ref().is_none_or(|domain| spec.domain.as_ref() == Some(domain))
            && self.kind.is_none_or(|kind| spec.kind == kind)
            && self.tag.as_ref().is_none_or(|tag| spec.tags.iter().any(|it| **it == **tag))
            && self
                .capability
                .as_ref()
                .is_none_or(|name| spec.capabilities.iter().any(|it| *it.name == **name))
    }
}

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
        let mut known = self.0.agents.write().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(agent.name()) {
            known.insert(agent.name().clone(), agent.clone());
        }
    }

    /// Adds all of them or, if one name is taken, none.
    ///
    /// # Errors
    /// `AlreadyExists` that names the first agent whose name is taken, also by another of the same call.
    pub fn register_all(&self, agents: Vec<Agent>) -> Result<()> {
        let mut known = self.0.agents.write().unwrap_or_else(PoisonError::into_inner);
        let mut added = HashMap::new();
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
        known.extend(added);
        Ok(())
    }

    /// The agent of a name.
    ///
    /// # Errors
    /// `NotFound` that lists names close to it, or some that are registered.
    pub fn get(&self, name: &str) -> Result<Agent> {
        let known = self.0.agents.read().unwrap_or_else(PoisonError::into_inner);
        known.get(name).cloned().ok_or_else(|| {
            let mut names: Vec<&str> = known.keys().map(AgentId::as_str).collect();
            names.sort_unstable();
            let err = Error::new(ErrorKind::NotFound, "agent.find", "no agent of this name is registered")
                .with("agent", name);
            let near = nearest(name, names.iter().copied());
            if near.is_empty() {
                names.truncate(MAX_LISTED);
                err.with("known", if names.is_empty() { "none".to_owned() } else { names.join(", ") })
            } else {
                err.with("nearest", near.join(", "))
            }
        })
    }

    /// Takes an agent out and says whether it was there; runs that use it go on, and what was counted of it is forgotten.
    pub fn remove(&self, name: &str) -> bool {
        let removed = self.0.agents.write().unwrap_or_else(PoisonError::into_inner).remove(name).is_some();
        self.0.vitals.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        self.0.results.forget(name);
        removed
    }

    /// The agents that a filter lets through, by name.
    ///
    /// ```
    /// use raptorflow_core::{Agent, agent::{AgentFilter, AgentKind, AgentRegistry}};
    /// let agents = AgentRegistry::default();
    /// agents.register(Agent::builder("pricing").domain("shop").kind(AgentKind::Analyzer).build()?)?;
    /// agents.register(Agent::builder("writer").domain("shop").build()?)?;
    /// let filter = AgentFilter { kind: Some(AgentKind::Analyzer), ..AgentFilter::default() };
    /// assert_eq!(agents.find(&filter)[0].name().as_str(), "pricing");
    /// # Ok::<(), raptorflow_core::Error>(())
    /// ```
    #[must_use]
    pub fn find(&self, filter: &AgentFilter) -> Vec<Agent> {
        let known = self.0.agents.read().unwrap_or_else(PoisonError::into_inner);
        sorted(known.values().filter(|agent| filter.matches(agent.spec())))
    }

    /// How an agent did in this process; all zero for one that has not run.
    ///
    /// ```
    /// use raptorflow_core::{Engine, agent::{AgentSpec, FunctionAgent, Health}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let engine = Engine::builder().build().await?;
    /// engine.register(FunctionAgent::new(AgentSpec::new("shout")?, |_ctx, input| async move {
    ///     Ok(input.question().to_uppercase().into())
    /// }))?;
    /// engine.run("shout", "hello").await?;
    /// let metrics = engine.agents().metrics("shout");
    /// assert_eq!((metrics.runs, metrics.ok, metrics.health), (1, 1, Health::Healthy));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn metrics(&self, name: &str) -> AgentMetrics {
        let known = self.0.vitals.read().unwrap_or_else(PoisonError::into_inner);
        known.get(name).map(Vitals::metrics).unwrap_or_default()
    }

    /// Answers of capabilities that are given again.
    pub(super) fn results(&self) -> &Results {
        &self.0.results
    }

    /// What is counted of an agent.
    pub(super) fn vitals(&self, name: &AgentId) -> Vitals {
        let known = self.0.vitals.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(vitals) = known.get(name) {
            return vitals.clone();
        }
        drop(known);
        let mut known = self.0.vitals.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(name.clone()).or_default().clone()
    }

    /// All agents, by name.
    #[must_use]
    pub fn list(&self) -> Vec<Agent> {
        sorted(self.0.agents.read().unwrap_or_else(PoisonError::into_inner).values())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.agents.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn sorted<'a>(agents: impl Iterator<Item = &'a Agent>) -> Vec<Agent> {
    let mut agents: Vec<Agent> = agents.cloned().collect();
    agents.sort_unstable_by(|left, right| left.name().cmp(right.name()));
    agents
}
