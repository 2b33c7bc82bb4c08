//! Agents: what they are, the machine that decides, and the driver that does the input and output.
//!
//! Row 9 of the house.
//! [`Agent`] is the handle; [`Actor`] is the trait behind it.
//! [`AgentRun`] decides and never awaits; the driver carries out what it asks and records the facts.

mod actor;
mod answer;
mod approval;
mod bridge;
mod builder;
mod call;
mod capability;
mod compact;
mod compaction;
mod consolidator;
mod cost;
mod driver;
mod failure;
mod function;
mod function_hook;
mod gate;
mod handoff;
mod handover;
mod hook;
mod hooked;
mod hooks;
mod llm;
mod matching;
mod notes;
mod question;
mod registry;
mod remember;
mod results;
mod retry;
pub mod review;
mod run;
mod session;
mod skill_finder;
mod skilled;
mod spec;
mod vitals;

pub use actor::{Actor, Agent, AgentInput, AgentOutput, AnswerForm};
pub(crate) use approval::Desk;
pub use bridge::search_tool;
pub use builder::AgentBuilder;
pub use call::AgentTool;
pub use capability::Capability;
pub use compaction::{Compaction, CompactionMethod, SummaryFailure};
pub use consolidator::Consolidator;
pub(crate) use driver::{event, observed};
pub(crate) use failure::is_its_own;
pub use function::FunctionAgent;
pub use function_hook::FunctionHook;
pub use handoff::{Handoff, HistoryPolicy, Transfer};
pub use hook::{Hook, Turn};
pub use llm::LlmAgent;
pub(crate) use matching::terms;
pub use matching::{Candidate, Match, Matcher};
pub use notes::SharedTool;
pub use registry::{AgentFilter, AgentRegistry};
pub use run::{AgentRun, Command};
pub(crate) use session::Piece;
pub use session::{Means, Session};
pub use skill_finder::{FoundSkill, SkillFinder};
pub use skilled::SkillAgent;
pub use spec::{AgentKind, AgentSpec, Limits, Retrieval, Routing};
pub use vitals::{AgentMetrics, Health, LATENCY_BUCKETS, Latency};
