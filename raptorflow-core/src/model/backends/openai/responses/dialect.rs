//! From events of responses to parts.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::wire::{Counts, Event, OutputItem, Response};
use crate::{
    error::Result,
    model::{
        FinishReason, SseMessage, StreamPart,
        backends::{count::Tokens, openai::failure::failure},
        http::{Dialect, Origin},
    },
    types::Usage,
};

/// Reads the events of one answer.
pub(crate) struct Events {
    origin: Origin,
    /// The place of each call in the output, and whether any of its arguments arrived.
    calls: Vec<(usize, bool)>,
    usage: Option<Usage>,
    refused: bool,
}

impl Events {
    pub(crate) fn new(origin: Origin) -> Self {
        Self { origin, calls: Vec::new(), usage: None, refused: false }
    }

    fn begin(&mut self, at: usize, item: OutputItem, parts: &mut VecDeque<StreamPart>) {
        if let OutputItem::FunctionCall { call_id, name, arguments } = item {
            let index = self.calls.len();
            self.calls.push((at, !arguments.is_empty()));
            parts.push_back(StreamPart::ToolCall { index, id: Some(call_id), name: Some(name), arguments });
        }
    }

    fn arguments(&mut self, at: usize, arguments: String, parts: &mut VecDeque<StreamPart>) {
        if let Some(index) = self.calls.iter().position(|(place, _)| *place == at) {
            if let Some((_, arrived)) = self.calls.get_mut(index) {
                *arrived = true;
            }
            parts.push_back(StreamPart::ToolCall { index, id: None, name: None, arguments });
        }
    }

    fn end_item(&mut self, at: usize, item: OutputItem, parts: &mut VecDeque<StreamPart>) {
        match item {
            OutputItem::FunctionCall { call_id, name, arguments } => {
                match self.calls.iter().find(|(place, _)| *place == at) {
                    // Some hosts tell the arguments as a whole.
                    Some((_, false)) => self.arguments(at, arguments, parts),
                    Some(_) => {}
                    None => self.begin(at, OutputItem::FunctionCall { call_id, name, arguments }, parts),
                }
            }
            OutputItem::Reasoning { id, encrypted_content: Some(content) } => {
                let opaque = json!({"type": "reasoning", "id": id, "encrypted_content": content});
                parts.push_back(StreamPart::Reasoning { text: String::new(), opaque: Some(opaque) });
            }
            OutputItem::Reasoning { .. } | OutputItem::Other => {}
        }
    }

    fn finish(&mut self, response: Response, parts: &mut VecDeque<StreamPart>) -> Result<()> {
        if let Some(counts) = response.usage {
            self.usage = Some(self.usage(&counts)?);
        }
        if let Some(error) = response.error.filter(|error| !error.is_null()) {
            return Err(failure(&self.origin, &error));
        }
        let reason = match (response.status.as_deref(), response.incomplete_details) {
            (Some("failed"), _) => return Err(failure(&self.origin, &Value::Null)),
            (_, Some(details)) => match details.reason {
                Some(reason) if reason == "max_output_tokens" => FinishReason::Length,
                Some(reason) if reason == "content_filter" => FinishReason::ContentFilter,
                reason => FinishReason::Other(reason.unwrap_or_default()),
            },
            (Some("completed") | None, None) if self.refused => FinishReason::ContentFilter,
            (Some("completed") | None, None) if !self.calls.is_empty() => FinishReason::ToolCalls,
            (Some("completed") | None, None) => FinishReason::Stop,
            (Some(status), None) => FinishReason::Other(status.to_owned()),
        };
        parts.extend(self.usage.take().map(|usage| StreamPart::Usage { usage }));
        parts.push_back(StreamPart::Finish { reason });
        Ok(())
    }

    fn usage(&self, counts: &Counts) -> Result<Usage> {
        let known = |count: Tokens, field| Ok(count.known(&self.origin, field)?.unwrap_or(0));
        let cached = counts.input_tokens_details.unwrap_or_default().cached_tokens;
        let reasoning = counts.output_tokens_details.unwrap_or_default().reasoning_tokens;
        Ok(Usage {
            input_tokens: known(counts.input_tokens, "usage.input_tokens")?,
            output_tokens: known(counts.output_tokens, "usage.output_tokens")?,
            cached_tokens: known(cached, "usage.cached_tokens")?,
            reasoning_tokens: known(reasoning, "usage.reasoning_tokens")?,
        })
    }
}

impl Dialect for Events {
    fn read(&mut self, message: &SseMessage, parts: &mut VecDeque<StreamPart>) -> Result<()> {
        let data = message.data.trim();
        // Some hosts end this stream as they end the other.
        if data.is_empty() || data == "[DONE]" {
            return Ok(());
        }
        let event: Event = serde_json::from_str(data).map_err(|err| self.origin.no_event(data, &err))?;
        match event {
            Event::ItemAdded { output_index, item } => self.begin(output_index, item, parts),
            Event::ItemDone { output_index, item } => self.end_item(output_index, item, parts),
            Event::Arguments { output_index, delta } => self.arguments(output_index, delta, parts),
            Event::Text { delta } => push_text(delta, parts),
            Event::Refusal { delta } => {
                self.refused = true;
                push_text(delta, parts);
            }
            Event::Reasoning { delta } => push_thought(delta, parts),
            Event::SummaryPart { summary_index } if summary_index > 0 => push_thought("\n\n".into(), parts),
            Event::SummaryPart { .. } | Event::Unknown => {}
            Event::Over { response } => return self.finish(response, parts),
            Event::Error { error: Some(error), .. } if !error.is_null() => {
                return Err(failure(&self.origin, &error));
            }
            Event::Error { code, message, .. } => {
                return Err(failure(&self.origin, &json!({"code": code, "message": message})));
            }
        }
        Ok(())
    }

    fn end(&mut self, _parts: &mut VecDeque<StreamPart>) -> Result<()> {
        Ok(())
    }

    fn break_off(&mut self, parts: &mut VecDeque<StreamPart>) {
        parts.extend(self.usage.take().map(|usage| StreamPart::Usage { usage }));
    }
}

fn push_text(text: String, parts: &mut VecDeque<StreamPart>) {
    if !text.is_empty() {
        parts.push_back(StreamPart::Text { text });
    }
}

fn push_thought(text: String, parts: &mut VecDeque<StreamPart>) {
    if !text.is_empty() {
        parts.push_back(StreamPart::Reasoning { text, opaque: None });
    }
}
