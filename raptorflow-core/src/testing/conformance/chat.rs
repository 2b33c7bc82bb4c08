//! The contract of `ChatModel`.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _};

use super::case::{Case, Subject, cases};
use crate::{
    error::{Error, ErrorKind, Result, Retry},
    model::{Accumulator, ChatRequest, ChatStream, Effort, Model, Output, Reasoning, StreamPart, ToolChoice},
    runtime::{Context, Runtime, Tasks},
    testing::ManualClock,
    types::{Document, Media, Message, Part, Passage, Role, Schema, ToolSpec},
};

/// The pause that a subject asks for in [`Situation::AsksToWait`].
const PAUSE: Duration = Duration::from_secs(7);
/// How long a context of a case lasts where it has an end.
const LIMIT: Duration = Duration::from_secs(60);

/// What the place behind a model does with the one call of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Situation {
    /// It answers with some text and tells usage.
    Answers,
    /// It sends some text and then breaks off; offered as `breaks_off`.
    BreaksOff,
    /// It sends some text and then nothing more; offered as `hangs`.
    Hangs,
    /// It refuses and asks to wait seven seconds; offered as `asks_to_wait`.
    AsksToWait,
    /// It answers, and the model has neither tools nor structured output; offered as `limited`.
    Limited,
}

/// A model in a situation.
pub struct ChatPlace {
    /// The model.
    pub model: Model,
    /// How many calls have reached the place behind it.
    pub calls: Box<dyn Fn() -> usize + Send + Sync>,
    /// Ends when the place notices that a hanging call was given up; offered as `notices`.
    pub stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
}

type Opening = Pin<Box<dyn Future<Output = Result<ChatPlace>> + Send>>;

/// What the chat cases run over.
#[derive(Clone)]
pub struct ChatSubject {
    open: Arc<dyn Fn(Runtime, Situation) -> Opening + Send + Sync>,
    offers: &'static [&'static str],
    clock: ManualClock,
}

impl ChatSubject {
    /// A subject whose `open` gives a model in a situation, with the words of what it offers.
    pub fn new<O>(
        offers: &'static [&'static str],
        open: impl Fn(Runtime, Situation) -> O + Send + Sync + 'static,
    ) -> Self
    where
        O: Future<Output = Result<ChatPlace>> + Send + 'static,
    {
        let open = Arc::new(move |runtime, situation| -> Opening { Box::pin(open(runtime, situation)) });
        Self { open, offers, clock: ManualClock::new() }
    }

    async fn open(&self, situation: Situation) -> Result<(Context, ChatPlace)> {
        let runtime = Runtime::new(Arc::new(self.clock.clone()), Tasks::current()?);
        Ok((Context::new(&runtime), (self.open)(runtime.clone(), situation).await?))
    }
}

impl Subject for ChatSubject {
    fn offers(&self, need: &str) -> bool {
        self.offers.contains(&need)
    }
}

impl fmt::Debug for ChatSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatSubject").field("offers", &self.offers).finish_non_exhaustive()
    }
}

/// Every case of `ChatModel`.
#[must_use]
pub fn chat_cases() -> Vec<Case<ChatSubject>> {
    cases![
        a_stream_ends_with_exactly_one_finish_part_or_with_an_error,
        an_error_ends_the_stream_and_what_arrived_before_it_stays_valid: "breaks_off",
        usage_is_told_at_most_once_before_finish,
        dropping_the_stream_stops_the_call: "hangs": "notices",
        the_contexts_deadline_ends_a_call_that_hangs: "hangs",
        the_contexts_cancellation_ends_a_call_that_hangs: "hangs",
        a_context_that_is_over_ends_a_call_before_it_begins,
        what_the_model_cannot_do_is_unsupported_before_anything_is_sent: "limited",
        errors_say_whether_trying_again_can_help_and_after_what_pause: "asks_to_wait",
    ]
}

/// A question with a passage, so that a model that only quotes has something to say.
fn question() -> ChatRequest {
    let passage = Passage {
        number: 1,
        source: "notes.md".into(),
        lines: (1, 1),
        heading: String::new(),
        text: "The journal is the one truth of a run.".into(),
    };
    let parts = vec![Part::Passage(passage), Part::text("What is the journal?")];
    ChatRequest::new(vec![Message { role: Role::User, parts }])
}

async fn parts(mut stream: ChatStream) -> Vec<Result<StreamPart>> {
    let mut parts = Vec::new();
    while let Some(part) = stream.next().await {
        parts.push(part);
    }
    parts
}

fn is_finish(part: &Result<StreamPart>) -> bool {
    matches!(part, Ok(StreamPart::Finish { .. }))
}

/// The first text of a stream, and the stream behind it.
async fn begun(ctx: &Context, model: &Model) -> Result<ChatStream> {
    let mut stream = model.stream(ctx, &question()).await?;
    loop {
        match stream.next().await.transpose()? {
            Some(StreamPart::Text { .. }) => return Ok(stream),
            Some(_) => {}
            None => return Err(Error::new(ErrorKind::InvalidOutput, "conformance.chat", "no text came")),
        }
    }
}

fn kind<T>(outcome: Result<T>) -> Option<ErrorKind> {
    outcome.err().map(|err| err.kind())
}

