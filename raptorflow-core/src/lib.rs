#![doc = include_str!("../README.md")]

// The expansion of `#[tool]` names this crate from outside, also in its own tests.
#[cfg(test)]
extern crate self as raptorflow_core;

pub mod error;
pub mod types;

pub mod runtime;

pub mod storage;

pub mod economics;
pub mod event;
pub mod security;

pub mod journal;

pub mod model;

pub mod rag;
pub mod skill;
pub mod tool;

pub mod memory;

pub mod agent;

pub mod workflow;

pub mod orchestrator;

pub mod pack;

pub mod engine;

#[cfg(feature = "testing")]
pub mod testing;

pub use agent::Agent;
pub use engine::Engine;
pub use error::{Error, ErrorKind, Result, Retry};
pub use rag::KnowledgeBase;
pub use raptorflow_macros::tool;
pub use workflow::Workflow;
