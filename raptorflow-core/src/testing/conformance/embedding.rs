//! The contracts of `EmbeddingModel` and of `Embedder`.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use futures_util::FutureExt as _;

use super::case::{Case, Subject, cases};
use crate::{
    error::{ErrorKind, Result, Retry},
    model::{EmbeddingModel, EmbeddingPurpose},
    rag::Embedder,
    runtime::{Context, Runtime, Tasks},
    testing::ManualClock,
};

/// The pause that a subject asks for in [`EmbeddingSituation::AsksToWait`].
const PAUSE: Duration = Duration::from_secs(7);
/// How long a context of a case lasts where it has an end.
const LIMIT: Duration = Duration::from_secs(60);
/// What is embedded, in this order; the first vector is further along the first axis than along the second.
const TEXTS: [&str; 2] = ["The journal is the one truth.", "A budget is reserved before a call."];

/// What the place behind a model does with the one request of a case, which has two texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EmbeddingSituation {
    /// It answers with two vectors; in the first the first number is the greater one, in the second the second.
    Answers,
    /// It answers with one vector; offered as `answers_short`.
    AnswersShort,
    /// It says nothing; offered as `hangs`.
    Hangs,
    /// It refuses and asks to wait seven seconds; offered as `asks_to_wait`.
    AsksToWait,
}

/// A model in a situation.
pub struct EmbeddingPlace {
    /// The model.
    pub model: Arc<dyn EmbeddingModel>,
    /// How many requests have reached the place behind it.
    pub calls: Box<dyn Fn() -> usize + Send + Sync>,
}

type Opening = Pin<Box<dyn Future<Output = Result<EmbeddingPlace>> + Send>>;

/// What the embedding cases run over.
#[derive(Clone)]
pub struct EmbeddingSubject {
    open: Arc<dyn Fn(Runtime, EmbeddingSituation) -> Opening + Send + Sync>,
    offers: &'static [&'static str],
    clock: ManualClock,
}

impl EmbeddingSubject {
    /// A subject whose `open` gives a model in a situation, with the words of what it offers; `usage` is one more.
    pub fn new<O>(
        offers: &'static [&'static str],
        open: impl Fn(Runtime, EmbeddingSituation) -> O + Send + Sync + 'static,
    ) -> Self
    where
        O: Future<Output = Result<EmbeddingPlace>> + Send + 'static,
    {
        let open = Arc::new(move |runtime, situation| -> Opening { Box::pin(open(runtime, situation)) });
        Self { open, offers, clock: ManualClock::new() }
    }

    async fn open(&self, situation: EmbeddingSituation) -> Result<(Context, EmbeddingPlace)> {
        let runtime = Runtime::new(Arc::new(self.clock.clone()), Tasks::current()?);
        Ok((Context::new(&runtime), (self.open)(runtime.clone(), situation).await?))
    }
}

impl Subject for EmbeddingSubject {
    fn offers(&self, need: &str) -> bool {
        self.offers.contains(&need)
    }
}

impl fmt::Debug for EmbeddingSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddingSubject").field("offers", &self.offers).finish_non_exhaustive()
    }
}

/// Every case of `EmbeddingModel`.
#[must_use]
pub fn embedding_cases() -> Vec<Case<EmbeddingSubject>> {
    cases![
        an_answer_has_one_vector_per_text_in_order,
        no_texts_give_no_vectors_and_ask_nobody,
        usage_is_told_where_the_provider_tells_it: "usage",
        the_contexts_deadline_ends_a_call_that_hangs: "hangs",
        the_contexts_cancellation_ends_a_call_that_hangs: "hangs",
        a_context_that_is_over_ends_a_call_before_it_begins,
        an_answer_with_fewer_vectors_than_texts_is_invalid_output: "answers_short",
        errors_say_whether_trying_again_can_help_and_after_what_pause: "asks_to_wait",
    ]
}

