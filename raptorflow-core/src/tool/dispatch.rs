//! The one path from a model's call to its answer: find, check grants, validate, limit, approve, pay, run, cap, wrap.

use std::{collections::HashMap, future::Future, io};

use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::Instrument as _;

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    runtime::{Context, names},
    tool::{
        Approver, Gate, ToolRegistry,
        admit::{Guards, Refusal, admitted},
        bill::Bill,
        check::failure,
        function::guarded,
    },
    types::{Effects, Money, ToolCall, ToolResult, ToolSpec},
};

/// The operation that errors of a running tool name.
const OPERATION: &str = "tool.call";
/// How much of a tool's error is told to the model, in characters.
const MAX_ERROR: usize = 4000;

/// The bounds of dispatch.
///
/// ```
/// use raptorflow_core::tool::DispatchConfig;
/// assert_eq!(DispatchConfig::default().max_result_bytes, 256 * 1024);
/// assert_eq!(DispatchConfig::default().max_parallel, 8);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DispatchConfig {
    /// The largest result in bytes of JSON; 256 KiB by default.
    pub max_result_bytes: usize,
    /// How many calls that only read run at the same time; 8 by default, at least 1.
    pub max_parallel: usize,
}

impl Default for DispatchConfig {
    fn default() -> Self {
        Self { max_result_bytes: 256 * 1024, max_parallel: 8 }
    }
}

impl DispatchConfig {
    /// The largest result, in bytes of JSON.
    #[must_use]
    pub const fn with_max_result_bytes(mut self, bytes: usize) -> Self {
        self.max_result_bytes = bytes;
        self
    }

    /// How many calls that only read run at the same time.
    #[must_use]
    pub const fn with_max_parallel(mut self, calls: usize) -> Self {
        self.max_parallel = calls;
        self
    }
}

/// Carries out one call.
///
/// What the model can do something about is an answer with `is_error`: an unknown tool, arguments that do not
/// fit, a call of an agent that was not granted what the tool needs, one that comes too often or was not approved, the tool's own failure or panic, its own time-out, a
/// result that is too large.
/// A tool that needs approval is refused here, where nobody is asked; see [`dispatch_approved`].
/// Its content is `{"error": kind, "message": …}`, for arguments also `problems`, each with `at`, `problem`
/// and the `expected` part of the schema.
///
/// The tool's context carries the idempotency key `…/tool/<call id>`: behind the caller's own key where it has
/// one, else behind the run and the path.
///
/// # Errors
/// What ends the run: `Cancelled` when the context was cancelled, `Timeout` when the context's deadline
/// passed, `Internal` when the tool met a fault of this library.
///
/// # Cancellation
/// Dropping the future drops the tool's; what the tool changed until then stays.
pub async fn dispatch(
    ctx: &Context,
    registry: &ToolRegistry,
    call: &ToolCall,
    config: &DispatchConfig,
) -> Result<ToolResult> {
    dispatch_as(ctx, registry, call, config, 1, Guards::default()).await
}

/// A call that was carried out.
#[derive(Debug)]
pub(crate) struct Called {
    /// What the tool said.
    pub(crate) value: Result<Value>,
    /// What the call cost, where the tool says.
    pub(crate) cost: Option<Money>,
}

/// Carries out one call of code, which is told the tool's own error instead of an account of it for a model.
///
/// The tool has the context's idempotency key.
///
/// # Errors
/// `NotFound` for an unknown tool, `InvalidInput` for arguments that do not fit, `RateLimited`, `PermissionDenied` when
/// something was not granted or a person did not approve the call, `BudgetExceeded`, `Cancelled`.
/// What the tool says stands in the answer, and `Timeout` when its time or the context's is over.
///
/// # Cancellation
/// As [`dispatch`].
pub(crate) async fn call_tool(
    ctx: &Context,
    registry: &ToolRegistry,
    name: &str,
    arguments: &Value,
    approver: &dyn Approver,
) -> Result<Called> {
    let tool = registry.get(name)?;
    let key = || ctx.idempotency_key().map_or_else(|| ctx.key_of_call(name, 1), str::to_owned);
    let guards = Guards { approver: Some(approver), gate: None };
    let admitted = admitted(ctx, registry, tool.spec(), arguments, name, key, guards).await?;
    let arguments = admitted.map_err(|refusal| {
        let err = refusal.error();
        if err.get("tool").is_some() { err } else { err.with("tool", name) }
    })?;
    let bill = Bill::open(ctx, registry.purse(), tool.spec(), key).await?;
    let ctx = ctx.with_timeout(tool.spec().timeout);
    let work = guarded(name, tool.call(&ctx, arguments));
    let value = ctx.bound(OPERATION, work).await.flatten();
    if let Some(bill) = bill {
        bill.settle().await?;
    }
    Ok(Called { value, cost: tool.spec().cost })
}

