//! What stands between a model's call and its tool: the schema, how often it may be called, and a person's approval.

use std::time::Duration;

use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    runtime::Context,
    tool::{
        Approver, Decision, Gate, Passed, ProposedCall, ToolRegistry,
        check::{checked, failure},
    },
    types::{AgentId, ToolSpec},
};

/// Why a call is not carried out.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The agent that calls was not granted what the tool needs.
    Ungranted { tool: String, agent: AgentId, grant: String },
    /// The arguments do not fit; what to tell the model.
    Arguments(Value),
    /// The tool was called too often; how long until the next call.
    TooOften(Duration),
    /// A person said no, and perhaps why.
    Denied(Option<String>),
    /// The tool needs approval and there is nobody to ask.
    Unasked,
    /// A hook said no, and why.
    Stopped(String),
    /// A hook answered in place of the tool.
    Answered(Value),
}

/// Who has a say before a tool is called.
#[derive(Clone, Copy, Default)]
pub(super) struct Guards<'a> {
    /// Who is asked about tools that need approval.
    pub(super) approver: Option<&'a dyn Approver>,
    /// Who may change, answer or refuse any call; asked before approval, so that what is approved is what runs.
    pub(super) gate: Option<&'a dyn Gate>,
}

impl Refusal {
    /// What the model is told.
    pub(super) fn told(self) -> Value {
        let err = match self {
            Self::Arguments(content) | Self::Answered(content) => return content,
            other => other.error(),
        };
        let mut content = failure(err.kind(), err.message());
        if let Some(fields) = content.as_object_mut() {
            for key in ["tool", "agent", "grant", "reason", "seconds"] {
                if let Some(value) = err.get(key) {
                    fields.insert(key.to_owned(), value.into());
                }
            }
            if matches!(err.retry(), Retry::After(_)) {
                fields.insert("retryable".to_owned(), true.into());
            }
        }
        content
    }

    /// What code is told.
    pub(super) fn error(self) -> Error {
        let denied = |message| Error::new(ErrorKind::PermissionDenied, "tool.call", message);
        match self {
            Self::Ungranted { tool, agent, grant } => {
                let err = denied("the agent was not granted what the tool needs");
                err.with("tool", tool).with("agent", agent).with("grant", grant)
            }
            Self::Arguments(content) => {
                let message = content.get("message").and_then(Value::as_str);
                let message = message.unwrap_or("the arguments do not fit").to_owned();
                let err = Error::new(ErrorKind::InvalidInput, "tool.call", message);
                let places = content.get("problems").and_then(Value::as_array).into_iter().flatten();
                let places: Vec<&str> = places.filter_map(|problem| problem.get("at")?.as_str()).collect();
                if places.is_empty() { err } else { err.with("at", places.join(", ")) }
            }
            Self::TooOften(wait) => {
                let message = "the tool was called too often";
                Error::new(ErrorKind::RateLimited, "tool.call", message)
                    .with("seconds", wait.as_secs_f64().ceil())
                    .retryable(Retry::After(wait))
            }
            Self::Denied(None) => denied("a person did not approve the call"),
            Self::Denied(Some(reason)) => denied("a person did not approve the call").with("reason", reason),
            Self::Unasked => denied("the tool needs approval, and there is nobody to ask"),
            Self::Stopped(reason) => denied("a hook refused the call").with("reason", reason),
            // Code is asked by no gate.
            Self::Answered(_) => {
                Error::new(ErrorKind::Internal, "tool.call", "a call of code was answered in its place")
            }
        }
    }
}

/// What the tool needs and the agent that calls was not granted; nothing where no grants are listed.
fn ungranted(ctx: &Context, spec: &ToolSpec) -> Option<Refusal> {
    let grants = ctx.grants()?;
    let missing = spec.needed().iter().find(|name| !grants.holds(name))?;
    let (tool, agent) = (spec.name.clone(), grants.holder().clone());
    Some(Refusal::Ungranted { tool, agent, grant: missing.clone() })
}

/// The arguments with which a tool is called, once all of it is right.
///
/// # Errors
/// What ends the run: it was cancelled, its time is over, or nobody can be asked.
pub(super) async fn admitted(
    ctx: &Context,
    registry: &ToolRegistry,
    spec: &ToolSpec,
    arguments: &Value,
    id: &str,
    key: impl Fn() -> String + Send,
    guards: Guards<'_>,
) -> Result<std::result::Result<Value, Refusal>> {
    if let Some(refusal) = ungranted(ctx, spec) {
        return Ok(Err(refusal));
    }
    let mut arguments = match checked(spec, arguments) {
        Ok(arguments) => arguments,
        Err(content) => return Ok(Err(Refusal::Arguments(content))),
    };
    if let Some(gate) = guards.gate {
        let key = key();
        let call = ProposedCall { spec, arguments: &arguments, key: &key };
        match gate.pass(ctx, id, call).await? {
            Passed::Unchanged => {}
            Passed::Changed(changed) => arguments = changed,
            Passed::Answered(content) => return Ok(Err(Refusal::Answered(content))),
            Passed::Refused(reason) => return Ok(Err(Refusal::Stopped(reason))),
        }
    }
    if let Some(wait) = registry.wait(ctx, spec) {
        return Ok(Err(Refusal::TooOften(wait)));
    }
    if !spec.approval {
        return Ok(Ok(arguments));
    }
    let Some(approver) = guards.approver else { return Ok(Err(Refusal::Unasked)) };
    let key = key();
    let call = ProposedCall { spec, arguments: &arguments, key: &key };
    match ctx.bound("tool.approve", approver.decide(ctx, call)).await?? {
        Decision::Approved => Ok(Ok(arguments)),
        Decision::Denied { reason } => Ok(Err(Refusal::Denied(reason))),
    }
}

