//! `ScriptedModel`: a chat model that plays given replies and remembers what it was asked.

use std::{
    collections::VecDeque,
    fmt::{self, Debug},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    model::{
        ChatModel, ChatRequest, ChatStream, FinishReason, ModelAbilities, ModelInfo, StreamPart, bind_stream,
    },
    runtime::Context,
    types::Usage,
};

type Matcher = Arc<dyn Fn(&ChatRequest) -> bool + Send + Sync>;

/// One reply of a [`ScriptedModel`].
#[derive(Clone, Debug)]
pub struct Reply {
    parts: Vec<StreamPart>,
    /// Ends the reply after its parts.
    error: Option<Error>,
    /// Fails the call before any part.
    refuses: bool,
    hangs: bool,
    delay: Duration,
}

impl Reply {
    /// The given parts; without a `Finish` among them the stream is cut off.
    #[must_use]
    pub fn parts(parts: Vec<StreamPart>) -> Self {
        Self { parts, error: None, refuses: false, hangs: false, delay: Duration::ZERO }
    }

    /// A text, in one piece.
    pub fn text(text: impl Into<String>) -> Self {
        Self::finished(vec![StreamPart::text(text)], FinishReason::Stop)
    }

    /// A JSON value as text.
    #[must_use]
    pub fn json(value: &Value) -> Self {
        Self::text(value.to_string())
    }

    /// A call of one tool with the id `call_0`.
    pub fn tool_call(name: impl Into<String>, arguments: &Value) -> Self {
        Self::tool_calls([(name, arguments.clone())])
    }

    /// Calls of several tools with the ids `call_0`, `call_1` and so on.
    pub fn tool_calls<N: Into<String>>(calls: impl IntoIterator<Item = (N, Value)>) -> Self {
        let parts = calls.into_iter().enumerate().map(|(index, (name, arguments))| StreamPart::ToolCall {
            index,
            id: Some(format!("call_{index}")),
            name: Some(name.into()),
            arguments: arguments.to_string(),
        });
        Self::finished(parts.collect(), FinishReason::ToolCalls)
    }

    /// An error instead of an answer.
    #[must_use]
    pub fn error(err: Error) -> Self {
        Self { error: Some(err), refuses: true, ..Self::parts(Vec::new()) }
    }

    /// No answer at all, until the context or the caller ends the call.
    #[must_use]
    pub fn hang() -> Self {
        Self { hangs: true, ..Self::parts(Vec::new()) }
    }

    /// Texts and arguments in pieces of at most this many characters.
    #[must_use]
    pub fn in_pieces(mut self, chars: usize) -> Self {
        self.parts = self.parts.into_iter().flat_map(|part| pieces(part, chars.max(1))).collect();
        self
    }

    /// Only the first parts, and then nothing more until the context or the caller ends the call.
    #[must_use]
    pub fn silent_after(mut self, parts: usize) -> Self {
        self.parts.truncate(parts);
        self.hangs = true;
        self
    }

    /// Usage, told before the end.
    #[must_use]
    pub fn with_usage(mut self, usage: Usage) -> Self {
        let end = self.parts.iter().position(|part| matches!(part, StreamPart::Finish { .. }));
        self.parts.insert(end.unwrap_or(self.parts.len()), StreamPart::Usage { usage });
        self
    }

    /// Another reason for the end.
    #[must_use]
    pub fn with_finish(mut self, finish: &FinishReason) -> Self {
        for part in &mut self.parts {
            if let StreamPart::Finish { reason } = part {
                reason.clone_from(finish);
            }
        }
        self
    }

    /// Only the first parts, then an `Unavailable` error as of a lost connection.
    #[must_use]
    pub fn cut_after(mut self, parts: usize) -> Self {
        self.parts.truncate(parts);
        let err = Error::new(ErrorKind::Unavailable, "model.stream", "the answer was cut off");
        self.error = Some(err.retryable(Retry::Soon));
        self
    }

    /// A pause by the context's clock before the first part.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    fn finished(mut parts: Vec<StreamPart>, reason: FinishReason) -> Self {
        parts.push(StreamPart::Finish { reason });
        Self::parts(parts)
    }
}

