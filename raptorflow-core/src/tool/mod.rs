//! Tools: typed functions that a model may call, a registry of them, and one dispatch path.
//!
//! Row 7 of the house.
//! Tool data lives in [`crate::types`], so this floor needs no model.
//! A [`Tool`] is written with the attribute macro `#[tool]` or made at run time as a [`FunctionTool`];
//! a [`ToolRegistry`] finds it by name, and [`dispatch`] is the only way from a model's call to its answer.
//! What was granted stands in the context, and this floor holds to it; what is recorded is decided above.
//!
//! ```
//! use raptorflow_core::{
//!     Result,
//!     runtime::{Context, Runtime},
//!     tool::{DispatchConfig, ToolRegistry, dispatch},
//!     types::ToolCall,
//! };
//! use serde_json::json;
//!
//! /// Adds GST to a net amount in rupees.
//! #[raptorflow_core::tool]
//! async fn add_gst(
//!     /// The net amount.
//!     net: f64,
//!     #[arg(description = "The rate as a share of one.", default = 0.18)] rate: f64,
//! ) -> Result<f64> {
//!     Ok(net * (1.0 + rate))
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let mut tools = ToolRegistry::new();
//! tools.register(add_gst)?;
//! let ctx = Context::new(&Runtime::current()?);
//! let call = ToolCall { id: "1".into(), name: "add_gst".into(), arguments: json!({"net": 1000}) };
//! let answer = dispatch(&ctx, &tools, &call, &DispatchConfig::default()).await?;
//! assert_eq!(answer.content, json!(1180.0));
//!
//! let wrong = ToolCall { arguments: json!({"net": "much"}), ..call };
//! let answer = dispatch(&ctx, &tools, &wrong, &DispatchConfig::default()).await?;
//! assert!(answer.is_error);
//! assert_eq!(answer.content["problems"][0]["at"], "/net");
//! # Ok::<(), raptorflow_core::Error>(()) }).unwrap();
//! ```

mod admit;
mod approver;
mod bill;
mod builtin;
mod check;
mod dispatch;
mod function;
#[doc(hidden)]
pub mod macro_support;
#[cfg(feature = "mcp")]
pub mod mcp;
mod registry;
mod spec;
#[cfg(test)]
mod tests;

pub use approver::{Approver, Decision, ProposedCall, WithApproval};
pub(crate) use approver::{Gate, Passed};
#[cfg(feature = "tool-fetch")]
pub use builtin::{AddressRules, Fetch, FetchConfig, HostResolver, SystemResolver, is_public};
pub use builtin::{BuiltinTools, Calculator, Clock, Search, SearchHit, SearchQuery, Topic, WebSearch};
#[cfg(feature = "storage-sqlite")]
pub use builtin::{DatabaseQuery, QueryConfig};
#[cfg(feature = "http")]
pub use builtin::{SearchBackend, Tavily};
pub(crate) use dispatch::{Called, call_tool, dispatch_guarded, dispatch_one};
pub use dispatch::{DispatchConfig, dispatch, dispatch_all, dispatch_approved, dispatch_stream};
pub(crate) use function::panic_message;
pub use function::{FunctionTool, IntoToolResult};
pub use registry::ToolRegistry;
pub use spec::Tool;
