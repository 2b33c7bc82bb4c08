//! `Tool`: what a model may call.

use std::fmt::Debug;

use async_trait::async_trait;
use serde_json::Value;

use crate::{error::Result, runtime::Context, types::ToolSpec};

/// A function that a model may call.
///
/// # Contract
/// - `spec` is the same each time.
/// - `call` gets arguments that fit the schema of `spec`.
/// - dropping the future of `call` stops the work.
///
/// # Examples
/// ```
/// use async_trait::async_trait;
/// use raptorflow_core::{Agent, Result, runtime::Context, tool::Tool, types::{Schema, ToolSpec}};
/// use serde_json::{Value, json};
///
/// #[derive(Debug)]
/// struct Dice(ToolSpec);
///
/// #[async_trait]
/// impl Tool for Dice {
///     fn spec(&self) -> &ToolSpec {
///         &self.0
///     }
///
///     async fn call(&self, _ctx: &Context, _arguments: Value) -> Result<Value> {
///         Ok(json!(4))
///     }
/// }
/// let dice = Dice(ToolSpec::new("dice", "Rolls a die.", Schema::any_object()));
/// Agent::builder("player").tool(dice).build()?;
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[async_trait]
pub trait Tool: Debug + Send + Sync + 'static {
    /// What it is.
    fn spec(&self) -> &ToolSpec;

    /// Does the work; the arguments were validated.
    async fn call(&self, ctx: &Context, arguments: Value) -> Result<Value>;
}
