//! `RetryLayer`: tries again what says that trying again can help, and says when it has given up.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{
    begun::{Begun, Whole},
    circuit_breaker::HELD_BACK,
};
use crate::{
    error::{Error, Result, Retry},
    model::{ChatModel, ChatRequest, ChatStream, Layer, Model, ModelInfo, PartialAnswer, Place},
    runtime::{Backoff, Context},
    types::Usage,
};

/// How many tries a call has by default.
const ATTEMPTS: u32 = 3;
/// The longest pause by default.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How a call is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RetryConfig {
    /// How many tries a call has in all, the first one included; 3 by default, and 0 counts as 1.
    pub attempts: u32,
    /// The pause before the second try; 0.5 seconds by default.
    #[serde(rename = "base_seconds", with = "crate::types::seconds")]
    pub base: Duration,
    /// By what the pause grows each time; 2 by default.
    pub factor: u32,
    /// The longest pause of its own; 30 seconds by default.
    #[serde(rename = "max_seconds", with = "crate::types::seconds")]
    pub max: Duration,
    /// The random share of the pause, 0 to 1; 1 by default.
    pub jitter: f64,
    /// The longest pause that the other side may ask for; 60 seconds by default.
    #[serde(rename = "longest_pause_seconds", with = "crate::types::seconds")]
    pub longest_pause: Duration,
    /// Whether an answer is held back until it is whole; false by default.
    pub buffered: bool,
}

impl Default for RetryConfig {
    fn default() -> Self {
        let Backoff { base, factor, max, .. } = Backoff::default();
        Self {
            attempts: ATTEMPTS,
            base,
            factor,
            max,
            jitter: 1.0,
            longest_pause: LONGEST_PAUSE,
            buffered: false,
        }
    }
}

/// Tries a call again when its error says that this can help.
///
/// By default a call has three tries, with pauses of 500 ms doubled each time, up to 30 s, all of it random ("full
/// jitter"), so that callers who failed together do not come back together.
/// A pause that the other side names ([`Retry::After`]) is waited out where it is longer.
///
/// What was tried again and failed comes out as [`Retry::Exhausted`] with the number of `attempts` in its context, so
/// that no retry outside multiplies the tries.
/// An error keeps its own [`Retry`] where nothing was tried again: when it says that this cannot help, when the pause
/// is longer than the longest one (60 s by default) or than what is left until the context's deadline, and when an
/// answer breaks off.
///
/// An answer is given on as soon as its first words arrive, and from then on it is not tried again: the caller has
/// seen a part of it.
/// With [`buffered`](Self::buffered) nothing is given on before the answer is whole, and one that breaks off is tried
/// again as well.
/// So is an answer that its caller takes only when it is whole; see [`Context::with_whole_answers`].
/// What tries that broke off are known to have taken is added to the usage of the answer, or stands in the
/// [`PartialAnswer`] that is the cause of the last error.
///
/// A circuit breaker that holds calls back is not waited for; that is up to whoever has nobody else to ask.
/// Every try has the same idempotency key, since it has the same context.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use raptorflow_core::{Result, runtime::{Backoff, Context, Runtime}, types::Message};
/// use raptorflow_core::model::{ChatRequest, Layers, Model, OfflineModel, RetryLayer};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let pauses = Backoff { base: Duration::from_millis(200), jitter: 1.0, ..Backoff::default() };
/// let retry = RetryLayer::new(pauses).with_attempts(5);
/// let model = Layers::new().with(retry).wrap(Model::new(OfflineModel::default()));
/// let ctx = Context::new(&Runtime::current()?);
/// model.complete(&ctx, &ChatRequest::new(vec![Message::user("What is a journal?")])).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RetryLayer {
    backoff: Backoff,
    attempts: u32,
    longest_pause: Duration,
    buffered: bool,
}

impl Default for RetryLayer {
    fn default() -> Self {
        RetryConfig::default().into()
    }
}

impl From<RetryConfig> for RetryLayer {
    fn from(config: RetryConfig) -> Self {
        let RetryConfig { attempts, base, factor, max, jitter, longest_pause, buffered } = config;
        let backoff = Backoff { base, factor, max, jitter };
        Self { backoff, attempts: attempts.max(1), longest_pause, buffered }
    }
}

impl RetryLayer {
    /// Three tries with the given pauses between them.
    #[must_use]
    pub fn new(backoff: Backoff) -> Self {
        Self { backoff, attempts: ATTEMPTS, longest_pause: LONGEST_PAUSE, buffered: false }
    }

    /// How many tries a call has in all, the first one included; 0 counts as 1.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// The longest pause; an error that asks for a longer one is given on at once.
    #[must_use]
    pub fn with_longest_pause(mut self, pause: Duration) -> Self {
        self.longest_pause = pause;
        self
    }

