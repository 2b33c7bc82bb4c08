//! Types of a skill's inputs and outputs, written in TypeScript, Python or Rust.

mod names;
mod python;
mod rust;
mod typescript;
mod write;

pub use write::{Language, generate_types};