/// Carries out several calls; the answers are in the order of the calls.
///
/// Neighbors that only read run at the same time; any other call waits for those before it and runs alone.
///
/// # Errors
/// As [`dispatch`]; the calls that still run are dropped then.
///
/// # Cancellation
/// As [`dispatch`].
pub async fn dispatch_all(
    ctx: &Context,
    registry: &ToolRegistry,
    calls: &[ToolCall],
    config: &DispatchConfig,
) -> Result<Vec<ToolResult>> {
    let mut answers: Vec<(usize, ToolResult)> =
        dispatch_stream(ctx, registry, calls, config).try_collect().await?;
    answers.sort_unstable_by_key(|(index, _)| *index);
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}

/// Carries out several calls and yields each answer as it comes, with the index of its call.
///
/// No further call starts while the caller holds an answer, so that it can be recorded first.
/// Calls start in the order of [`dispatch_all`].
///
/// # Errors
/// As [`dispatch_all`].
///
/// # Cancellation
/// As [`dispatch_all`]; dropping the stream drops the calls that still run.
pub fn dispatch_stream<'a>(
    ctx: &'a Context,
    registry: &'a ToolRegistry,
    calls: &'a [ToolCall],
    config: &'a DispatchConfig,
) -> impl Stream<Item = Result<(usize, ToolResult)>> + Send + 'a {
    answers(ctx, registry, calls, config, Guards::default())
}

/// As [`dispatch_stream`], where `approver` decides about calls of tools that need approval.
///
/// # Errors
/// As [`dispatch_stream`], and what `approver` says.
///
/// # Cancellation
/// As [`dispatch_stream`].
pub fn dispatch_approved<'a>(
    ctx: &'a Context,
    registry: &'a ToolRegistry,
    calls: &'a [ToolCall],
    config: &'a DispatchConfig,
    approver: &'a dyn Approver,
) -> impl Stream<Item = Result<(usize, ToolResult)>> + Send + 'a {
    answers(ctx, registry, calls, config, Guards { approver: Some(approver), gate: None })
}

/// As [`dispatch_approved`], where `gate` has a say about every call before anybody is asked for approval.
///
/// # Errors
/// As [`dispatch_approved`], and what `gate` says.
///
/// # Cancellation
/// As [`dispatch_stream`].
pub(crate) fn dispatch_guarded<'a>(
    ctx: &'a Context,
    registry: &'a ToolRegistry,
    calls: &'a [ToolCall],
    config: &'a DispatchConfig,
    approver: &'a dyn Approver,
    gate: Option<&'a dyn Gate>,
) -> impl Stream<Item = Result<(usize, ToolResult)>> + Send + 'a {
    answers(ctx, registry, calls, config, Guards { approver: Some(approver), gate })
}

/// [`dispatch_guarded`] of one call that nothing stands beside.
pub(crate) async fn dispatch_one(
    ctx: &Context,
    registry: &ToolRegistry,
    call: &ToolCall,
    config: &DispatchConfig,
    approver: &dyn Approver,
    gate: Option<&dyn Gate>,
) -> Result<ToolResult> {
    dispatch_as(ctx, registry, call, config, 1, Guards { approver: Some(approver), gate }).await
}

fn answers<'a>(
    ctx: &'a Context,
    registry: &'a ToolRegistry,
    calls: &'a [ToolCall],
    config: &'a DispatchConfig,
    guards: Guards<'a>,
) -> impl Stream<Item = Result<(usize, ToolResult)>> + Send + 'a {
    let indexed: Vec<_> = calls.iter().zip(occurrences(calls)).enumerate().collect();
    let together = |left: &ToolCall, right: &ToolCall| reads(registry, left) && reads(registry, right);
    let groups: Vec<Vec<_>> = indexed
        .chunk_by(|(_, (left, _)), (_, (right, _))| together(left, right))
        .map(<[_]>::to_vec)
        .collect();
    stream::iter(groups)
        .map(move |group| {
            let answers = group.into_iter().map(move |(index, (call, occurrence))| async move {
                let answer = dispatch_as(ctx, registry, call, config, occurrence, guards).await?;
                Ok((index, answer))
            });
            stream::iter(answers).buffer_unordered(config.max_parallel.max(1))
        })
        .flatten()
}

fn reads(registry: &ToolRegistry, call: &ToolCall) -> bool {
    registry.find(&call.name).is_none_or(|tool| tool.spec().effects == Effects::Read)
}

/// How often the id of each call occurred until then: some models give two calls one id.
fn occurrences(calls: &[ToolCall]) -> impl Iterator<Item = u32> {
    let mut seen: HashMap<&str, u32> = HashMap::with_capacity(calls.len());
    calls.iter().map(move |call| {
        let count = seen.entry(&call.id).or_default();
        *count += 1;
        *count
    })
}