async fn a_stream_ends_with_exactly_one_finish_part_or_with_an_error(subject: ChatSubject) -> Result<()> {
    let (ctx, place) = subject.open(Situation::Answers).await?;
    let parts = parts(place.model.stream(&ctx, &question()).await?).await;
    assert!(parts.iter().all(Result::is_ok), "{parts:?}");
    assert!(parts.last().is_some_and(is_finish), "{parts:?}");
    assert_eq!(parts.iter().filter(|part| is_finish(part)).count(), 1);
    let mut answer = Accumulator::new(Arc::clone(&place.model.info().name));
    parts.into_iter().try_for_each(|part| answer.push(part?))?;
    assert!(!answer.finish()?.message.text().is_empty());
    Ok(())
}

async fn an_error_ends_the_stream_and_what_arrived_before_it_stays_valid(subject: ChatSubject) -> Result<()> {
    let (ctx, place) = subject.open(Situation::BreaksOff).await?;
    let parts = parts(place.model.stream(&ctx, &question()).await?).await;
    let failed = parts.iter().position(Result::is_err);
    assert_eq!(failed, parts.len().checked_sub(1), "{parts:?}");
    let mut answer = Accumulator::new(Arc::clone(&place.model.info().name));
    let err = parts.into_iter().try_for_each(|part| answer.push(part?));
    assert_eq!(err.map_err(|err| (err.kind(), err.retry())), Err((ErrorKind::Unavailable, Retry::Soon)));
    assert!(!answer.partial().text.is_empty());
    Ok(())
}

async fn usage_is_told_at_most_once_before_finish(subject: ChatSubject) -> Result<()> {
    let (ctx, place) = subject.open(Situation::Answers).await?;
    let parts = parts(place.model.stream(&ctx, &question()).await?).await;
    let is_usage = |part: &Result<StreamPart>| matches!(part, Ok(StreamPart::Usage { .. }));
    assert!(parts.iter().filter(|part| is_usage(part)).count() <= 1, "{parts:?}");
    assert!(parts.iter().position(is_usage) < parts.iter().position(is_finish), "{parts:?}");
    Ok(())
}

async fn dropping_the_stream_stops_the_call(subject: ChatSubject) -> Result<()> {
    let (ctx, place) = subject.open(Situation::Hangs).await?;
    drop(begun(&ctx, &place.model).await?);
    place.stopped.await;
    Ok(())
}

async fn the_contexts_deadline_ends_a_call_that_hangs(subject: ChatSubject) -> Result<()> {
    let (ctx, place) = subject.open(Situation::Hangs).await?;
    let mut stream = begun(&ctx.with_timeout(LIMIT), &place.model).await?;
    let mut next = stream.next();
    assert!((&mut next).now_or_never().is_none(), "it did not hang");
    subject.clock.advance(LIMIT);
    assert_eq!(next.await.and_then(kind), Some(ErrorKind::Timeout));
    assert!(stream.next().await.is_none());
    Ok(())
}

async fn the_contexts_cancellation_ends_a_call_that_hangs(subject: ChatSubject) -> Result<()> {
    let (ctx, place) = subject.open(Situation::Hangs).await?;
    let mut stream = begun(&ctx, &place.model).await?;
    let mut next = stream.next();
    assert!((&mut next).now_or_never().is_none(), "it did not hang");
    ctx.cancel().cancel();
    assert_eq!(next.await.and_then(kind), Some(ErrorKind::Cancelled));
    assert!(stream.next().await.is_none());
    Ok(())
}

async fn a_context_that_is_over_ends_a_call_before_it_begins(subject: ChatSubject) -> Result<()> {
    let (ctx, place) = subject.open(Situation::Answers).await?;
    ctx.cancel().cancel();
    let outcome = place.model.complete(&ctx, &question()).await;
    assert_eq!(kind(outcome), Some(ErrorKind::Cancelled));
    Ok(())
}

async fn what_the_model_cannot_do_is_unsupported_before_anything_is_sent(subject: ChatSubject) -> Result<()> {
    let (ctx, place) = subject.open(Situation::Limited).await?;
    let abilities = place.model.info().abilities;
    let tool = ToolSpec::new("look", "Looks.", Schema::any_object());
    let mut required = question().with_tools([tool]);
    required.tool_choice = ToolChoice::Required;
    let structured =
        question().with_output(Output::Json { name: "any".into(), schema: Schema::any_object() });
    let shown = |part| ChatRequest::new(vec![Message { role: Role::User, parts: vec![part] }]);
    let image = shown(Part::Image(Media::bytes("image/png", b"PNG")?));
    let file = Document { media: Media::bytes("application/pdf", b"%PDF")?, name: None };
    let thinking = ChatRequest { reasoning: Some(Reasoning::Effort(Effort::Low)), ..question() };
    assert!(!abilities.tools || !abilities.structured, "the model is not limited");
    for (able, request) in [
        (abilities.tools, required),
        (abilities.structured, structured),
        (abilities.images, image),
        (abilities.documents, shown(Part::Document(file))),
        (abilities.reasoning, thinking),
    ] {
        if !able {
            assert_eq!(kind(place.model.stream(&ctx, &request).await), Some(ErrorKind::Unsupported));
        }
    }
    assert_eq!((place.calls)(), 0);
    Ok(())
}

async fn errors_say_whether_trying_again_can_help_and_after_what_pause(subject: ChatSubject) -> Result<()> {
    let (ctx, place) = subject.open(Situation::AsksToWait).await?;
    let outcome = place.model.complete(&ctx, &question()).await;
    let told = outcome.map(|_| ()).map_err(|err| (err.kind(), err.retry()));
    assert_eq!(told, Err((ErrorKind::RateLimited, Retry::After(PAUSE))));
    assert_eq!((place.calls)(), 1);
    Ok(())
}
