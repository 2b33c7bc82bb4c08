//! From Anthropic's events to parts.

use std::{
    collections::{HashMap, VecDeque},
    mem,
};

use serde_json::json;

use super::{
    convert::{ANSWER_TOOL, unwrap},
    wire::{Begun, Counts, Delta, Event},
};
use crate::{
    error::Result,
    model::{
        FinishReason, SseMessage, StreamPart,
        backends::count::Tokens,
        http::{Dialect, Origin, provider_error},
    },
    types::Usage,
};

/// About how many bytes of an answer are one token.
const BYTES_PER_TOKEN: u64 = 4;

/// How a structured answer comes back, if one was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Free text, or JSON that the API enforces: every tool is a tool.
    Text,
    /// The input of the answer tool is the answer.
    Plain,
    /// The answer is one property of the input.
    Wrapped,
}

/// A block of the answer that is open.
enum Block {
    Thinking { signature: String },
    Call { index: usize },
    Answer { input: String },
    Other,
}

/// Reads the events of one answer.
pub(super) struct Events {
    origin: Origin,
    form: Form,
    blocks: HashMap<usize, Block>,
    calls: usize,
    answered: bool,
    /// How many bytes of the answer arrived.
    bytes: u64,
    counts: Counts,
    told: bool,
    reason: Option<FinishReason>,
}

impl Events {
    pub(super) fn new(origin: Origin, form: Form) -> Self {
        Self {
            origin,
            form,
            blocks: HashMap::new(),
            calls: 0,
            answered: false,
            bytes: 0,
            counts: Counts::default(),
            told: false,
            reason: None,
        }
    }

    fn begin(&mut self, at: usize, begun: Begun, parts: &mut VecDeque<StreamPart>) {
        let block = match begun {
            Begun::Text { text } => {
                push_text(text, parts);
                Block::Other
            }
            Begun::Thinking { thinking, signature } => {
                push_thought(thinking, parts);
                Block::Thinking { signature }
            }
            Begun::RedactedThinking { data } => {
                let opaque = Some(json!({"type": "redacted_thinking", "data": data}));
                parts.push_back(StreamPart::Reasoning { text: String::new(), opaque });
                Block::Other
            }
            Begun::ToolUse { name, .. } if self.form != Form::Text && name == ANSWER_TOOL => {
                self.answered = true;
                Block::Answer { input: String::new() }
            }
            Begun::ToolUse { id, name } => {
                let index = self.calls;
                self.calls += 1;
                let (id, name) = (Some(id), Some(name));
                parts.push_back(StreamPart::ToolCall { index, id, name, arguments: String::new() });
                Block::Call { index }
            }
            Begun::Other => Block::Other,
        };
        self.blocks.insert(at, block);
    }

    fn delta(&mut self, at: usize, delta: Delta, parts: &mut VecDeque<StreamPart>) {
        self.bytes = self.bytes.saturating_add(match &delta {
            Delta::TextDelta { text } => text.len() as u64,
            Delta::ThinkingDelta { thinking } => thinking.len() as u64,
            Delta::InputJsonDelta { partial_json } => partial_json.len() as u64,
            Delta::SignatureDelta { .. } | Delta::Other => 0,
        });
        match (delta, self.blocks.get_mut(&at)) {
            (Delta::TextDelta { text }, _) => push_text(text, parts),
            (Delta::ThinkingDelta { thinking }, _) => push_thought(thinking, parts),
            (Delta::SignatureDelta { signature: more }, Some(Block::Thinking { signature })) => {
                signature.push_str(&more);
            }
            (Delta::InputJsonDelta { partial_json }, Some(Block::Call { index })) => {
                let (index, arguments) = (*index, partial_json);
                parts.push_back(StreamPart::ToolCall { index, id: None, name: None, arguments });
            }
            (Delta::InputJsonDelta { partial_json }, Some(Block::Answer { .. }))
                if self.form == Form::Plain =>
            {
                push_text(partial_json, parts);
            }
            (Delta::InputJsonDelta { partial_json }, Some(Block::Answer { input })) => {
                input.push_str(&partial_json);
            }
            _ => {}
        }
    }