/// The vectors of both texts; what is missing is empty.
fn both(vectors: &[Vec<f32>]) -> [&[f32]; 2] {
    assert_eq!(vectors.len(), TEXTS.len(), "{vectors:?}");
    [0, 1].map(|at| vectors.get(at).map_or(&[][..], Vec::as_slice))
}

async fn an_answer_has_one_vector_per_text_in_order(subject: EmbeddingSubject) -> Result<()> {
    let (ctx, place) = subject.open(EmbeddingSituation::Answers).await?;
    let answer = place.model.embed(&ctx, &TEXTS, EmbeddingPurpose::Document).await?;
    let [first, second] = both(&answer.vectors);
    let dimension = place.model.info().dimension.unwrap_or(first.len());
    assert_eq!((first.len(), second.len()), (dimension, dimension));
    assert!(first.first() > first.get(1) && second.first() < second.get(1), "{first:?} {second:?}");
    assert_eq!((place.calls)(), 1);
    Ok(())
}

async fn no_texts_give_no_vectors_and_ask_nobody(subject: EmbeddingSubject) -> Result<()> {
    let (ctx, place) = subject.open(EmbeddingSituation::Answers).await?;
    let answer = place.model.embed(&ctx, &[], EmbeddingPurpose::Document).await?;
    assert!(answer.vectors.is_empty(), "{answer:?}");
    assert_eq!((place.calls)(), 0);
    Ok(())
}

async fn usage_is_told_where_the_provider_tells_it(subject: EmbeddingSubject) -> Result<()> {
    let (ctx, place) = subject.open(EmbeddingSituation::Answers).await?;
    let usage = place.model.embed(&ctx, &TEXTS, EmbeddingPurpose::Document).await?.usage;
    assert!(usage.input_tokens > 0 && usage.output_tokens == 0, "{usage:?}");
    Ok(())
}

async fn the_contexts_deadline_ends_a_call_that_hangs(subject: EmbeddingSubject) -> Result<()> {
    let (ctx, place) = subject.open(EmbeddingSituation::Hangs).await?;
    let ctx = ctx.with_timeout(LIMIT);
    let mut call = place.model.embed(&ctx, &TEXTS, EmbeddingPurpose::Query);
    assert!((&mut call).now_or_never().is_none(), "it did not hang");
    subject.clock.advance(LIMIT);
    assert_eq!(call.await.err().map(|err| err.kind()), Some(ErrorKind::Timeout));
    Ok(())
}

async fn the_contexts_cancellation_ends_a_call_that_hangs(subject: EmbeddingSubject) -> Result<()> {
    let (ctx, place) = subject.open(EmbeddingSituation::Hangs).await?;
    let mut call = place.model.embed(&ctx, &TEXTS, EmbeddingPurpose::Query);
    assert!((&mut call).now_or_never().is_none(), "it did not hang");
    ctx.cancel().cancel();
    assert_eq!(call.await.err().map(|err| err.kind()), Some(ErrorKind::Cancelled));
    Ok(())
}

async fn a_context_that_is_over_ends_a_call_before_it_begins(subject: EmbeddingSubject) -> Result<()> {
    let (ctx, place) = subject.open(EmbeddingSituation::Answers).await?;
    ctx.cancel().cancel();
    let outcome = place.model.embed(&ctx, &TEXTS, EmbeddingPurpose::Document).await;
    assert_eq!(outcome.err().map(|err| err.kind()), Some(ErrorKind::Cancelled));
    assert_eq!((place.calls)(), 0);
    Ok(())
}

async fn an_answer_with_fewer_vectors_than_texts_is_invalid_output(subject: EmbeddingSubject) -> Result<()> {
    let (ctx, place) = subject.open(EmbeddingSituation::AnswersShort).await?;
    let outcome = place.model.embed(&ctx, &TEXTS, EmbeddingPurpose::Document).await;
    assert_eq!(outcome.err().map(|err| err.kind()), Some(ErrorKind::InvalidOutput));
    Ok(())
}

