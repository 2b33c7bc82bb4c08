//! `StreamPart`, a piece of an answer, and `Accumulator`, which folds pieces into a response.

use std::{fmt, mem, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    model::{ChatResponse, FinishReason},
    types::{Message, Part, Role, ToolCall, Usage},
};

/// How much text an answer may have in all, in bytes; a provider that never stops is stopped here.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// How many tools one answer may ask for.
const MAX_CALLS: usize = 256;

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum StreamPart {
    /// More text.
    Text {
        /// The piece.
        text: String,
    },
    /// More of what the model thinks.
    Reasoning {
        /// The piece.
        text: String,
        /// The provider's own data, to be sent back unchanged; it completes a block of reasoning.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        opaque: Option<Value>,
    },
    /// More of a tool call.
    ToolCall {
        /// Which of the calls, from 0.
        index: usize,
        /// The id; in the first piece of a call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// The tool; in the first piece of a call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// More of the arguments' JSON text.
        #[serde(default)]
        arguments: String,
    },
    /// Another model than the one that was asked gives the answer; before any other part, at most once.
    Model {
        /// Its name, `provider:model`.
        name: Arc<str>,
    },
    /// What the answer took.
    Usage {
        /// The counts.
        usage: Usage,
    },
    /// The end.
    Finish {
        /// Why.
        reason: FinishReason,
    },
}

impl StreamPart {
    /// A piece of text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }
}

/// Folds the pieces of an answer into a response.
///
/// ```
/// use raptorflow_core::model::{Accumulator, FinishReason, StreamPart};
/// let mut answer = Accumulator::new("offline:extractive".into());
/// answer.push(StreamPart::text("cited "))?;
/// answer.push(StreamPart::text("text"))?;
/// assert_eq!(answer.partial().text, "cited text");
/// answer.push(StreamPart::Finish { reason: FinishReason::Stop })?;
/// assert_eq!(answer.finish()?.message.text(), "cited text");
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Accumulator {
    check: Check,
    /// The answer so far; the arguments of unfinished calls are their JSON text.
    parts: Vec<Part>,
    /// In which part each call is kept, in the order of those of the check.
    slots: Vec<usize>,
    usage: Usage,
    finish: Option<FinishReason>,
}

impl Accumulator {
    /// An answer of the named model of which nothing has arrived.
    #[must_use]
    pub fn new(model: Arc<str>) -> Self {
        let check = Check::new(model);
        Self { check, parts: Vec::new(), slots: Vec::new(), usage: Usage::default(), finish: None }
    }

    /// Adds a piece; after an error the pieces before it stay readable with [`Accumulator::partial`].
    ///
    /// # Errors
    /// `InvalidOutput` for a piece after the end and for a call whose first piece has no name.
    /// `LimitExceeded` beyond 16 MiB of text or 256 calls.
    pub fn push(&mut self, part: StreamPart) -> Result<()> {
        self.check.admit(&part)?;
        match part {
            StreamPart::Text { text } => match self.parts.last_mut() {
                Some(Part::Text { text: last }) => last.push_str(&text),
                _ if text.is_empty() => {}
                _ => self.parts.push(Part::Text { text }),
            },
            StreamPart::Reasoning { text, opaque } => match self.parts.last_mut() {
                Some(Part::Reasoning { text: last, opaque: unfinished @ None }) => {
                    last.push_str(&text);
                    *unfinished = opaque;
                }
                _ if text.is_empty() && opaque.is_none() => {}
                _ => self.parts.push(Part::Reasoning { text, opaque }),
            },
            StreamPart::ToolCall { index, id, name, arguments } => {
                self.push_call(index, id, name.unwrap_or_default(), arguments);
            }
            // The check has it.
            StreamPart::Model { .. } => {}
            StreamPart::Usage { usage } => self.usage = usage,
            StreamPart::Finish { reason } => self.finish = Some(reason),
        }
        Ok(())
    }

