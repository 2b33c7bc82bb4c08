//! From chunks of chat completions to parts.

use std::{collections::VecDeque, mem};

use super::wire::{CallDelta, Chunk, Counts, Delta, Text};
use crate::{
    error::Result,
    model::{
        FinishReason, SseMessage, StreamPart,
        backends::openai::failure::failure,
        http::{Dialect, Origin},
    },
    types::Usage,
};

/// Reads the chunks of one answer.
pub(crate) struct Chunks {
    origin: Origin,
    /// The host's index and id of each call seen; our index is the place.
    calls: Vec<(usize, Option<String>)>,
    usage: Option<Usage>,
    reason: Option<FinishReason>,
    refused: bool,
}

impl Chunks {
    pub(crate) fn new(origin: Origin) -> Self {
        Self { origin, calls: Vec::new(), usage: None, reason: None, refused: false }
    }

    fn delta(&mut self, delta: Delta<'_>, parts: &mut VecDeque<StreamPart>) {
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
    fn call(&mut self, delta: CallDelta<'_>) -> StreamPart {
        let id = text(delta.id);
        let same = |(index, known): &(usize, Option<String>)| {
            *index == delta.index && (id.is_none() || known.is_none() || *known == id)
        };
        let index = self.calls.iter().rposition(same).unwrap_or_else(|| {
            self.calls.push((delta.index, id.clone()));
            self.calls.len() - 1
        });
        let function = delta.function.unwrap_or_default();
        let arguments = text(function.arguments).unwrap_or_default();
        StreamPart::ToolCall { index, id, name: text(function.name), arguments }
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

    fn usage(&self, counts: &Counts) -> Result<Usage> {
        let known = |count: crate::model::backends::count::Tokens, field| {
            Ok(count.known(&self.origin, field)?.unwrap_or(0))
        };
        let cached = counts.prompt_tokens_details.unwrap_or_default().cached_tokens;
        let reasoning = counts.completion_tokens_details.unwrap_or_default().reasoning_tokens;
        Ok(Usage {
            input_tokens: known(counts.prompt_tokens, "usage.prompt_tokens")?,
            output_tokens: known(counts.completion_tokens, "usage.completion_tokens")?,
            cached_tokens: known(cached.or(counts.prompt_cache_hit_tokens), "usage.cached_tokens")?,
            reasoning_tokens: known(reasoning, "usage.reasoning_tokens")?,
        })
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
        let chunk: Chunk<'_> = serde_json::from_str(data).map_err(|err| self.origin.no_event(data, &err))?;
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            return Err(failure(&self.origin, &error));
        }
        if let Some(choice) = chunk.choice {
            self.delta(choice.delta.unwrap_or_default(), parts);
            if let Some(reason) = text(choice.finish_reason) {
                self.reason = Some(finish_reason(reason));
            }
        }
        if let Some(counts) = chunk.usage {
            self.usage = Some(self.usage(&counts)?);
        }
        Ok(())
    }

    fn end(&mut self, parts: &mut VecDeque<StreamPart>) -> Result<()> {
        // Some hosts close the connection without `[DONE]`; a reason for the end is enough.
        self.finish(parts);
        Ok(())
    }

    fn break_off(&mut self, parts: &mut VecDeque<StreamPart>) {
        parts.extend(self.usage.take().map(|usage| StreamPart::Usage { usage }));
    }
}

fn text(text: Option<Text<'_>>) -> Option<String> {
    text.filter(|text| !text.0.is_empty()).map(|text| text.0.into_owned())
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
