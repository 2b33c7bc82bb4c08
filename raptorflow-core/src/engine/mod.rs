//! The facade that applications and bindings hold: one [`Engine`], built once, cheap to clone.
//!
//! Row 13 of the house.

mod answer_stream;
mod approval;
mod ask;
mod budget;
mod builder;
mod config;
mod control;
mod engine;
mod memory;
mod models;
mod opening;
mod outcome;
mod request;
mod run;
mod settings;
mod target;
mod typed;
mod upkeep;

pub use answer_stream::{AnswerPart, AnswerStream};
pub use approval::{ApprovalRequest, PendingApproval};
pub use ask::AskRequest;
pub use builder::EngineBuilder;
pub use config::Settings;
pub use control::SignalRequest;
pub use engine::Engine;
pub use memory::EngineMemory;
pub use outcome::Outcome;
pub use request::{ResumeRequest, RunRequest};
pub use run::{Run, RunEvents};
pub use settings::{EngineConfig, Prices};
pub use target::Target;
pub use typed::TypedOutcome;
