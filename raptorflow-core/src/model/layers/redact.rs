//! `RedactLayer`: takes personal data out of what is sent to a model, and puts it back into the answer.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};

use futures_util::{Stream, StreamExt as _};
use serde_json::Value;

use crate::{
    error::Result,
    model::{Beginning, ChatModel, ChatRequest, ChatStream, Layer, Model, ModelInfo, Place, StreamPart},
    runtime::Context,
    security::{PatternRedactor, Placeholders, Redactor},
    types::{Document, Message, Part},
};

/// Takes personal data out of what is sent to a model, and puts it back into the answer.
///
/// A [`Redactor`] finds it; a placeholder such as `[EMAIL_1]` goes in its place.
/// It is looked for in texts, passages, files of text, arguments and results of tools, in the system message as well;
/// not in the specifications of tools, in pictures and other files, and in reasoning that a provider has signed.
/// In the answer, texts and arguments of tools get the values back, also where a placeholder arrives in pieces; what the
/// model thinks keeps the placeholders.
/// A placeholder that the model changes or makes up stays as it is.
///
/// Numbers follow the order of the conversation, so that they are the same at its next turn.
/// Nothing is remembered from one call to the next.
///
/// # Examples
/// ```
/// use raptorflow_core::{Result, runtime::{Context, Runtime}, types::Message};
/// use raptorflow_core::model::{ChatRequest, FunctionModel, Layer as _, Model, ModelInfo, RedactLayer};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let info = ModelInfo::new("host:echo");
/// let echo = Model::new(FunctionModel::new(info, |_ctx, request: ChatRequest| async move {
///     let seen = request.messages[0].text();
///     assert_eq!(seen, "I am [EMAIL_1].");
///     Ok(seen.into())
/// }));
/// let ctx = Context::new(&Runtime::current()?);
/// let request = ChatRequest::new(vec![Message::user("I am asha@example.com.")]);
/// let answer = RedactLayer::default().wrap(echo).complete(&ctx, &request).await?;
/// assert_eq!(answer.message.text(), "I am asha@example.com.");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RedactLayer(Arc<dyn Redactor>);

impl Default for RedactLayer {
    /// With a [`PatternRedactor`].
    fn default() -> Self {
        Self::new(PatternRedactor)
    }
}

impl RedactLayer {
    /// With a redactor of the host's own.
    pub fn new(redactor: impl Redactor) -> Self {
        Self(Arc::new(redactor))
    }
}

impl Layer for RedactLayer {
    fn place(&self) -> Place {
        Place::Redact
    }

    fn wrap(&self, inner: Model) -> Model {
        Model::new(Redacted { redactor: Arc::clone(&self.0), inner })
    }
}

#[derive(Debug)]
struct Redacted {
    redactor: Arc<dyn Redactor>,
    inner: Model,
}

impl ChatModel for Redacted {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    // As `async_trait` has it, but without a box of its own where there is nothing to do.
    fn stream<'a, 'b, 'c, 'd>(&'a self, ctx: &'b Context, request: &'c ChatRequest) -> Beginning<'d>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        let mut hiding = Hiding { redactor: &*self.redactor, placeholders: Placeholders::new() };
        each_text(&request.messages, &mut |text| hiding.placeholders.reserve(text));
        let sent = hiding.request(request);
        let placeholders = hiding.placeholders;
        let Some(sent) = sent.filter(|_| !placeholders.is_empty()) else {
            return self.inner.begin(ctx, request);
        };
        Box::pin(async move {
            let parts = self.inner.stream(ctx, &sent).await?;
            let (text, arguments, ready) = (String::new(), BTreeMap::new(), VecDeque::new());
            Ok(Box::pin(Restoring { parts, placeholders, text, arguments, ready }) as ChatStream)
        })
    }
}

