//! `Approver`: who is asked before a tool is called that needs approval.

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{error::Result, runtime::Context, tool::Tool, types::ToolSpec};

/// A call that somebody decides about; its arguments fit the schema, and the tool gets these and no others.
#[derive(Clone, Copy, Debug)]
pub struct ProposedCall<'a> {
    /// The tool.
    pub spec: &'a ToolSpec,
    /// The arguments.
    pub arguments: &'a Value,
    /// The idempotency key of the call, which is the same when a resumed run comes to it again.
    pub key: &'a str,
}

/// What was said about a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It may be carried out.
    Approved,
    /// It is not carried out, and the model is told.
    Denied {
        /// Why, for the model.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// Decides about calls of tools that need approval.
///
/// # Contract
/// - the same call gets the same decision when it is asked about again.
/// - dropping the future of `decide` decides nothing.
///
/// # Examples
/// ```
/// use async_trait::async_trait;
/// use raptorflow_core::{Result, runtime::Context, tool::{Approver, Decision, ProposedCall}};
///
/// /// Approves small amounts.
/// #[derive(Debug)]
/// struct Small;
///
/// #[async_trait]
/// impl Approver for Small {
///     async fn decide(&self, _ctx: &Context, call: ProposedCall<'_>) -> Result<Decision> {
///         let small = call.arguments["amount"].as_u64().is_some_and(|amount| amount < 100);
///         Ok(if small { Decision::Approved } else { Decision::Denied { reason: Some("too much".into()) } })
///     }
/// }
/// ```
#[async_trait]
pub trait Approver: Debug + Send + Sync {
    /// The decision about a call, as soon as there is one.
    ///
    /// # Errors
    /// What ends the run: nobody can be asked.
    async fn decide(&self, ctx: &Context, call: ProposedCall<'_>) -> Result<Decision>;
}

/// Has a say about every call of an agent, before a person is asked about it.
#[async_trait]
pub(crate) trait Gate: Send + Sync {
    /// What becomes of a call; `id` is the model's.
    ///
    /// # Errors
    /// What ends the run.
    async fn pass(&self, ctx: &Context, id: &str, call: ProposedCall<'_>) -> Result<Passed>;
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Passed {
    /// It goes on as it is.
    Unchanged,
    /// It goes on with these arguments, which fit.
    Changed(Value),
    /// This is the tool's answer, and the tool is not called.
    Answered(Value),
    /// It is not carried out, and the model is told why.
    Refused(String),
}

/// A tool of others, of which a person must approve each call.
///
/// ```
/// use raptorflow_core::{Agent, tool::{Clock, Tool as _, WithApproval}};
/// let asked = WithApproval::new(Clock::new());
/// assert!(asked.spec().approval);
/// Agent::builder("clerk").tool(asked).build()?;
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct WithApproval {
    spec: ToolSpec,
    tool: Arc<dyn Tool>,
}

impl WithApproval {
    /// The tool, which is otherwise as it was.
    #[must_use]
    pub fn new(tool: impl Tool) -> Self {
        Self { spec: ToolSpec { approval: true, ..tool.spec().clone() }, tool: Arc::new(tool) }
    }
}

#[async_trait]
impl Tool for WithApproval {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(&self, ctx: &Context, arguments: Value) -> Result<Value> {
        self.tool.call(ctx, arguments).await
    }
}
