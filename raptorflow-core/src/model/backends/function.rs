//! `FunctionModel`: a model that is a function of the host.

use std::{fmt, panic::AssertUnwindSafe, pin::Pin, sync::Arc};

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result},
    model::{ChatModel, ChatRequest, ChatStream, FinishReason, ModelInfo, StreamPart, bind_stream},
    runtime::Context,
    types::{ToolCall, Usage},
};

type Work = dyn Fn(Context, ChatRequest) -> Pin<Box<dyn Future<Output = Result<Value>> + Send>> + Send + Sync;

/// A model that is an async function: the binding of another language, a rule, a test double.
///
/// The function answers a string, or an object with any of `text` (a string, or the strings that it arrives in),
/// `reasoning`, `tool_calls` (objects with `id`, `name` and `arguments`), `usage` (as [`Usage`]) and `finish` (as
/// [`FinishReason`]); another form is `InvalidOutput`.
///
/// ```
/// use raptorflow_core::model::{ChatRequest, FunctionModel, Model, ModelInfo};
/// use raptorflow_core::{runtime::{Context, Runtime}, types::Message};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let info = ModelInfo::new("host:echo");
/// let model = Model::new(FunctionModel::new(info, |_ctx, request: ChatRequest| async move {
///     Ok(request.messages.last().map(Message::text).unwrap_or_default().into())
/// }));
/// let ctx = Context::new(&Runtime::current()?);
/// let answer = model.complete(&ctx, &ChatRequest::new(vec![Message::user("hello")])).await?;
/// assert_eq!(answer.message.text(), "hello");
/// # Ok::<(), raptorflow_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct FunctionModel {
    info: ModelInfo,
    work: Arc<Work>,
}

impl FunctionModel {
    /// A model that calls `work` with the context and the request.
    pub fn new<F, R>(info: ModelInfo, work: F) -> Self
    where
        F: Fn(Context, ChatRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value>> + Send + 'static,
    {
        Self { info, work: Arc::new(move |ctx, request| Box::pin(work(ctx, request))) }
    }
}

#[async_trait]
impl ChatModel for FunctionModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, ctx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        self.info.check(request)?;
        let (name, work) = (Arc::clone(&self.info.name), Arc::clone(&self.work));
        let (call_ctx, request) = (ctx.clone(), request.clone());
        let answer = async move {
            let called = AssertUnwindSafe(async { work(call_ctx, request).await }).catch_unwind().await;
            let panicked = |_| {
                let message = "the model's function panicked";
                Err(Error::new(ErrorKind::Callback, "model.function", message).with("model", &name))
            };
            match called.unwrap_or_else(panicked).and_then(|value| parts(value, &name)) {
                Ok(parts) => parts.into_iter().map(Ok).collect(),
                Err(err) => vec![Err(err)],
            }
        };
        let parts = stream::once(answer).flat_map(stream::iter);
        Ok(bind_stream(ctx, &self.info.name, parts))
    }
}

impl fmt::Debug for FunctionModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionModel").field("info", &self.info).finish_non_exhaustive()
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Reply {
    text: Text,
    reasoning: String,
    tool_calls: Vec<ToolCall>,
    usage: Option<Usage>,
    finish: Option<FinishReason>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Whole(String),
    Pieces(Vec<String>),
}

impl Default for Text {
    fn default() -> Self {
        Self::Pieces(Vec::new())
    }
}

impl Text {
    fn into_parts(self) -> impl Iterator<Item = StreamPart> {
        let pieces = match self {
            Self::Whole(text) => vec![text],
            Self::Pieces(pieces) => pieces,
        };
        pieces.into_iter().filter(|text| !text.is_empty()).map(|text| StreamPart::Text { text })
    }
}

/// The parts of an answer in the form that a function gives.
pub(crate) fn parts(value: Value, model: &str) -> Result<Vec<StreamPart>> {
    let reply: Reply = match value {
        Value::String(text) => Reply { text: Text::Whole(text), ..Reply::default() },
        Value::Object(_) => {
            serde_json::from_value(value).map_err(|err| wrong_form(model).with("reason", err))?
        }
        _ => return Err(wrong_form(model)),
    };
    let default = if reply.tool_calls.is_empty() { FinishReason::Stop } else { FinishReason::ToolCalls };
    let mut parts = Vec::with_capacity(reply.tool_calls.len() + 4);
    if !reply.reasoning.is_empty() {
        parts.push(StreamPart::Reasoning { text: reply.reasoning, opaque: None });
    }
    parts.extend(reply.text.into_parts());
    parts.extend(reply.tool_calls.into_iter().enumerate().map(|(index, call)| StreamPart::ToolCall {
        index,
        id: Some(call.id),
        name: Some(call.name),
        arguments: match call.arguments {
            Value::String(text) => text,
            other => other.to_string(),
        },
    }));
    parts.extend(reply.usage.map(|usage| StreamPart::Usage { usage }));
    parts.push(StreamPart::Finish { reason: reply.finish.unwrap_or(default) });
    Ok(parts)
}

fn wrong_form(model: &str) -> Error {
    let message = "expected a string, or an object with `text`, `reasoning`, `tool_calls`, `usage`, `finish`";
    Error::new(ErrorKind::InvalidOutput, "model.function", message).with("model", model)
}