    /// Whether the end has arrived.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// Text and usage so far; reasoning and unfinished calls are left out.
    #[must_use]
    pub fn partial(&self) -> PartialAnswer {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text { text } => Some(text.as_str()),
            _ => None,
        });
        PartialAnswer { text: texts.collect(), usage: self.usage, source: None }
    }

    /// The whole answer.
    ///
    /// Arguments that are not JSON stay a string, which validation against the tool's schema refuses; no
    /// arguments at all are an empty object.
    ///
    /// # Errors
    /// `Unavailable` when the end never arrived; the cause is the [`PartialAnswer`].
    pub fn finish(mut self) -> Result<ChatResponse> {
        let Some(finish) = self.finish.take() else { return Err(self.cut_off()) };
        for slot in &self.slots {
            if let Some(Part::ToolCall(call)) = self.parts.get_mut(*slot) {
                call.arguments = parse_arguments(mem::take(&mut call.arguments));
            }
        }
        let message = Message { role: Role::Assistant, parts: self.parts };
        Ok(ChatResponse { model: self.check.model, message, finish, usage: self.usage })
    }

    /// The error of an answer whose end never arrived.
    pub(crate) fn cut_off(&self) -> Error {
        let message = "the answer was cut off";
        self.fail(self.check.error(ErrorKind::Unavailable, message).retryable(Retry::Soon))
    }

    /// Adds what arrived before an error to it: `partial_chars` in the context and, as the cause, the
    /// [`PartialAnswer`]; an error before any text stays as it is.
    #[must_use]
    pub fn fail(&self, err: Error) -> Error {
        let mut partial = self.partial();
        if partial.text.is_empty() {
            return err;
        }
        let chars = partial.text.chars().count();
        partial.source = std::error::Error::source(&err).is_some().then(|| err.clone());
        err.with("partial_chars", chars).caused_by(partial)
    }

    fn push_call(&mut self, index: usize, id: Option<String>, name: String, arguments: String) {
        let known = self.check.calls.iter().position(|call| *call == index);
        let slot = known.and_then(|known| self.slots.get(known));
        if let Some(Part::ToolCall(call)) = slot.and_then(|slot| self.parts.get_mut(*slot)) {
            // Some hosts repeat id and name in every piece, so only the first ones count.
            if let Value::String(text) = &mut call.arguments {
                text.push_str(&arguments);
            }
            return;
        }
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("call_{index}"));
        self.slots.push(self.parts.len());
        self.parts.push(Part::ToolCall(ToolCall { id, name, arguments: Value::String(arguments) }));
    }
}

/// What is refused of an answer as it arrives, whoever keeps its pieces.
#[derive(Debug)]
pub(crate) struct Check {
    /// Who gives the answer.
    model: Arc<str>,
    /// The calls, in the order in which they began.
    calls: Vec<usize>,
    bytes: usize,
    finished: bool,
}

impl Check {
    /// Of an answer of the named model of which nothing has arrived.
    pub(crate) fn new(model: Arc<str>) -> Self {
        Self { model, calls: Vec::new(), bytes: 0, finished: false }
    }

    /// Lets a piece in, or refuses it as [`Accumulator::push`] does.
    pub(crate) fn admit(&mut self, part: &StreamPart) -> Result<()> {
        if self.finished {
            return Err(self.error(ErrorKind::InvalidOutput, "a piece arrived after the end of the answer"));
        }
        match part {
            StreamPart::Text { text } | StreamPart::Reasoning { text, .. } => self.count(text.len())?,
            StreamPart::ToolCall { index, name, arguments, .. } => {
                self.count(arguments.len())?;
                self.admit_call(*index, name.as_deref())?;
            }
            StreamPart::Model { name } => self.model = Arc::clone(name),
            StreamPart::Usage { .. } => {}
            StreamPart::Finish { .. } => self.finished = true,
        }
        Ok(())
    }

    /// Whether the end has arrived.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    fn admit_call(&mut self, index: usize, name: Option<&str>) -> Result<()> {
        if self.calls.contains(&index) {
            return Ok(());
        }
        if name.is_none_or(str::is_empty) {
            return Err(self
                .error(ErrorKind::InvalidOutput, "the first piece of a tool call has no name")
                .with("call", index));
        }
        if self.calls.len() >= MAX_CALLS {
            return Err(self
                .error(ErrorKind::LimitExceeded, "too many tool calls in one answer")
                .with("limit", MAX_CALLS));
        }
        self.calls.push(index);
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes <= MAX_ANSWER_BYTES {
            return Ok(());
        }
        Err(self.error(ErrorKind::LimitExceeded, "the answer is too long").with("bytes", MAX_ANSWER_BYTES))
    }

    fn error(&self, kind: ErrorKind, message: &'static str) -> Error {
        Error::new(kind, "model.complete", message).with("model", &self.model)
    }
}

fn parse_arguments(arguments: Value) -> Value {
    match arguments {
        Value::String(text) if text.trim().is_empty() => Value::Object(serde_json::Map::new()),
        Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        other => other,
    }
}

/// What had arrived of an answer before it broke off; find it with [`Error::cause`].
///
/// It prints the number of characters, never the text.
#[derive(Clone, Default)]
pub struct PartialAnswer {
    /// The text so far.
    pub text: String,
    /// The usage so far, that of earlier tries included; mostly zero, because providers tell it at the end.
    pub usage: Usage,
    /// The error that broke it off, where that has a cause of its own.
    source: Option<Error>,
}

impl PartialAnswer {
    /// The error of a last try, whose cause tells what all tries took; the text is that of the last one.
    pub(crate) fn of_tries(err: Error, usage: Usage) -> Error {
        let text = err.cause::<Self>().map_or_else(String::new, |partial| partial.text.clone());
        let source = std::error::Error::source(&err).is_some().then(|| err.clone());
        err.caused_by(Self { text, usage, source })
    }
}

impl fmt::Display for PartialAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} characters had arrived", self.text.chars().count())
    }
}