async fn errors_say_whether_trying_again_can_help_and_after_what_pause(
    subject: EmbeddingSubject,
) -> Result<()> {
    let (ctx, place) = subject.open(EmbeddingSituation::AsksToWait).await?;
    let outcome = place.model.embed(&ctx, &TEXTS, EmbeddingPurpose::Document).await;
    let told = outcome.map(|_| ()).map_err(|err| (err.kind(), err.retry()));
    assert_eq!(told, Err((ErrorKind::RateLimited, Retry::After(PAUSE))));
    Ok(())
}

type Embedding = Pin<Box<dyn Future<Output = Result<Arc<dyn Embedder>>> + Send>>;

/// What the embedder cases run over; each asks for two texts at most once, and then for one query.
#[derive(Clone)]
pub struct EmbedderSubject {
    open: Arc<dyn Fn(Runtime) -> Embedding + Send + Sync>,
}

impl EmbedderSubject {
    /// A subject whose `open` gives a fresh embedder.
    pub fn new<O>(open: impl Fn(Runtime) -> O + Send + Sync + 'static) -> Self
    where
        O: Future<Output = Result<Arc<dyn Embedder>>> + Send + 'static,
    {
        Self { open: Arc::new(move |runtime| -> Embedding { Box::pin(open(runtime)) }) }
    }

    async fn open(&self) -> Result<(Context, Arc<dyn Embedder>)> {
        let runtime = Runtime::current()?;
        Ok((Context::new(&runtime), (self.open)(runtime.clone()).await?))
    }
}

impl Subject for EmbedderSubject {
    fn offers(&self, _need: &str) -> bool {
        false
    }
}

impl fmt::Debug for EmbedderSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbedderSubject").finish_non_exhaustive()
    }
}

/// Every case of `Embedder`.
#[must_use]
pub fn embedder_cases() -> Vec<Case<EmbedderSubject>> {
    cases![
        embed_documents_gives_one_vector_per_text_in_order_and_none_for_no_texts,
        vectors_have_dimension_finite_numbers_not_all_zero,
        identity_stays_the_same_for_one_embedder,
    ]
}

fn similarity(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

async fn embed_documents_gives_one_vector_per_text_in_order_and_none_for_no_texts(
    subject: EmbedderSubject,
) -> Result<()> {
    let (ctx, embedder) = subject.open().await?;
    assert!(embedder.embed_documents(&ctx, &[]).await?.is_empty());
    let vectors = embedder.embed_documents(&ctx, &TEXTS).await?;
    let [first, second] = both(&vectors);
    let query = embedder.embed_query(&ctx, TEXTS[0], &()).await?;
    assert!(similarity(first, &query) > similarity(second, &query), "{vectors:?} {query:?}");
    Ok(())
}

async fn vectors_have_dimension_finite_numbers_not_all_zero(subject: EmbedderSubject) -> Result<()> {
    let (ctx, embedder) = subject.open().await?;
    let mut vectors = embedder.embed_documents(&ctx, &TEXTS).await?;
    vectors.push(embedder.embed_query(&ctx, TEXTS[0], &()).await?);
    for vector in vectors {
        assert_eq!(vector.len(), embedder.dimension());
        assert!(vector.iter().all(|number| number.is_finite()), "{vector:?}");
        assert!(vector.iter().any(|number| *number != 0.0), "{vector:?}");
    }
    Ok(())
}

async fn identity_stays_the_same_for_one_embedder(subject: EmbedderSubject) -> Result<()> {
    let (ctx, embedder) = subject.open().await?;
    let before = embedder.identity();
    embedder.embed_documents(&ctx, &TEXTS).await?;
    assert_eq!(embedder.identity(), before);
    let (_, again) = subject.open().await?;
    assert_eq!(again.identity(), before);
    Ok(())
}