async fn dispatch_as(
    ctx: &Context,
    registry: &ToolRegistry,
    call: &ToolCall,
    config: &DispatchConfig,
    occurrence: u32,
    guards: Guards<'_>,
) -> Result<ToolResult> {
    let span = tracing::debug_span!(names::TOOL_CALL, tool = %call.name, call = %call.id);
    let mut cost = None;
    let answer = async {
        match registry.get(&call.name) {
            Ok(tool) => {
                let (spec, key) = (tool.spec(), || ctx.key_of_call(&call.id, occurrence));
                match admitted(ctx, registry, spec, &call.arguments, &call.id, key, guards).await? {
                    Ok(arguments) => {
                        let limited = limited(ctx, spec, &call.id, occurrence)?;
                        let bill = Bill::open(ctx, registry.purse(), spec, key).await?;
                        cost = spec.cost;
                        let work = guarded(&call.name, tool.call(&limited, arguments));
                        let answer = settled(ctx, spec, config, limited.bound(OPERATION, work)).await;
                        if let Some(bill) = bill {
                            bill.settle().await?;
                        }
                        answer
                    }
                    Err(Refusal::Answered(content)) => Ok(Ok(content)),
                    Err(refusal) => Ok(Err(refusal.told())),
                }
            }
            Err(err) => Ok(Err(told(&err))),
        }
    };
    let answer = answer.instrument(span).await?;
    let is_error = answer.is_err();
    let content = answer.unwrap_or_else(std::convert::identity);
    Ok(ToolResult { id: call.id.clone(), name: call.name.clone(), content, is_error, cost })
}

/// The context of one call; refuses one whose time is over, since a tool's first step may already act.
fn limited(ctx: &Context, spec: &ToolSpec, id: &str, occurrence: u32) -> Result<Context> {
    if ctx.cancel().is_cancelled() {
        return Err(Error::new(ErrorKind::Cancelled, OPERATION, "the run was cancelled"));
    }
    if ctx.is_overdue() {
        return Err(Error::new(ErrorKind::Timeout, OPERATION, "the deadline passed"));
    }
    Ok(ctx.with_call(id, occurrence, spec.timeout))
}

/// The tool's value, or what to tell the model; an error ends the run.
async fn settled(
    ctx: &Context,
    spec: &ToolSpec,
    config: &DispatchConfig,
    work: impl Future<Output = Result<Result<Value>>>,
) -> Result<Result<Value, Value>> {
    let ended = work.await;
    let timed_out = matches!(&ended, Err(err) if err.kind() == ErrorKind::Timeout);
    match ended.and_then(std::convert::identity) {
        Ok(value) if fits(&value, config.max_result_bytes) => Ok(Ok(value)),
        Ok(_) => Ok(Err(too_large(config.max_result_bytes))),
        Err(err) if ends_run(ctx, &err) => Err(err),
        Err(_) if timed_out => Ok(Err(no_answer(spec))),
        Err(err) => Ok(Err(told(&err))),
    }
}

fn ends_run(ctx: &Context, err: &Error) -> bool {
    match err.kind() {
        ErrorKind::Internal => true,
        // A tool may run work of its own that is cancelled or late; that is its failure, not the run's.
        ErrorKind::Cancelled => ctx.cancel().is_cancelled(),
        ErrorKind::Timeout => ctx.is_overdue(),
        _ => false,
    }
}

fn no_answer(spec: &ToolSpec) -> Value {
    let seconds = spec.timeout.as_secs_f64();
    let unsure = if spec.effects == Effects::Read { "" } else { "; it may have taken effect all the same" };
    failure(ErrorKind::Timeout, format!("the tool gave no answer within {seconds} s{unsure}"))
}

fn too_large(limit: usize) -> Value {
    failure(
        ErrorKind::LimitExceeded,
        format!(
            "the call was carried out, but its result is larger than {limit} bytes and was dropped; ask for less"
        ),
    )
}

/// An error as the model sees it: kind, message, context, and whether trying again can help.
fn told(err: &Error) -> Value {
    let text = err.to_string();
    // The operation in front helps who reads a log, not a model.
    let text = text.strip_prefix(err.operation()).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&text);
    let mut content = failure(err.kind(), text.chars().take(MAX_ERROR).collect::<String>());
    if let (Retry::Soon | Retry::After(_), Some(fields)) = (err.retry(), content.as_object_mut()) {
        fields.insert("retryable".to_owned(), Value::Bool(true));
    }
    content
}

/// Whether a value takes at most `limit` bytes of JSON; stops counting there.
fn fits(value: &Value, limit: usize) -> bool {
    serde_json::to_writer(Room(limit), value).is_ok()
}

struct Room(usize);

impl io::Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