/// Shows every text of a conversation that is looked through.
fn each_text(messages: &[Message], see: &mut impl FnMut(&str)) {
    for part in messages.iter().flat_map(|message| &message.parts) {
        match part {
            Part::Text { text } => see(text),
            // What a model thought has the placeholders of an earlier turn.
            Part::Reasoning { .. } => {}
            Part::Passage(passage) => {
                see(&passage.heading);
                see(&passage.text);
            }
            // What is in a picture or a file other than text is not seen here.
            Part::Image(_) => {}
            Part::Document(document) => {
                document.name.as_deref().into_iter().for_each(&mut *see);
                document.media.to_text().as_deref().into_iter().for_each(&mut *see);
            }
            Part::ToolCall(call) => each_string(&call.arguments, see),
            Part::ToolResult(result) => each_string(&result.content, see),
        }
    }
}

fn each_string(value: &Value, see: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => see(text),
        Value::Array(items) => items.iter().for_each(|item| each_string(item, see)),
        Value::Object(fields) => fields.values().for_each(|item| each_string(item, see)),
        _ => {}
    }
}

struct Hiding<'a> {
    redactor: &'a dyn Redactor,
    placeholders: Placeholders,
}

impl Hiding<'_> {
    /// The request without what is hidden; `None` when nothing is, and then nothing of it was copied but parts that
    /// are no text.
    fn request(&mut self, request: &ChatRequest) -> Option<ChatRequest> {
        let mut sent: Option<ChatRequest> = None;
        for (at, message) in request.messages.iter().enumerate() {
            for (within, part) in message.parts.iter().enumerate() {
                let Some(hidden) = self.hidden(part) else { continue };
                let sent = sent.get_or_insert_with(|| request.clone());
                if let Some(part) =
                    sent.messages.get_mut(at).and_then(|message| message.parts.get_mut(within))
                {
                    *part = hidden;
                }
            }
        }
        sent
    }

    /// The part without what is hidden; `None` when it stays as it is.
    fn hidden(&mut self, part: &Part) -> Option<Part> {
        match part {
            // Most parts, and the longest ones.
            Part::Text { text } => {
                let text = self.placeholders.hide(self.redactor, text)?;
                Some(Part::Text { text })
            }
            Part::Image(_) => None,
            other => {
                let mut part = other.clone();
                self.part(&mut part);
                (part != *other).then_some(part)
            }
        }
    }

    fn part(&mut self, part: &mut Part) {
        match part {
            Part::Text { text } | Part::Reasoning { text, opaque: None } => self.text(text),
            // A provider checks what it has signed.
            Part::Reasoning { .. } => {}
            Part::Passage(passage) => {
                self.text(&mut passage.heading);
                if let Some(hidden) = self.placeholders.hide(self.redactor, &passage.text) {
                    passage.text = hidden.into();
                }
            }
            Part::Image(_) => {}
            Part::Document(document) => self.document(document),
            Part::ToolCall(call) => self.value(&mut call.arguments),
            Part::ToolResult(result) => self.value(&mut result.content),
        }
    }

    fn document(&mut self, document: &mut Document) {
        if let Some(name) = &mut document.name {
            self.text(name);
        }
        let text = document.media.to_text();
        if let Some(hidden) = text.and_then(|text| self.placeholders.hide(self.redactor, &text)) {
            document.media = document.media.with_text(&hidden);
        }
    }

    fn text(&mut self, text: &mut String) {
        if let Some(hidden) = self.placeholders.hide(self.redactor, text) {
            *text = hidden;
        }
    }

    fn value(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(fields) => fields.values_mut().for_each(|item| self.value(item)),
            // A number in a document has the digits of a phone or card as well.
            Value::Number(number) => {
                if let Some(hidden) = self.placeholders.hide(self.redactor, &number.to_string()) {
                    *value = Value::String(hidden);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }
}

/// The parts of an answer with the values back in them.
struct Restoring {
    parts: ChatStream,
    placeholders: Placeholders,
    /// Text that may be the beginning of a placeholder.
    text: String,
    /// The same for the arguments of each call.
    arguments: BTreeMap<usize, String>,
    ready: VecDeque<StreamPart>,
}

impl Restoring {
    /// Takes a part and makes ready what it leads to, in order.
    fn accept(&mut self, part: StreamPart) {
        match part {
            StreamPart::Text { text } => {
                self.text.push_str(&text);
                let kept = self.placeholders.unfinished(&self.text);
                let tail = self.text.split_off(self.text.len().saturating_sub(kept));
                let whole = mem::replace(&mut self.text, tail);
                if !whole.is_empty() {
                    self.ready.push_back(StreamPart::Text { text: self.placeholders.restore(&whole) });
                }
            }
            StreamPart::ToolCall { index, id, name, arguments } => {
                self.flush_text();
                let held = self.arguments.entry(index).or_default();
                held.push_str(&arguments);
                let kept = self.placeholders.unfinished(held);
                let tail = held.split_off(held.len().saturating_sub(kept));
                let whole = mem::replace(held, tail);
                let arguments = self.placeholders.restore_in_json(&whole);
                self.ready.push_back(StreamPart::ToolCall { index, id, name, arguments });
            }
            other => {
                self.flush_text();
                if matches!(other, StreamPart::Finish { .. }) {
                    self.flush_arguments();
                }
                self.ready.push_back(other);
            }
        }
    }

    fn flush_text(&mut self) {
        if !self.text.is_empty() {
            self.ready.push_back(StreamPart::Text { text: mem::take(&mut self.text) });
        }
    }

    fn flush_arguments(&mut self) {
        for (index, arguments) in mem::take(&mut self.arguments) {
            if !arguments.is_empty() {
                self.ready.push_back(StreamPart::ToolCall { index, id: None, name: None, arguments });
            }
        }
    }
}

impl Stream for Restoring {
    type Item = Result<StreamPart>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(part) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(part)));
            }
            match task::ready!(self.parts.poll_next_unpin(cx)) {
                Some(Ok(part)) => self.accept(part),
                // What was kept back at an error is half a placeholder and no text of the answer.
                ended => return Poll::Ready(ended),
            }
        }
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        model::layers::tests::support::Desk,
        testing::Reply,
        types::{Media, Passage, Role, ToolCall, ToolResult},
    };

    const EMAIL: &str = "asha@example.com";

    fn asking(text: &str) -> ChatRequest {
        ChatRequest::new(vec![Message::user(text)])
    }

    #[tokio::test]
    async fn nothing_personal_reaches_the_model_in_any_part() {
        let passage = Passage {
            number: 1,
            source: "a.md".into(),
            lines: (1, 1),
            heading: format!("Of {EMAIL}"),
            text: format!("Mail {EMAIL} or 4111 1111 1111 1111").into(),
        };
        let (id, name) = ("1".to_owned(), "find".to_owned());
        let arguments = json!({"to": [EMAIL], "n": 1});
        let content = json!({"phone": 9_876_543_210_u64, "ok": true});
        let request = ChatRequest::new(vec![
            Message::system(format!("Owner: {EMAIL}")),
            Message { role: Role::User, parts: vec![Part::Passage(passage), Part::text("ABCPE1234F")] },
            Message {
                role: Role::Assistant,
                parts: vec![Part::ToolCall(ToolCall { id: id.clone(), name: name.clone(), arguments })],
            },
            Message {
                role: Role::Tool,
                parts: vec![Part::ToolResult(ToolResult { id, name, content, is_error: false, cost: None })],
            },
        ]);
        let desk = Desk::new([Reply::text("Done.")]);
        RedactLayer::default().wrap(desk.model()).complete(&desk.ctx(), &request).await.unwrap();
        let sent = serde_json::to_string(&desk.script.requests()[0]).unwrap();
        for hidden in [EMAIL, "4111", "ABCPE", "9876543210"] {
            assert!(!sent.contains(hidden), "{hidden} in {sent}");
        }
        for shown in ["Owner: [EMAIL_1]", "Mail [EMAIL_1] or [CARD_1]", "[TAX_ID_1]", "\"[PHONE_1]\"", "true"]
        {
            assert!(sent.contains(shown), "{shown} in {sent}");
        }
    }

    #[tokio::test]
    async fn a_file_of_text_is_looked_through_with_its_name_and_other_files_are_not_touched() {
        let file = |kind: &str, text: &str, name: &str| {
            let media = Media::bytes(kind, text.as_bytes()).unwrap();
            Part::Document(Document { media, name: Some(name.to_owned()) })
        };
        let text = format!("Mail {EMAIL}.");
        let parts = vec![file("text/plain", &text, EMAIL), file("application/pdf", &text, "a.pdf")];
        let request = ChatRequest::new(vec![Message { role: Role::User, parts }]);
        let desk = Desk::new([Reply::text("Done.")]);
        RedactLayer::default().wrap(desk.model()).complete(&desk.ctx(), &request).await.unwrap();
        let sent = desk.script.requests().swap_remove(0);
        let hidden = file("text/plain", "Mail [EMAIL_1].", "[EMAIL_1]");
        assert_eq!(sent.messages[0].parts, [hidden, file("application/pdf", &text, "a.pdf")]);
    }

    #[tokio::test]
    async fn values_are_back_in_the_answer_wherever_its_pieces_are_cut() {
        let answer = "[To [EMAIL_1] and [EMAIL_2], [EMAIL_3] [";
        for chars in 1..=answer.len() {
            let desk = Desk::new([Reply::text(answer).in_pieces(chars)]);
            let model = RedactLayer::default().wrap(desk.model());
            let request = asking(&format!("{EMAIL} ravi@example.com"));
            let answer = model.complete(&desk.ctx(), &request).await.unwrap();
            assert_eq!(
                answer.message.text(),
                format!("[To {EMAIL} and ravi@example.com, [EMAIL_3] ["),
                "{chars}"
            );
        }
    }

    #[tokio::test]
    async fn values_are_back_in_the_arguments_of_tools() {
        let arguments = json!({"to": "[EMAIL_1]", "list": ["[EMAIL_1]", "["]});
        for chars in 1..30 {
            let desk = Desk::new([Reply::tool_call("send", &arguments).in_pieces(chars)]);
            let model = RedactLayer::default().wrap(desk.model());
            let answer = model.complete(&desk.ctx(), &asking(EMAIL)).await.unwrap();
            let calls: Vec<_> = answer.message.tool_calls().collect();
            assert_eq!(calls[0].arguments, json!({"to": EMAIL, "list": [EMAIL, "["]}), "{chars}");
        }
    }

    #[tokio::test]
    async fn a_request_without_personal_data_is_sent_as_it_is() {
        let desk = Desk::new([Reply::text("[EMAIL_1]")]);
        let model = RedactLayer::default().wrap(desk.model());
        let answer = model.complete(&desk.ctx(), &asking("What is [EMAIL_1]?")).await.unwrap();
        assert_eq!(answer.message.text(), "[EMAIL_1]");
        assert_eq!(desk.script.requests()[0], asking("What is [EMAIL_1]?"));
    }

    #[tokio::test]
    async fn the_next_turn_has_the_same_placeholders() {
        let desk = Desk::new([Reply::text("One."), Reply::text("Two.")]);
        let model = RedactLayer::default().wrap(desk.model());
        let mut request = asking("b@x.in or a@x.in");
        model.complete(&desk.ctx(), &request).await.unwrap();
        request.messages.push(Message::assistant("a@x.in"));
        request.messages.push(Message::user("and c@x.in?"));
        model.complete(&desk.ctx(), &request).await.unwrap();
        let requests = desk.script.requests();
        assert_eq!(requests[0].messages[0], requests[1].messages[0]);
        assert_eq!(requests[1].messages[1].text(), "[EMAIL_2]");
        assert_eq!(requests[1].messages[2].text(), "and [EMAIL_3]?");
    }
}
