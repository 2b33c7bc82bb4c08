//! `FunctionTool`: a tool made from a closure at run time, untyped for bindings or typed for Rust.

use std::{any::Any, fmt, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{FutureExt as _, future::BoxFuture};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::Context,
    tool::{Tool, macro_support},
    types::{Effects, Money, ToolRate, ToolSpec},
};

/// How much of a panic's message is kept, in characters.
const MAX_PANIC: usize = 300;

/// What a tool's function may return.
///
/// A function under `#[tool]` may also return a plain value that serializes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the answer of a tool",
    label = "expected a `Result` whose value serializes and whose error converts into `raptorflow_core::Error`",
    note = "write `impl From<YourError> for raptorflow_core::Error`, or return `raptorflow_core::Result`"
)]
pub trait IntoToolResult {
    /// The value as JSON.
    ///
    /// # Errors
    /// The function's own, or `InvalidOutput` when the value does not serialize.
    fn into_tool_result(self) -> Result<Value>;
}

impl<T: Serialize, E: Into<Error>> IntoToolResult for Result<T, E> {
    fn into_tool_result(self) -> Result<Value> {
        macro_support::value(&self.map_err(Into::into)?)
    }
}

type Body = dyn Fn(Context, Value) -> BoxFuture<'static, Result<Value>> + Send + Sync;

/// A tool made from a closure; cloning shares it.
///
/// A panic in the closure becomes a `Callback` error.
/// A closure that captures something is written `move |ctx, arguments| { let own = own.clone(); async move { … } }`,
/// since the future must not borrow from it.
///
/// ```
/// use raptorflow_core::{tool::{FunctionTool, Tool}, types::{Effects, Schema, ToolSpec}};
/// use serde_json::json;
/// let spec = ToolSpec::new("echo", "Returns what it was given.", Schema::any_object());
/// let echo = FunctionTool::new(spec, async |_ctx, arguments| Ok(arguments)).with_effects(Effects::Read);
/// assert_eq!(echo.spec().name, "echo");
/// ```
#[derive(Clone)]
pub struct FunctionTool {
    spec: ToolSpec,
    body: Arc<Body>,
}

impl FunctionTool {
    /// A tool whose closure takes the arguments as JSON; they fit the schema of `spec` when it is called.
    pub fn new<F, Fut>(spec: ToolSpec, function: F) -> Self
    where
        F: Fn(Context, Value) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value>> + Send + 'static,
    {
        Self { spec, body: Arc::new(move |ctx, arguments| function(ctx, arguments).boxed()) }
    }

    /// A tool whose closure takes typed arguments; the schema is that of `Args`.
    ///
    /// ```
    /// use raptorflow_core::{Result, tool::{FunctionTool, Tool}};
    /// use schemars::JsonSchema;
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize, JsonSchema)]
    /// struct Area { width: f64, height: f64 }
    ///
    /// let area = FunctionTool::typed::<Area, _, _>("area", "Computes an area.", async |_ctx, of| {
    ///     Result::<_>::Ok(of.width * of.height)
    /// });
    /// assert_eq!(area.spec().parameters.as_value()["required"][0], "width");
    /// ```
    pub fn typed<Args, F, Fut>(name: impl Into<String>, description: impl Into<String>, function: F) -> Self
    where
        Args: DeserializeOwned + JsonSchema,
        F: Fn(Context, Args) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoToolResult> + Send + 'static,
    {
        let spec = ToolSpec::new(name, description, macro_support::parameters::<Args>());
        let body = move |ctx, arguments: Value| match macro_support::arguments(&arguments) {
            Ok(typed) => function(ctx, typed).map(IntoToolResult::into_tool_result).boxed(),
            Err(err) => std::future::ready(Err(err)).boxed(),
        };
        Self { spec, body: Arc::new(body) }
    }

    /// What a call changes; by default nothing.
    #[must_use]
    pub fn with_effects(mut self, effects: Effects) -> Self {
        self.spec.effects = effects;
        self
    }

    /// Whether a person must approve each call; not by default.
    #[must_use]
    pub fn with_approval(mut self, approval: bool) -> Self {
        self.spec.approval = approval;
        self
    }

    /// How often a tenant may call it; as often as it likes by default.
    #[must_use]
    pub fn with_rate(mut self, rate: ToolRate) -> Self {
        self.spec.rate = Some(rate);
        self
    }

    /// What an agent must have been granted to call it, where its grants are listed; its own name by default.
    #[must_use]
    pub fn with_needs<N: Into<String>>(mut self, needs: impl IntoIterator<Item = N>) -> Self {
        self.spec.needs = Some(needs.into_iter().map(Into::into).collect());
        self
    }

    /// What one call costs; nothing by default.
    #[must_use]
    pub fn with_cost(mut self, cost: Money) -> Self {
        self.spec.cost = Some(cost);
        self
    }

    /// How long one call may take; 30 seconds by default.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.spec.timeout = timeout;
        self
    }
}

#[async_trait]
impl Tool for FunctionTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(&self, ctx: &Context, arguments: Value) -> Result<Value> {
        // The closure itself runs inside the guard too, not only the future that it makes.
        guarded(&self.spec.name, async { (self.body)(ctx.clone(), arguments).await }).await
    }
}

impl fmt::Debug for FunctionTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionTool").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// Runs a user's function and turns its panic into a `Callback` error.
pub(super) async fn guarded<T>(tool: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    // What the function shared with others and left half-changed is its author's concern; nothing of ours
    // is borrowed mutably across the call.
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|payload| {
        let message = panic_message(payload.as_ref());
        Err(Error::new(ErrorKind::Callback, "tool.call", "the tool panicked")
            .with("tool", tool)
            .with("panic", message))
    })
}

pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").chars().take(MAX_PANIC).collect()
}
