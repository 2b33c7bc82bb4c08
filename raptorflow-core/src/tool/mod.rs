//! Tools: typed functions that a model may call, a registry of them, and one dispatch path.
//!
//! Row 7 of the house.
//! Tool data lives in [`crate::types`], so this floor needs no model.

mod dispatch;
mod function;
mod registry;
mod spec;

pub use dispatch::dispatch;
pub use function::{FunctionTool, IntoToolResult};
pub use registry::ToolRegistry;
pub use spec::Tool;