    /// Holds an answer back until it is whole, so that one that breaks off can be tried again.
    #[must_use]
    pub fn buffered(mut self) -> Self {
        self.buffered = true;
        self
    }

    /// Does some work for a model until it succeeds, or trying again no longer helps.
    pub(crate) async fn run<T, F>(
        &self,
        ctx: &Context,
        model: &str,
        mut work: impl FnMut() -> F + Send,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let mut failures = 0;
        loop {
            let err = match work().await {
                Ok(done) => return Ok(done),
                Err(err) => err,
            };
            failures += 1;
            let Some(pause) = self.pause(ctx, &err, failures) else {
                return Err(given_up(err, failures));
            };
            tracing::debug!(
                model,
                failures,
                kind = err.kind().code(),
                pause_ms = pause.as_millis(),
                "a call of a model failed and is tried again"
            );
            // In a box, so that it takes no room in a call that succeeds.
            Box::pin(ctx.bound("model.retry", ctx.runtime().clock().sleep(pause))).await?;
        }
    }

    /// How long to wait after a number of failed tries; `None` when the call is not tried again.
    fn pause(&self, ctx: &Context, err: &Error, failures: u32) -> Option<Duration> {
        if failures >= self.attempts || err.operation() == HELD_BACK {
            return None;
        }
        let own = self.backoff.delay(failures, ctx.runtime().ids().unit());
        let pause = match err.retry() {
            Retry::Soon => own,
            Retry::After(named) => named.max(own),
            Retry::Never | Retry::Exhausted => return None,
        };
        let fits = ctx.deadline().is_none_or(|deadline| ctx.now().plus(pause) < deadline);
        (fits && pause <= self.longest_pause).then_some(pause)
    }
}

impl Layer for RetryLayer {
    fn place(&self) -> Place {
        Place::Retry
    }

    fn wrap(&self, inner: Model) -> Model {
        Model::new(Retrying { layer: *self, inner })
    }
}

#[derive(Debug)]
struct Retrying {
    layer: RetryLayer,
    inner: Model,
}

impl Retrying {
    /// One try; what one that broke off took is added to `lost`, because it is paid for all the same.
    async fn once(&self, ctx: &Context, request: &ChatRequest, lost: &Mutex<Usage>) -> Result<ChatStream> {
        if !(self.layer.buffered || ctx.takes_whole_answers()) {
            return Begun::of(&self.inner, ctx, request).await.map(Begun::into_stream);
        }
        let answer = Whole::of(&self.inner, ctx, request).await;
        // A std mutex: no await happens while it is held.
        let mut lost = lost.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(whole) if lost.total_tokens() == 0 => Ok(whole.into_stream()),
            Ok(whole) => {
                let usage = lost.plus(whole.usage());
                Ok(whole.having_used(usage).into_stream())
            }
            Err(err) => {
                *lost = err.cause::<PartialAnswer>().map_or(*lost, |partial| lost.plus(partial.usage));
                Err(err)
            }
        }
    }
}

#[async_trait]
impl ChatModel for Retrying {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    async fn stream(&self, ctx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        let lost = Mutex::default();
        let answer = self.layer.run(ctx, &self.inner.info().name, || self.once(ctx, request, &lost)).await;
        let lost = lost.into_inner().unwrap_or_else(PoisonError::into_inner);
        answer.map_err(|err| if lost.total_tokens() == 0 { err } else { PartialAnswer::of_tries(err, lost) })
    }
}

