//! From OpenAI's chunks to parts.

use std::{collections::VecDeque, mem};

use serde_json::Value;

use super::wire::{CallDelta, Chunk, Counts, Delta};
use crate::{
    error::Result,
    model::{
        FinishReason, SseMessage, StreamPart,
        http::{Dialect, Origin, provider_error},
    },
    types::Usage,
};

/// Reads the chunks of one answer.
pub(super) struct Chunks {
    origin: Origin,
    /// The host's index and id of each call seen; our index is the place.
    calls: Vec<(usize, Option<String>)>,
    usage: Option<Usage>,
    reason: Option<FinishReason>,
    refused: bool,
}

impl Chunks {
    pub(super) fn new(origin: Origin) -> Self {
        Self { origin, calls: Vec::new(), usage: None, reason: None, refused: false }
    }

    fn delta(&mut self, delta: Delta, parts: &mut VecDeque<StreamPart>) {
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(text) = text(delta.reasoning_content).or_else(|| text(delta.reasoning)) {
            parts.push_back(StreamPart::Reasoning { text, opaque: None });
        }
        if let Some(text) = text(delta.content) {
            parts.push_back(StreamPart::Text { text });
        }
        if let Some(text) = text(delta.refusal) {
            self.refused = true;
            parts.push_back(StreamPart::Text { text });
        }
        for call in delta.tool_calls.unwrap_or_default() {
            parts.push_back(self.call(call));
        }
    }

    /// Some hosts give every call the index 0, so a new id begins a new call.
    fn call(&mut self, delta: CallDelta) -> StreamPart {
        let id = delta.id.filter(|id| !id.is_empty());
        let same = |(index, known): &(usize, Option<String>)| {
            *index == delta.index && (id.is_none() || known.is_none() || *known == id)
        };
        let index = self.calls.iter().rposition(same).unwrap_or_else(|| {
            self.calls.push((delta.index, id.clone()));
            self.calls.len() - 1
        });
        let arguments = delta.function.arguments.unwrap_or_default();
        StreamPart::ToolCall { index, id, name: delta.function.name, arguments }
    }

    fn finish(&mut self, parts: &mut VecDeque<StreamPart>) {
        let Some(reason) = self.reason.take() else { return };
        parts.extend(self.usage.take().map(|usage| StreamPart::Usage { usage }));
        let reason = match reason {
            _ if mem::take(&mut self.refused) => FinishReason::ContentFilter,
            // Some hosts say `stop` beside calls.
            FinishReason::Stop if !self.calls.is_empty() => FinishReason::ToolCalls,
            other => other,
        };
        parts.push_back(StreamPart::Finish { reason });
    }

    fn failure(&self, error: &Value) -> crate::Error {
        let text = |key: &str| match error.get(key) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let message = text("message").or_else(|| error.as_str().map(str::to_owned));
        provider_error(&self.origin, &text("code").or_else(|| text("type")), &message)
    }
}

impl Dialect for Chunks {
    fn read(&mut self, message: &SseMessage, parts: &mut VecDeque<StreamPart>) -> Result<()> {
        let data = message.data.trim();
        if data == "[DONE]" {
            self.finish(parts);
            return Ok(());
        }
        if data.is_empty() {
            return Ok(());
        }
        let chunk: Chunk = serde_json::from_str(data).map_err(|err| {
            self.origin
                .malformed("an event of the stream is not the expected JSON")
                .with("bytes", data.len())
                .with("column", err.column())
        })?;
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            return Err(self.failure(&error));
        }
        if let Some(counts) = chunk.usage {
            self.usage = Some(usage(&counts));
        }
        for choice in chunk.choices.into_iter().filter(|choice| choice.index == 0) {
            self.delta(choice.delta.unwrap_or_default(), parts);
            if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
                self.reason = Some(finish_reason(reason));
            }
        }
        Ok(())
    }

    fn end(&mut self, parts: &mut VecDeque<StreamPart>) {
        // Some hosts close the connection without `[DONE]`; a reason for the end is enough.
        self.finish(parts);
    }
}

fn finish_reason(reason: String) -> FinishReason {
    match reason.as_str() {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::ContentFilter,
        _ => FinishReason::Other(reason),
    }
}

fn usage(counts: &Counts) -> Usage {
    let cached = counts.prompt_tokens_details.as_ref().and_then(|details| details.cached_tokens);
    let reasoning = counts.completion_tokens_details.as_ref().and_then(|details| details.reasoning_tokens);
    Usage {
        input_tokens: counts.prompt_tokens,
        output_tokens: counts.completion_tokens,
        cached_tokens: cached.or(counts.prompt_cache_hit_tokens).unwrap_or(0),
        reasoning_tokens: reasoning.unwrap_or(0),
    }
}