impl fmt::Debug for PartialAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartialAnswer").field("bytes", &self.text.len()).field("usage", &self.usage).finish()
    }
}

impl std::error::Error for PartialAnswer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|err| err as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fold(parts: Vec<StreamPart>) -> Result<ChatResponse> {
        let mut answer = Accumulator::new("test:x".into());
        parts.into_iter().try_for_each(|part| answer.push(part))?;
        answer.finish()
    }

    fn call(index: usize, id: Option<&str>, name: Option<&str>, arguments: &str) -> StreamPart {
        let (id, name) = (id.map(str::to_owned), name.map(str::to_owned));
        StreamPart::ToolCall { index, id, name, arguments: arguments.to_owned() }
    }

    fn reasoning(text: &str, opaque: Option<Value>) -> StreamPart {
        StreamPart::Reasoning { text: text.to_owned(), opaque }
    }

    fn stop() -> StreamPart {
        StreamPart::Finish { reason: FinishReason::Stop }
    }

    #[test]
    fn text_of_one_piece_is_moved_not_copied() {
        let text = "whole answer".to_owned();
        let address = text.as_ptr();
        let response = fold(vec![StreamPart::Text { text }, stop()]).unwrap();
        assert!(matches!(&response.message.parts[..], [Part::Text { text }] if text.as_ptr() == address));
    }

    #[test]
    fn pieces_of_interleaved_calls_are_joined_by_index() {
        let response = fold(vec![
            StreamPart::text("let me "),
            StreamPart::text("look"),
            call(0, Some("a"), Some("find"), "{\"q\":"),
            call(1, Some("b"), Some("read"), "not json"),
            call(0, None, None, "1}"),
            call(2, None, Some("now"), ""),
            stop(),
        ])
        .unwrap();
        let calls: Vec<_> = response.message.tool_calls().cloned().collect();
        assert_eq!(response.message.text(), "let me look");
        assert_eq!(calls[0], ToolCall { id: "a".into(), name: "find".into(), arguments: json!({"q": 1}) });
        assert_eq!(calls[1].arguments, json!("not json"));
        assert_eq!((calls[2].id.as_str(), &calls[2].arguments), ("call_2", &json!({})));
    }

    #[test]
    fn the_answer_is_of_the_model_that_gave_it() {
        let named = StreamPart::Model { name: "test:y".into() };
        assert_eq!(&*fold(vec![named, StreamPart::text("Here."), stop()]).unwrap().model, "test:y");
    }

    #[test]
    fn opaque_data_completes_a_block_of_reasoning() {
        let response = fold(vec![
            reasoning("first ", None),
            reasoning("block", None),
            reasoning("", Some(json!("s1"))),
            reasoning("second", Some(json!("s2"))),
            stop(),
        ])
        .unwrap();
        let block = |text: &str, opaque| Part::Reasoning { text: text.into(), opaque: Some(json!(opaque)) };
        assert_eq!(response.message.parts, [block("first block", "s1"), block("second", "s2")]);
    }

    #[test]
    fn a_cut_answer_keeps_its_text_as_the_cause_and_prints_only_its_length() {
        let err = fold(vec![StreamPart::text("se"), StreamPart::text("cret")]).unwrap_err();
        assert_eq!((err.kind(), err.retry()), (ErrorKind::Unavailable, Retry::Soon));
        assert_eq!(err.get("partial_chars"), Some("6"));
        assert_eq!(err.cause::<PartialAnswer>().unwrap().text, "secret");
        let stored = serde_json::to_string(&err).unwrap();
        assert!(!format!("{err:#} {err:?} {stored}").contains("secret"), "{err:?}");
    }

    #[test]
    fn adding_the_partial_answer_keeps_the_first_cause() {
        let mut answer = Accumulator::new("test:x".into());
        answer.push(StreamPart::text("so far")).unwrap();
        let io = std::io::Error::other("reset");
        let err = answer.fail(Error::new(ErrorKind::Unavailable, "model.stream", "broken").caused_by(io));
        assert!(err.cause::<std::io::Error>().is_some());
        assert!(err.cause::<PartialAnswer>().is_some());
    }

    #[test]
    fn what_does_not_fit_is_refused_and_leaves_the_rest_readable() {
        let mut answer = Accumulator::new("test:x".into());
        answer.push(StreamPart::text("kept")).unwrap();
        assert_eq!(answer.push(call(0, None, None, "{}")).unwrap_err().kind(), ErrorKind::InvalidOutput);
        let flood = StreamPart::text("x".repeat(MAX_ANSWER_BYTES));
        assert_eq!(answer.push(flood).unwrap_err().kind(), ErrorKind::LimitExceeded);
        assert_eq!(answer.partial().text, "kept");
        let mut ended = Accumulator::new("test:x".into());
        ended.push(stop()).unwrap();
        assert_eq!(ended.push(stop()).unwrap_err().kind(), ErrorKind::InvalidOutput);
    }
}
