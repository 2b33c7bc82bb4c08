//! Routers: who works on a task, and why; by rules, words, nearness, complexity, a model's plan, or one after another.
//!
//! A [`Router`] answers with a [`Decision`]: the teams, agents where it knows them, how sure it is, and what it rests on.

mod capability;
mod chain;
mod clause;
mod complexity;
mod decision;
mod index;
mod model;
mod named;
mod plan;
mod rule;
mod semantic;

pub use capability::CapabilityRouter;
pub use chain::RouterChain;
pub use complexity::{Complexity, ComplexityRouter, ComplexityWords, Way};
pub use decision::{AgentRank, Decision, Router, RouterCall, RouterStep, TeamChoice};
pub use model::ModelRouter;
pub(crate) use named::{agent_choice, by_name};
pub use plan::{Estimate, PlanStep};
pub use rule::{Rule, RuleRouter, Then};
pub use semantic::SemanticRouter;
