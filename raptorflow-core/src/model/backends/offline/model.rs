//! `OfflineModel`: answers with sentences of the passages it is given, and says so when there are none.

use async_trait::async_trait;
use futures_util::stream;
use serde_json::Value;

use super::{
    fill::fill,
    rank::{Quote, Ranking, rank},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{
        ChatModel, ChatRequest, ChatStream, FinishReason, ModelAbilities, ModelInfo, Output, StreamPart,
    },
    runtime::Context,
    types::{Part, Passage, Role, Usage},
};

/// The answer when there is nothing to quote.
const NOTHING_TO_QUOTE: &str = "I am an offline model without weights: I can only quote passages that come with \
    the question, and none came with this one. Add documents, or choose a model of a provider.";
/// The first line when no passage shares a word with the question.
const OFF_TOPIC: &str = "None of the passages shares a word with the question. What they say foremost:";
/// How many quotes are ranked for a schema.
const MAX_QUOTES: usize = 64;
/// The least share of the best score that makes a sentence part of an answer.
const WORTH: f64 = 0.6;
/// How many characters one token stands for.
const CHARS_PER_TOKEN: usize = 4;

/// A model without weights, key or network that quotes the passages of the conversation.
///
/// The last user message is the question; the system messages steer the choice a little.
/// The answer is up to four sentences, verbatim but for folded white space, each followed by its passage as
/// `[n]`.
/// With a JSON Schema the required texts are quotes, integers with `"format": "citation"` are the numbers of
/// their passages, and what is not required is left out.
/// The same request always gives the same answer.
///
/// Usage is an estimate: one token for four characters, rounded up, passages included.
///
/// # Errors
/// `Unsupported` when a tool is required, and when a schema requires something that cannot be quoted (the context
/// names the place) or there are no passages to fill it from.
///
/// ```
/// use raptorflow_core::{model::{ChatRequest, Model, OfflineModel}, runtime::{Context, Runtime}};
/// use raptorflow_core::types::{Message, Part, Passage, Role};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let passage = Passage { number: 1, source: "notes.md".into(), lines: (1, 1), heading: String::new(),
///     text: "Tea is at four. The journal is the one truth of a run.".into() };
/// let question = Message { role: Role::User, parts: vec![Part::Passage(passage), Part::text("What is the journal?")] };
/// let ctx = Context::new(&Runtime::current()?);
/// let answer = Model::new(OfflineModel::default()).complete(&ctx, &ChatRequest::new(vec![question])).await?;
/// assert_eq!(answer.message.text(), "The journal is the one truth of a run. [1]");
/// # Ok::<(), raptorflow_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct OfflineModel {
    info: ModelInfo,
    max_sentences: usize,
}

impl Default for OfflineModel {
    /// Up to four sentences.
    fn default() -> Self {
        Self {
            info: ModelInfo {
                abilities: ModelAbilities { structured: true, stop: false, ..ModelAbilities::default() },
                ..ModelInfo::new("offline:extractive")
            },
            max_sentences: 4,
        }
    }
}

impl OfflineModel {
    /// Up to this many sentences in an answer of free text, at least one.
    #[must_use]
    pub fn with_max_sentences(mut self, max: usize) -> Self {
        self.max_sentences = max.max(1);
        self
    }

    fn answer(&self, request: &ChatRequest) -> Result<Vec<String>> {
        let asked = Asked::read(request);
        match &request.output {
            Output::Text if asked.passages.is_empty() => Ok(vec![NOTHING_TO_QUOTE.to_owned()]),
            Output::Text => Ok(self.quote(&asked.rank(self.max_sentences))),
            Output::Json { .. } if asked.passages.is_empty() => Err(Error::new(
                ErrorKind::Unsupported,
                "model.stream",
                "the offline model fills a schema from passages only, and none came with the question",
            )),
            Output::Json { schema, .. } => {
                let ranking = asked.rank(MAX_QUOTES);
                let value = fill(schema, &ranking.quotes)
                    .map_err(|refusal| refusal.into_error().with("model", &self.info.name))?;
                Ok(vec![value.to_string()])
            }
        }
    }