/// Marks an error that was tried again as final, and keeps the pause that it asked for where people can see it.
fn given_up(err: Error, attempts: u32) -> Error {
    let err = match err.retry() {
        Retry::Never | Retry::Exhausted => return err,
        _ if attempts == 1 || err.operation() == HELD_BACK => return err,
        Retry::After(pause) => err.with("retry_after_ms", pause.as_millis()),
        Retry::Soon => err,
    };
    err.with("attempts", attempts).retryable(Retry::Exhausted)
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;
    use crate::{
        error::ErrorKind,
        model::layers::tests::support::{Desk, busy, down, texts},
        testing::Reply,
    };

    /// Two tries with a pause of one second, without chance.
    fn steady() -> RetryLayer {
        let second = Duration::from_secs(1);
        RetryLayer::new(Backoff { base: second, factor: 2, max: second * 60, jitter: 0.0 }).with_attempts(3)
    }

    #[tokio::test]
    async fn what_may_succeed_later_is_tried_again_with_growing_pauses_and_the_same_key() {
        let desk = Desk::new([Reply::error(down()), Reply::error(down()), Reply::text("Here.")]);
        let ctx = desk.ctx().with_idempotency_key("run/1");
        let call = desk.answer(steady(), &ctx);
        desk.pauses(call, &[1, 2]).await.unwrap();
        assert_eq!(desk.script.keys(), vec![Some("run/1".to_owned()); 3]);
    }

    #[tokio::test]
    async fn a_pause_that_the_other_side_names_is_waited_out() {
        let desk = Desk::new([Reply::error(busy(7)), Reply::text("Here.")]);
        let ctx = desk.ctx();
        desk.pauses(desk.answer(steady(), &ctx), &[7]).await.unwrap();
    }

    #[tokio::test]
    async fn giving_up_is_said_once_and_an_outer_retry_adds_nothing() {
        let desk = Desk::new([]).always(Reply::error(busy(7)));
        let ctx = desk.ctx();
        let twice = steady().wrap(steady().wrap(desk.model()));
        let call = async { twice.complete(&ctx, &Desk::request()).await };
        let err = desk.pauses(call, &[7, 7]).await.unwrap_err();
        assert_eq!((err.kind(), err.retry()), (ErrorKind::RateLimited, Retry::Exhausted));
        assert_eq!((err.get("attempts"), err.get("retry_after_ms")), (Some("3"), Some("7000")));
        assert_eq!(desk.script.requests().len(), 3);
    }

    #[tokio::test]
    async fn what_says_that_trying_again_cannot_help_is_given_on_as_it_is() {
        for retry in [Retry::Never, Retry::Exhausted] {
            let desk = Desk::new([Reply::error(down().retryable(retry))]);
            let err = desk.answer(steady(), &desk.ctx()).await.unwrap_err();
            assert_eq!((err, desk.script.requests().len()), (down().retryable(retry), 1));
        }
    }

    #[tokio::test]
    async fn no_pause_ends_behind_the_deadline_or_is_longer_than_the_longest() {
        let desk = Desk::new([]).always(Reply::error(busy(7)));
        let hurried = desk.ctx().with_timeout(Duration::from_secs(7));
        let err = desk.answer(steady(), &hurried).await.unwrap_err();
        assert_eq!(err, busy(7), "nothing was tried again, so the error keeps what it says");
        let short = steady().with_longest_pause(Duration::from_secs(6));
        assert_eq!(desk.answer(short, &desk.ctx()).await.unwrap_err(), busy(7));
        assert_eq!(desk.script.requests().len(), 2);
    }

    #[tokio::test]
    async fn an_answer_whose_words_were_seen_is_not_tried_again() {
        let desk = Desk::new([Reply::text("Here it is.").in_pieces(4).cut_after(2)]);
        let model = steady().wrap(desk.model());
        let mut stream = model.stream(&desk.ctx(), &Desk::request()).await.unwrap();
        assert_eq!(texts(&mut stream, 2).await, "Here it ");
        let err = stream.next().await.unwrap().unwrap_err();
        assert_eq!(err.retry(), Retry::Soon);
        assert!(stream.next().await.is_none());
        assert_eq!(desk.script.requests().len(), 1);
    }

    #[tokio::test]
    async fn an_answer_of_which_nobody_sees_a_part_is_tried_again() {
        let desk = Desk::new([Reply::text("Here it").in_pieces(4).cut_after(2), Reply::text("Whole.")]);
        let ctx = desk.ctx();
        let answer = desk.pauses(desk.answer(steady(), &ctx), &[1]).await.unwrap();
        assert_eq!(answer.message.text(), "Whole.");
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_before_its_first_word_is_tried_again() {
        let counts = Reply::text("x").with_usage(crate::types::Usage::new(9, 0));
        let only_counts = Reply::parts(vec![]).with_usage(crate::types::Usage::new(9, 0));
        let desk = Desk::new([counts.cut_after(0), only_counts, Reply::text("Here.")]);
        let ctx = desk.ctx();
        let answer = desk.pauses(desk.answer(steady(), &ctx), &[1, 2]).await.unwrap();
        assert_eq!((answer.message.text().as_str(), answer.usage.input_tokens), ("Here.", 0));
    }

    #[tokio::test]
    async fn a_buffered_answer_that_breaks_off_is_tried_again_and_shows_no_part_of_the_first_try() {
        let desk = Desk::new([Reply::text("Here it").in_pieces(4).cut_after(2), Reply::text("Whole.")]);
        let ctx = desk.ctx();
        let answer = desk.pauses(desk.answer(steady().buffered(), &ctx), &[1]).await.unwrap();
        assert_eq!(answer.message.text(), "Whole.");
    }

    #[tokio::test]
    async fn cancelling_ends_the_pause() {
        let desk = Desk::new([Reply::error(down())]);
        let ctx = desk.ctx();
        let cancel = async {
            desk.slept().await;
            ctx.cancel().cancel();
        };
        let (answer, ()) = futures_util::join!(desk.answer(steady(), &ctx), cancel);
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Cancelled);
    }

    #[test]
    fn pauses_are_random_over_their_whole_length() {
        let backoff = RetryLayer::default().backoff;
        assert_eq!(backoff.delay(1, 0.0), Duration::ZERO);
        assert_eq!(backoff.delay(2, 1.0), Duration::from_secs(1));
    }
}
