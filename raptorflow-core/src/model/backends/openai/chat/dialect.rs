//! From chunks of chat completions to parts.

use std::{collections::VecDeque, mem};

use serde_json::{Map, Value, json};

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

/// What kind of opaque thought has the pieces that go back.
pub(super) const DETAILS: &str = "reasoning_details";
/// The fields of such a piece that arrive bit by bit.
const GROWING: [&str; 3] = ["text", "summary", "data"];

/// Reads the chunks of one answer.
pub(crate) struct Chunks {
    origin: Origin,
    /// The host's index and id of each call seen; our index is the place.
    calls: Vec<(usize, Option<String>)>,
    /// What was thought, in pieces that go back as they came.
    details: Vec<Map<String, Value>>,
    usage: Option<Usage>,
    reason: Option<FinishReason>,
    refused: bool,
}

impl Chunks {
    pub(crate) fn new(origin: Origin) -> Self {
        Self { origin, calls: Vec::new(), details: Vec::new(), usage: None, reason: None, refused: false }
    }

    fn delta(&mut self, delta: Delta<'_>, parts: &mut VecDeque<StreamPart>) {
        if let Some(text) = text(delta.reasoning_content).or_else(|| text(delta.reasoning)) {
            parts.push_back(StreamPart::Reasoning { text, opaque: None });
        }
        if let Value::Array(details) = delta.reasoning_details {
            details.into_iter().for_each(|detail| self.detail(detail));
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

    /// A piece goes on with the one before that has its kind and place.
    fn detail(&mut self, detail: Value) {
        let Value::Object(detail) = detail else { return };
        let same = |known: &&mut Map<String, Value>| {
            ["type", "index"].iter().all(|field| known.get(*field) == detail.get(*field))
        };
        let Some(known) = self.details.last_mut().filter(same) else {
            self.details.push(detail);
            return;
        };
        for (field, value) in detail {
            match (known.get_mut(&field), value) {
                (Some(Value::String(text)), Value::String(more)) if GROWING.contains(&&*field) => {
                    text.push_str(&more);
                }
                (Some(_), Value::Null) => {}
                (_, value) => drop(known.insert(field, value)),
            }
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
        if !self.details.is_empty() {
            let opaque = json!({"type": DETAILS, "details": mem::take(&mut self.details)});
            parts.push_back(StreamPart::Reasoning { text: String::new(), opaque: Some(opaque) });
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_thought_are_joined_by_kind_and_place() {
        let origin = Origin {
            operation: "model.stream",
            model: "test:x".into(),
            host: "here".into(),
            sent: bytes::Bytes::new(),
            secrets: [].into(),
        };
        let (mut chunks, mut parts) = (Chunks::new(origin), VecDeque::new());
        let told = [
            json!([{"type": "reasoning.text", "index": 0, "text": "Let me ", "signature": null}]),
            json!([{"type": "reasoning.text", "index": 0, "text": "see."}]),
            json!([{"type": "reasoning.text", "index": 0, "text": null, "signature": "s"}]),
            json!([{"type": "reasoning.encrypted", "index": 1, "data": "d"}, "no piece"]),
            json!("no list"),
        ];
        for details in told {
            let data =
                json!({"choices": [{"index": 0, "delta": {"reasoning_details": details}}]}).to_string();
            chunks.read(&SseMessage { data, ..SseMessage::default() }, &mut parts).unwrap();
        }
        let data = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}).to_string();
        chunks.read(&SseMessage { data, ..SseMessage::default() }, &mut parts).unwrap();
        chunks.end(&mut parts).unwrap();
        let opaque = json!({"type": DETAILS, "details": [
            {"type": "reasoning.text", "index": 0, "text": "Let me see.", "signature": "s"},
            {"type": "reasoning.encrypted", "index": 1, "data": "d"}]});
        assert_eq!(parts[0], StreamPart::Reasoning { text: String::new(), opaque: Some(opaque) });
        assert_eq!(parts.len(), 2);
    }
}
