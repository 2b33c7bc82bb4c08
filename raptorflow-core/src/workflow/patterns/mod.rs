//! Patterns: members that work together by a rule, such as a debate, a panel or a verification.
//!
//! A [`PatternSpec`] is a pattern as data, functions such as [`debate`] the same in code.
//! A machine without input and output says whose turn it is; the driver asks the members and records what each said, so
//! that a resumed run repeats no turn that is recorded.

mod build;
mod check;
mod debate;
mod decision;
mod driver;
mod machine;
mod map_reduce;
mod member;
mod panel;
mod parallel;
mod pattern;
mod reading;
mod revise;
mod sequential;
mod spec;
#[cfg(test)]
mod tests;

pub use build::{
    PatternBuilder, debate, expert_panel, map_reduce, parallel, reflection, sequential, verification,
};
pub use decision::{Absent, Decision, Irregular, Problem, Stopped, Turn, Verdict};
pub use member::{Member, Role};
pub use pattern::Pattern;
pub use spec::{
    Complete, Consensus, Debate, DebateFormat, ExpertPanel, MapReduce, PanelOrder, PanelStrategy, Parallel,
    PatternKind, PatternSpec, Reflection, Sequential, Verification, VerificationLevel,
};