#[cfg(feature = "testing")]
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;
    use futures_util::TryStreamExt as _;
    use serde_json::json;

    use super::*;
    use crate::{
        runtime::{Runtime, Tasks},
        testing::ManualClock,
        tool::{DispatchConfig, FunctionTool, dispatch, dispatch_approved},
        types::{Schema, ToolCall, ToolRate, ToolResult},
    };

    /// Approves what is `true`, and is asked about nothing else than what the tool gets.
    #[derive(Debug)]
    struct Yes;

    #[async_trait]
    impl Approver for Yes {
        async fn decide(&self, _ctx: &Context, call: ProposedCall<'_>) -> Result<Decision> {
            assert!(call.key.ends_with("/tool/1"), "{}", call.key);
            let good = call.arguments["good"] == true;
            Ok(if good { Decision::Approved } else { Decision::Denied { reason: Some("not good".into()) } })
        }
    }

    fn tools(approval: bool, rate: Option<ToolRate>) -> ToolRegistry {
        let schema = json!({ "type": "object", "properties": { "good": { "type": "boolean" } } });
        let spec = ToolSpec { approval, rate, ..ToolSpec::new("send", "Sends.", Schema::unchecked(schema)) };
        let mut tools = ToolRegistry::new();
        tools.register(FunctionTool::new(spec, async |_ctx, arguments| Ok(arguments))).unwrap();
        tools
    }

    fn call(good: &Value) -> ToolCall {
        ToolCall { id: "1".into(), name: "send".into(), arguments: json!({ "good": good }) }
    }

    async fn asked(ctx: &Context, good: &Value) -> ToolResult {
        let (tools, calls, config) = (tools(true, None), [call(good)], DispatchConfig::default());
        let answers = dispatch_approved(ctx, &tools, &calls, &config, &Yes).try_collect::<Vec<_>>();
        answers.await.unwrap().pop().unwrap().1
    }

    #[tokio::test]
    async fn a_call_is_made_once_it_is_approved_and_only_with_arguments_that_fit() {
        let ctx = Context::new(&Runtime::current().unwrap());
        let done = asked(&ctx, &json!(true)).await;
        assert_eq!((done.is_error, &done.content), (false, &json!({ "good": true })));
        let denied = asked(&ctx, &json!(false)).await;
        assert_eq!(
            (&denied.content["error"], &denied.content["reason"]),
            (&json!("permission_denied"), &json!("not good"))
        );
        // Nobody is asked about what could not be called.
        assert_eq!(asked(&ctx, &json!("yes")).await.content["error"], "invalid_input");
    }

    #[tokio::test]
    async fn a_tool_that_needs_approval_is_refused_where_nobody_is_asked() {
        let ctx = Context::new(&Runtime::current().unwrap());
        let answer =
            dispatch(&ctx, &tools(true, None), &call(&json!(true)), &DispatchConfig::default()).await;
        assert_eq!(answer.unwrap().content["error"], "permission_denied");
    }

    #[tokio::test]
    async fn a_tool_is_called_as_often_as_its_rate_says_by_all_of_a_tenant() {
        let clock = ManualClock::new();
        let ctx = Context::new(&Runtime::new(Arc::new(clock.clone()), Tasks::current().unwrap()));
        let engine = tools(false, Some(ToolRate { calls: 2, seconds: 60 }));
        let of_agent = || {
            let mut tools = ToolRegistry::new();
            tools.adopt(&engine, "send").unwrap();
            tools
        };
        let config = DispatchConfig::default();
        for _ in 0..2 {
            assert!(!dispatch(&ctx, &of_agent(), &call(&json!(true)), &config).await.unwrap().is_error);
        }
        let refused = dispatch(&ctx, &of_agent(), &call(&json!(true)), &config).await.unwrap();
        assert_eq!(
            (&refused.content["error"], &refused.content["retryable"]),
            (&json!("rate_limited"), &json!(true))
        );
        let other = ctx.with_tenant(crate::types::TenantId::new("other").unwrap());
        assert!(!dispatch(&other, &of_agent(), &call(&json!(true)), &config).await.unwrap().is_error);
        clock.advance(Duration::from_secs(60));
        assert!(!dispatch(&ctx, &of_agent(), &call(&json!(true)), &config).await.unwrap().is_error);
    }

    #[test]
    fn a_rate_of_nothing_is_refused() {
        let spec = ToolSpec {
            rate: Some(ToolRate { calls: 0, seconds: 60 }),
            ..ToolSpec::new("send", "Sends.", Schema::any_object())
        };
        let tool = FunctionTool::new(spec, async |_ctx, arguments| Ok(arguments));
        let err = ToolRegistry::new().register(tool).unwrap_err();
        assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, Some("rate")));
    }
}
