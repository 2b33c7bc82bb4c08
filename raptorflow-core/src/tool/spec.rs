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
#[async_trait]
pub trait Tool: Debug + Send + Sync + 'static {
    /// What it is.
    fn spec(&self) -> &ToolSpec;

    /// Does the work; the arguments were validated.
    async fn call(&self, ctx: &Context, arguments: Value) -> Result<Value>;
}