    fn quote(&self, ranking: &Ranking) -> Vec<String> {
        let best = ranking.quotes.first().map_or(0.0, |quote| quote.score);
        let worthy = ranking.quotes.iter().filter(|quote| quote.score >= WORTH * best).map(cite);
        let notice = (!ranking.on_topic).then(|| OFF_TOPIC.to_owned());
        let mut pieces: Vec<String> = notice.into_iter().chain(worthy).collect();
        if pieces.is_empty() {
            pieces.push(NOTHING_TO_QUOTE.to_owned());
        }
        for piece in pieces.iter_mut().skip(1) {
            piece.insert(0, '\n');
        }
        pieces
    }
}

fn cite(quote: &Quote) -> String {
    let mut text = format!("{} [{}]", quote.text, quote.passage);
    for number in &quote.also {
        text.push_str(&format!("[{number}]"));
    }
    text
}

/// What a request asks, and of what.
struct Asked<'a> {
    question: String,
    instructions: String,
    passages: Vec<&'a Passage>,
    chars: usize,
}

impl<'a> Asked<'a> {
    fn read(request: &'a ChatRequest) -> Self {
        let mut asked =
            Self { question: String::new(), instructions: String::new(), passages: Vec::new(), chars: 0 };
        for message in &request.messages {
            let text = message.text();
            asked.chars += text.chars().count();
            match message.role {
                Role::System => {
                    asked.instructions.push_str(&text);
                    asked.instructions.push('\n');
                }
                Role::User if !text.trim().is_empty() => asked.question = text,
                _ => {}
            }
            for passage in message.passages() {
                asked.chars += passage.text.chars().count();
                if asked.passages.iter().all(|known| known.number != passage.number) {
                    asked.passages.push(passage);
                }
            }
        }
        // An agent's input may be JSON; its keys are no words of the question.
        if let Ok(value @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(&asked.question) {
            asked.question = texts(&value);
        }
        asked
    }

    fn rank(&self, limit: usize) -> Ranking {
        rank(&self.question, &self.instructions, &self.passages, limit)
    }
}

fn texts(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(texts).collect::<Vec<_>>().join("\n"),
        Value::Object(fields) => fields.values().map(texts).collect::<Vec<_>>().join("\n"),
        Value::Null | Value::Bool(_) | Value::Number(_) => String::new(),
    }
}

fn tokens(chars: usize) -> usize {
    chars.div_ceil(CHARS_PER_TOKEN)
}

