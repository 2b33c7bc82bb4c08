//! The facade that applications and bindings hold: one [`Engine`], built once, cheap to clone.
//!
//! Row 13 of the house.

mod builder;
mod config;
mod engine;
mod outcome;
mod request;
mod run;

pub use builder::EngineBuilder;
pub use config::Settings;
pub use engine::Engine;
pub use outcome::Outcome;
pub use request::{ResumeRequest, RunRequest};
pub use run::{Run, RunEvents};
