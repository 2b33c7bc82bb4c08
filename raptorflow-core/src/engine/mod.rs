//! The facade that applications and bindings hold: one [`Engine`], built once, cheap to clone.
//!
//! Row 13 of the house.

mod budget;
mod builder;
mod config;
mod control;
mod engine;
mod outcome;
mod request;
mod run;
mod target;
mod upkeep;

pub use builder::EngineBuilder;
pub use config::Settings;
pub use control::SignalRequest;
pub use engine::Engine;
pub use outcome::Outcome;
pub use request::{ResumeRequest, RunRequest};
pub use run::{Run, RunEvents};
pub use target::Target;