#[async_trait]
impl ChatModel for OfflineModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, ctx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        self.info.check(request)?;
        let is_document = |part: &Part| matches!(part, Part::Document(_));
        if request.messages.iter().flat_map(|message| &message.parts).any(is_document) {
            let message = "the offline model reads passages, and no files";
            return Err(
                Error::new(ErrorKind::Unsupported, "model.stream", message).with("model", &self.info.name)
            );
        }
        // The work itself never waits, so the context is asked once before it begins.
        ctx.bound("model.stream", std::future::ready(())).await?;
        let chars = Asked::read(request).chars;
        let mut pieces = self.answer(request)?;
        let limit = request.max_output_tokens.and_then(|max| usize::try_from(max).ok()).unwrap_or(usize::MAX);
        let (mut written, mut kept) = (0, 0);
        for piece in &pieces {
            let chars = written + piece.chars().count();
            if tokens(chars) > limit {
                break;
            }
            (written, kept) = (chars, kept + 1);
        }
        let reason = if kept < pieces.len() { FinishReason::Length } else { FinishReason::Stop };
        pieces.truncate(kept);
        let usage = Usage::new(tokens(chars) as u64, tokens(written) as u64);
        let parts = pieces.into_iter().map(StreamPart::text);
        let parts = parts.chain([StreamPart::Usage { usage }, StreamPart::Finish { reason }]).map(Ok);
        // Collected, so that the stream borrows nothing of the request.
        Ok(Box::pin(stream::iter(parts.collect::<Vec<_>>())))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        model::{ChatResponse, Model},
        runtime::Runtime,
        types::{Message, Schema},
    };

    const TEXT: &str = "# Backups\n\nBackups are taken\nevery night at two. They are kept for a month.\n\n\
        - A backup that was never restored is only a hope.\n\n```sh\nbackup --now\n```\n";

    async fn ask(
        text: &str,
        passages: &[&str],
        change: impl FnOnce(&mut ChatRequest),
    ) -> Result<ChatResponse> {
        let passage = |(index, text): (usize, &&str)| {
            let number = u32::try_from(index).unwrap() + 1;
            let (source, text, heading) = ("a.md".into(), (*text).into(), String::new());
            Part::Passage(Passage { number, source, lines: (1, 9), heading, text })
        };
        let mut parts: Vec<Part> = passages.iter().enumerate().map(passage).collect();
        parts.push(Part::text(text));
        let mut request = ChatRequest::new(vec![Message { role: Role::User, parts }]);
        change(&mut request);
        let ctx = Context::new(&Runtime::current()?);
        Model::new(OfflineModel::default()).complete(&ctx, &request).await
    }

    fn findings() -> Output {
        let schema = json!({"type": "object", "required": ["findings"], "properties": {"findings": {
            "type": "array", "minItems": 1, "items": {"type": "object", "required": ["claim", "sources"], "properties": {
                "claim": {"type": "string"},
                "sources": {"type": "array", "items": {"type": "integer", "format": "citation"}}}}}}});
        Output::Json { name: "findings".into(), schema: Schema::new(schema).unwrap() }
    }

    #[tokio::test]
    async fn an_answer_quotes_whole_sentences_with_their_passage() {
        let answer = ask("When are backups taken?", &["Tea is at four.", TEXT], |_| {}).await.unwrap();
        let text = answer.message.text();
        assert!(text.starts_with("Backups are taken every night at two. [2]"), "{text}");
        assert!(!text.contains("Tea") && !text.contains("--now"), "{text}");
        assert_eq!(answer.finish, FinishReason::Stop);
        assert!(answer.usage.input_tokens > 40 && answer.usage.output_tokens > 10, "{:?}", answer.usage);
    }

    #[tokio::test]
    async fn a_question_in_json_is_asked_by_its_values() {
        let question = json!({"hope": "When are backups taken?"}).to_string();
        let answer = ask(&question, &[TEXT], |_| {}).await.unwrap();
        assert!(answer.message.text().starts_with("Backups are taken"), "{}", answer.message.text());
    }

    #[tokio::test]
    async fn the_longest_answer_is_kept_in_whole_sentences() {
        let answer = ask("backup", &[TEXT], |request| request.max_output_tokens = Some(12)).await.unwrap();
        assert_eq!((answer.finish, answer.message.text().lines().count()), (FinishReason::Length, 1));
    }

    #[tokio::test]
    async fn it_says_so_when_there_is_nothing_to_quote() {
        let none = ask("When are backups taken?", &[], |_| {}).await.unwrap();
        assert_eq!(none.message.text(), NOTHING_TO_QUOTE);
        let strange = ask("Who won the cup?", &[TEXT], |_| {}).await.unwrap();
        assert!(strange.message.text().starts_with(OFF_TOPIC), "{}", strange.message.text());
        let structured = ask("backup", &[], |request| request.output = findings()).await;
        assert_eq!(structured.unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[tokio::test]
    async fn a_schema_is_filled_with_quotes() {
        let answer =
            ask("When are backups taken?", &[TEXT], |request| request.output = findings()).await.unwrap();
        let value: Value = serde_json::from_str(&answer.message.text()).unwrap();
        assert_eq!(
            value["findings"][0],
            json!({"claim": "Backups are taken every night at two.", "sources": [1]})
        );
    }
}
