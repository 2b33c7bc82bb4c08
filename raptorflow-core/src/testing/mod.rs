//! Test doubles, and conformance cases for backends of your own; behind the feature `testing`.
//!
//! Row 14 of the house.

mod model;

pub use model::{Reply, ScriptedModel};