fn pieces(part: StreamPart, chars: usize) -> Vec<StreamPart> {
    match part {
        StreamPart::Text { text } => cut(&text, chars).map(StreamPart::text).collect(),
        StreamPart::Reasoning { text, opaque: None } => {
            cut(&text, chars).map(|text| StreamPart::Reasoning { text, opaque: None }).collect()
        }
        StreamPart::ToolCall { index, mut id, mut name, arguments } => cut(&arguments, chars)
            .map(|arguments| StreamPart::ToolCall { index, id: id.take(), name: name.take(), arguments })
            .collect(),
        other => vec![other],
    }
}

fn cut(text: &str, chars: usize) -> impl Iterator<Item = String> {
    let all: Vec<char> = text.chars().collect();
    let pieces: Vec<String> = all.chunks(chars).map(|piece| piece.iter().collect()).collect();
    if pieces.is_empty() { vec![String::new()] } else { pieces }.into_iter()
}

/// A chat model that plays given replies and remembers what it was asked; cloning shares the script.
///
/// A request is answered by the first rule of [`ScriptedModel::when`] that matches, else by the next reply of the
/// list, else by [`ScriptedModel::always`], else by a `NotFound` error.
///
/// ```
/// use raptorflow_core::{model::{ChatRequest, Model}, runtime::{Context, Runtime}, types::Message};
/// use raptorflow_core::testing::{Reply, ScriptedModel};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let script = ScriptedModel::new([Reply::text("Hello."), Reply::text("Again.")]);
/// let model = Model::new(script.clone());
/// let ctx = Context::new(&Runtime::current()?);
/// let answer = model.complete(&ctx, &ChatRequest::new(vec![Message::user("Hi")])).await?;
/// assert_eq!(answer.message.text(), "Hello.");
/// assert_eq!(script.requests()[0].messages[0].text(), "Hi");
/// assert_eq!(script.remaining(), 1);
/// # Ok::<(), raptorflow_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct ScriptedModel {
    info: Arc<ModelInfo>,
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    rules: Vec<(Matcher, Reply)>,
    replies: VecDeque<Reply>,
    always: Option<Reply>,
    requests: Vec<ChatRequest>,
    keys: Vec<Option<String>>,
}

impl ScriptedModel {
    /// A model named `scripted:model` with every ability that plays the replies in order.
    #[must_use]
    pub fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        let info = ModelInfo { abilities: ModelAbilities::all(), ..ModelInfo::new("scripted:model") };
        let script = Script { replies: replies.into_iter().collect(), ..Script::default() };
        Self { info: Arc::new(info), script: Arc::new(Mutex::new(script)) }
    }

    /// Under another name.
    #[must_use]
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        let info = ModelInfo { name: name.into(), ..(*self.info).clone() };
        self.with_info(info)
    }

    /// Another name, abilities or context window.
    #[must_use]
    pub fn with_info(mut self, info: ModelInfo) -> Self {
        self.info = Arc::new(info);
        self
    }

    /// Answers every request that matches; earlier rules come first.
    #[must_use]
    pub fn when(self, matches: impl Fn(&ChatRequest) -> bool + Send + Sync + 'static, reply: Reply) -> Self {
        self.change(|script| script.rules.push((Arc::new(matches), reply)));
        self
    }

    /// Answers every request whose last message has this text in it.
    #[must_use]
    pub fn when_asked(self, text: impl Into<String>, reply: Reply) -> Self {
        let text = text.into();
        self.when(move |asked| asked.messages.last().is_some_and(|it| it.text().contains(&text)), reply)
    }

    /// Answers every request that nothing else answers.
    #[must_use]
    pub fn always(self, reply: Reply) -> Self {
        self.change(|script| script.always = Some(reply));
        self
    }

    /// Adds a reply to the end of the list.
    pub fn push(&self, reply: Reply) {
        self.change(|script| script.replies.push_back(reply));
    }

    /// Every request so far, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<ChatRequest> {
        self.change(|script| script.requests.clone())
    }

    /// The idempotency key of every request so far, oldest first.
    #[must_use]
    pub fn keys(&self) -> Vec<Option<String>> {
        self.change(|script| script.keys.clone())
    }

    /// How many replies of the list are left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.change(|script| script.replies.len())
    }

    fn change<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        // A std mutex: no await happens while it is held.
        change(&mut self.script.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn next(&self, ctx: &Context, request: &ChatRequest) -> Result<Reply> {
        self.change(|script| {
            script.requests.push(request.clone());
            script.keys.push(ctx.idempotency_key().map(ToOwned::to_owned));
            let ruled =
                script.rules.iter().find(|(matches, _)| matches(request)).map(|(_, reply)| reply.clone());
            let reply = ruled.or_else(|| script.replies.pop_front()).or_else(|| script.always.clone());
            reply.ok_or_else(|| {
                Error::new(ErrorKind::NotFound, "model.stream", "the script has no reply left")
                    .with("model", &self.info.name)
                    .with("requests", script.requests.len())
            })
        })
    }
}

