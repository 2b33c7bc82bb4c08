//! `pack.toml`: name, version, contents, and what agents have that say nothing else.

use serde::{Deserialize, Serialize};

use crate::agent::Retrieval;

/// What a pack says that it contains; checked against what it does contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// Files under `domains`.
    pub domains: usize,
    /// Files under `agents`.
    pub agents: usize,
    /// Supervisors in the domain files.
    pub supervisors: usize,
    /// Capabilities of all supervisors and agents.
    pub capabilities: usize,
    /// Skills under `skills`; none when it is not said.
    #[serde(default)]
    pub skills: usize,
    /// Cases under `evals/skills`; none when it is not said.
    #[serde(default)]
    pub skill_cases: usize,
    /// Files under `workflows`; none when it is not said.
    #[serde(default)]
    pub workflows: usize,
    /// Cases under `evals/agents`; none when it is not said.
    #[serde(default)]
    pub agent_cases: usize,
}

/// What agents have that say nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Defaults {
    /// Passages that an agent is given before it is asked.
    pub retrieval: Option<Retrieval>,
}

/// What a pack is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Its name; the orchestrator over its teams has the same.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is for.
    pub description: String,
    /// What it contains.
    pub contents: Contents,
    /// What agents have that say nothing else.
    #[serde(default)]
    pub defaults: Defaults,
}