    fn end_block(&mut self, at: usize, parts: &mut VecDeque<StreamPart>) {
        match self.blocks.remove(&at) {
            Some(Block::Thinking { signature }) => {
                let opaque = Some(json!({"type": "thinking", "signature": signature}));
                parts.push_back(StreamPart::Reasoning { text: String::new(), opaque });
            }
            // What cannot be unwrapped goes on as it is, and the check of the answer says what is wrong.
            Some(Block::Answer { input }) if self.form == Form::Wrapped => {
                push_text(unwrap(&input).map_or(input, |value| value.to_string()), parts);
            }
            _ => {}
        }
    }

    fn count(&mut self, counts: &Counts) {
        let known = &mut self.counts;
        known.input_tokens = counts.input_tokens.or(known.input_tokens);
        known.output_tokens = counts.output_tokens.or(known.output_tokens);
        known.cache_creation_input_tokens =
            counts.cache_creation_input_tokens.or(known.cache_creation_input_tokens);
        known.cache_read_input_tokens = counts.cache_read_input_tokens.or(known.cache_read_input_tokens);
        self.told = true;
    }

    fn finish(&mut self, parts: &mut VecDeque<StreamPart>) -> Result<()> {
        let Some(reason) = self.reason.take() else { return Ok(()) };
        let usage = usage(&self.counts, &self.origin)?;
        self.told = false;
        parts.push_back(StreamPart::Usage { usage });
        // The answer tool is ours; the caller has no tool to run.
        let answered = self.answered && self.calls == 0 && reason == FinishReason::ToolCalls;
        parts.push_back(StreamPart::Finish { reason: if answered { FinishReason::Stop } else { reason } });
        Ok(())
    }
}

impl Dialect for Events {
    fn read(&mut self, message: &SseMessage, parts: &mut VecDeque<StreamPart>) -> Result<()> {
        let event: Event =
            serde_json::from_str(&message.data).map_err(|err| self.origin.no_event(&message.data, &err))?;
        match event {
            Event::MessageStart { message } => self.count(&message.usage),
            Event::ContentBlockStart { index, content_block } => self.begin(index, content_block, parts),
            Event::ContentBlockDelta { index, delta } => self.delta(index, delta, parts),
            Event::ContentBlockStop { index } => self.end_block(index, parts),
            Event::MessageDelta { delta, usage } => {
                self.count(&usage);
                self.reason = delta.stop_reason.map(finish_reason).or(self.reason.take());
            }
            Event::MessageStop => return self.finish(parts),
            Event::Error { error } => return Err(provider_error(&self.origin, &error.kind, &error.message)),
            Event::Other => {}
        }
        Ok(())
    }

    fn end(&mut self, parts: &mut VecDeque<StreamPart>) -> Result<()> {
        self.finish(parts)
    }

    fn break_off(&mut self, parts: &mut VecDeque<StreamPart>) {
        if !mem::take(&mut self.told) {
            return;
        }
        // The API tells what it wrote at the end, so what arrived is counted where it is more.
        if let Ok(mut usage) = usage(&self.counts, &self.origin) {
            usage.output_tokens = usage.output_tokens.max(self.bytes / BYTES_PER_TOKEN);
            parts.push_back(StreamPart::Usage { usage });
        }
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

fn finish_reason(reason: String) -> FinishReason {
    match reason.as_str() {
        "end_turn" | "stop_sequence" => FinishReason::Stop,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::ContentFilter,
        _ => FinishReason::Other(reason),
    }
}

fn usage(counts: &Counts, origin: &Origin) -> Result<Usage> {
    let known = |count: Tokens, field| Ok(count.known(origin, field)?.unwrap_or(0));
    let cached = known(counts.cache_read_input_tokens, "usage.cache_read_input_tokens")?;
    let written = known(counts.cache_creation_input_tokens, "usage.cache_creation_input_tokens")?;
    let fresh = known(counts.input_tokens, "usage.input_tokens")?;
    Ok(Usage {
        // The API counts cached tokens beside the input; ours is all that was read.
        input_tokens: fresh.saturating_add(written).saturating_add(cached),
        output_tokens: known(counts.output_tokens, "usage.output_tokens")?,
        cached_tokens: cached,
        reasoning_tokens: 0,
    })
}
