//! Admission: how much works at the same time, who waits, and what is refused when too much is asked.
//!
//! An [`Admission`] is a handle that an engine asks for every run and an orchestrator for every agent.

mod config;
mod gate;
mod queue;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;

pub use config::AdmissionConfig;
pub use gate::{Admission, AdmissionStats, Permit};
