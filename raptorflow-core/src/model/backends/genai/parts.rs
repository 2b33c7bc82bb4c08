//! From the events of the crate to parts.

use std::collections::VecDeque;

use futures_util::{Stream, StreamExt as _, stream};
use genai::chat::{
    ChatStream as Events, ChatStreamEvent, ContentPart, StopReason, StreamEnd, Usage as Counts,
};
use serde_json::{Map, Value, json};

use super::{convert::SIGNATURES, failure::failure};
use crate::{
    error::Result,
    model::{FinishReason, StreamPart, http::Origin, wording::result_text},
    runtime::Context,
    types::Usage,
};

struct Reader {
    ctx: Context,
    origin: Origin,
    events: Events,
    ready: VecDeque<StreamPart>,
}

/// The parts of an answer.
///
/// A call of a tool is given on whole when the answer ends: some adapters repeat its arguments from the beginning in
/// every event, and others send them once.
pub(super) fn parts(
    ctx: Context,
    origin: Origin,
    events: Events,
) -> impl Stream<Item = Result<StreamPart>> + Send {
    let reader = Reader { ctx, origin, events, ready: VecDeque::new() };
    stream::try_unfold(reader, |mut reader| async move {
        let part = reader.next().await?;
        Ok(part.map(|part| (part, reader)))
    })
}

impl Reader {
    async fn next(&mut self) -> Result<Option<StreamPart>> {
        loop {
            if let Some(part) = self.ready.pop_front() {
                return Ok(Some(part));
            }
            match self.events.next().await {
                None => return Ok(None),
                Some(Err(err)) => return Err(failure(&self.origin, &self.ctx, err).await),
                Some(Ok(ChatStreamEvent::Chunk(chunk))) if !chunk.content.is_empty() => {
                    self.ready.push_back(StreamPart::Text { text: chunk.content });
                }
                Some(Ok(ChatStreamEvent::ReasoningChunk(chunk))) if !chunk.content.is_empty() => {
                    self.ready.push_back(StreamPart::Reasoning { text: chunk.content, opaque: None });
                }
                Some(Ok(ChatStreamEvent::End(end))) => self.end(end)?,
                Some(Ok(_)) => {}
            }
        }
    }

    fn end(&mut self, end: StreamEnd) -> Result<()> {
        let StreamEnd { captured_usage, captured_stop_reason, captured_content, .. } = end;
        let (mut signatures, mut calls) = (Map::new(), 0);
        let mut sign = |id: &str, signature: String| {
            let list = signatures.entry(id.to_owned()).or_insert_with(|| json!([]));
            if let Value::Array(list) = list {
                list.push(Value::String(signature));
            }
        };
        let mut asked = Vec::new();
        for part in captured_content.into_iter().flatten() {
            match part {
                ContentPart::ThoughtSignature(signature) => sign("", signature),
                ContentPart::ToolCall(call) => {
                    for signature in call.thought_signatures.into_iter().flatten() {
                        sign(&call.call_id, signature);
                    }
                    let arguments = match &call.fn_arguments {
                        Value::Null => String::new(),
                        other => result_text(other).into_owned(),
                    };
                    let (id, name) = (Some(call.call_id), Some(call.fn_name));
                    asked.push(StreamPart::ToolCall { index: calls, id, name, arguments });
                    calls += 1;
                }
                _ => {}
            }
        }
        if !signatures.is_empty() {
            let opaque = Some(json!({ SIGNATURES: signatures }));
            self.ready.push_back(StreamPart::Reasoning { text: String::new(), opaque });
        }
        self.ready.extend(asked);
        if let Some(counts) = captured_usage {
            let usage = self.usage(&counts)?;
            self.ready.push_back(StreamPart::Usage { usage });
        }
        // The crate ends a stream that was cut off as well, but then there is no reason.
        let reason = captured_stop_reason.map(|reason| match reason {
            StopReason::Completed(_) if calls > 0 => FinishReason::ToolCalls,
            StopReason::Completed(_) | StopReason::StopSequence(_) => FinishReason::Stop,
            StopReason::MaxTokens(_) => FinishReason::Length,
            StopReason::ToolCall(_) => FinishReason::ToolCalls,
            StopReason::ContentFilter(_) => FinishReason::ContentFilter,
            StopReason::Other(reason) => FinishReason::Other(reason),
        });
        self.ready.extend(reason.map(|reason| StreamPart::Finish { reason }));
        Ok(())
    }

    fn usage(&self, counts: &Counts) -> Result<Usage> {
        let known = |count: Option<i32>| {
            u64::try_from(count.unwrap_or(0))
                .map_err(|_| self.origin.malformed("the provider told a count of tokens that is none"))
        };
        let prompt = counts.prompt_tokens_details.as_ref();
        let completion = counts.completion_tokens_details.as_ref();
        Ok(Usage {
            input_tokens: known(counts.prompt_tokens)?,
            output_tokens: known(counts.completion_tokens)?,
            cached_tokens: known(prompt.and_then(|details| details.cached_tokens))?,
            reasoning_tokens: known(completion.and_then(|details| details.reasoning_tokens))?,
        })
    }
}
