//! Workflows: steps that follow each other, run durably.
//!
//! Row 10 of the house.
//! A [`WorkflowSpec`] is a workflow as data, [`Workflow::builder`] the same in code; both are checked when built.
//! A machine without input and output says which steps may begin; the driver carries them out and records what came
//! of each, so that a resumed run repeats nothing that is recorded.
//! A [`Pattern`] lets agents work together by a rule such as a debate, over the same journal; an [`Aggregation`] makes one
//! value of what they say.

mod aggregate;
mod aggregation;
mod canonical;
mod compile;
mod condition;
mod cycle;
mod driver;
mod gate;
mod graph;
mod many;
mod opinion;
mod patterns;
mod perform;
mod picture;
mod progress;
mod rollback;
mod run;
mod sides;
mod spec;
mod step;
mod template;
#[cfg(test)]
mod tests;
mod waits;
mod watchdog;
mod workflow;

pub use aggregate::{Aggregate, TextMatch, Tie};
pub use aggregation::Aggregation;
pub(crate) use canonical::canonical;
pub use condition::Condition;
pub use opinion::{Aggregated, LeftOut, Opinion, Side, Tied, Undecided};
pub use patterns::{
    Absent, Complete, Consensus, Debate, DebateFormat, Decision, ExpertPanel, Irregular, MapReduce, Member,
    PanelOrder, PanelStrategy, Parallel, Pattern, PatternBuilder, PatternKind, PatternSpec, Problem,
    Reflection, Role, Sequential, Stopped, Turn, Verdict, Verification, VerificationLevel, debate,
    expert_panel, map_reduce, parallel, reflection, sequential, verification,
};
pub use spec::{AfterSpec, CompensateSpec, GateSpec, Join, RepeatSpec, StepSpec, TimerSpec, WorkflowSpec};
pub use step::{
    Step, StepFunction, after, agent, agents, function, repeat, timer, timer_until, tool, workflow,
};
pub use workflow::{Workflow, WorkflowBuilder};