impl Debug for ScriptedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedModel").field("name", &self.info.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl ChatModel for ScriptedModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, ctx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        self.info.check(request)?;
        let reply = self.next(ctx, request)?;
        if reply.refuses
            && let Some(err) = reply.error
        {
            ctx.bound("model.stream", ctx.runtime().clock().sleep(reply.delay)).await?;
            return Err(err);
        }
        let parts = stream::iter(reply.parts.into_iter().map(Ok).chain(reply.error.map(Err)));
        let silence =
            if reply.hangs { stream::pending().left_stream() } else { stream::empty().right_stream() };
        let parts = parts.chain(silence);
        if reply.delay.is_zero() {
            return Ok(bind_stream(ctx, &self.info.name, parts));
        }
        let pause = ctx.runtime().clock().sleep(reply.delay);
        Ok(bind_stream(ctx, &self.info.name, pause.map(|()| parts).flatten_stream()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        model::{Model, PartialAnswer},
        runtime::Runtime,
        types::Message,
    };

    fn ask(text: &str) -> ChatRequest {
        ChatRequest::new(vec![Message::user(text)])
    }

    fn ctx() -> Context {
        Context::new(&Runtime::current().unwrap())
    }

    #[tokio::test]
    async fn rules_come_before_the_list_and_the_list_before_the_rest() {
        let script = ScriptedModel::new([Reply::text("listed")])
            .when(|request| request.messages.iter().any(|m| m.text() == "rule"), Reply::text("ruled"));
        let model = Model::new(script.clone());
        for (question, answer) in [("rule", "ruled"), ("x", "listed"), ("rule", "ruled")] {
            assert_eq!(model.complete(&ctx(), &ask(question)).await.unwrap().message.text(), answer);
        }
        let err = model.complete(&ctx(), &ask("x")).await.unwrap_err();
        assert_eq!((err.kind(), err.get("requests")), (ErrorKind::NotFound, Some("4")));
        let script = script.always(Reply::tool_call("find", &json!({"q": 1})).in_pieces(2));
        let answer = Model::new(script).complete(&ctx(), &ask("x")).await.unwrap();
        assert_eq!(answer.message.tool_calls().next().unwrap().arguments, json!({"q": 1}));
        assert_eq!(answer.finish, FinishReason::ToolCalls);
    }

    #[tokio::test]
    async fn a_cut_reply_keeps_what_arrived() {
        let model = Model::new(ScriptedModel::new([Reply::text("abcdef").in_pieces(2).cut_after(2)]));
        let err = model.complete(&ctx(), &ask("x")).await.unwrap_err();
        assert_eq!(err.cause::<PartialAnswer>().unwrap().text, "abcd");
        assert_eq!(err.retry(), Retry::Soon);
    }

    #[tokio::test]
    async fn a_hanging_reply_ends_with_the_context() {
        let model = Model::new(ScriptedModel::new([]).always(Reply::hang()));
        let cancelled = ctx();
        cancelled.cancel().cancel();
        assert_eq!(model.complete(&cancelled, &ask("x")).await.unwrap_err().kind(), ErrorKind::Cancelled);
        let late = ctx().with_timeout(Duration::ZERO);
        assert_eq!(model.complete(&late, &ask("x")).await.unwrap_err().kind(), ErrorKind::Timeout);
    }
}
