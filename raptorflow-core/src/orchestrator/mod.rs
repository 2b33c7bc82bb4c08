//! Teams of agents: a request is routed to teams, delegated within them, run in parallel and combined.
//!
//! Row 11 of the house.
//! An [`Orchestrator`] is itself an actor, so an engine runs, journals and resumes it like any agent.

mod admission;
mod aggregate;
mod answered;
mod balance;
mod conflict;
mod disagreement;
mod escalation;
mod orchestrator;
mod render;
mod report;
mod restart;
mod review;
mod router;
mod scale;
mod supervisor;
mod task;

pub use admission::{Admission, AdmissionConfig, AdmissionStats, Permit};
pub use aggregate::{Combined, Contribution, combine};
pub use balance::{Balance, Balancer, Working};
pub use conflict::{CommonGround, Conflicts, Judge, Judged, Resolution};
pub use disagreement::{Difference, Disagreement, Position};
pub use escalation::{Escalated, Escalation, EscalationLevel, EscalationRule};
pub use orchestrator::{Orchestrator, OrchestratorConfig};
pub use report::{Claim, Dropped, Missing, Report, Section, Source};
pub use restart::RestartPolicy;
pub use router::{
    AgentRank, CapabilityRouter, Complexity, ComplexityRouter, ComplexityWords, Decision, Estimate,
    ModelRouter, PlanStep, Router, RouterCall, RouterChain, RouterStep, Rule, RuleRouter, SemanticRouter,
    TeamChoice, Then, Way,
};
pub use scale::{Scale, TeamLoad};
pub use supervisor::{AgentChoice, Supervisor, TeamSpec};
pub use task::{Priority, Task};
