//! `TimeoutLayer`: bounds one try, to its first part, between its parts, and in all.

use std::{
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    sync::Arc,
    task::{self, Poll, ready},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{Stream, StreamExt as _};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    model::{ChatModel, ChatRequest, ChatStream, Layer, Model, ModelInfo, Place, StreamPart},
    runtime::{Clock, Context},
};

/// How long one try may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TimeoutConfig {
    /// Until the first part of the answer; 180 seconds by default, since some models think before they speak.
    #[serde(rename = "first_seconds", with = "crate::types::seconds")]
    pub first: Duration,
    /// Between two parts of the answer; 60 seconds by default.
    #[serde(rename = "between_seconds", with = "crate::types::seconds")]
    pub between: Duration,
    /// From the call to the end of the answer; 600 seconds by default.
    #[serde(rename = "total_seconds", with = "crate::types::seconds")]
    pub total: Duration,
}

impl Default for TimeoutConfig {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(180),
            between: Duration::from_secs(60),
            total: Duration::from_secs(600),
        }
    }
}

/// Ends a try that takes too long with `Timeout` and [`Retry::Soon`].
///
/// The error's context names the limit: `first_part`, `between_parts` or `in_all`.
/// It is the innermost layer, so that waiting for a limit or for the next try is not counted, and each try has its own
/// time.
/// The deadline of a context is another matter: it bounds the whole call, and nothing is tried again behind it.
///
/// # Cancellation
/// The model's work is dropped when the time is up.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use raptorflow_core::{Result, runtime::{Context, Runtime}, types::Message};
/// use raptorflow_core::model::{ChatRequest, Layers, Model, OfflineModel, TimeoutLayer};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let timeout = TimeoutLayer::default().with_first(Duration::from_secs(30));
/// let model = Layers::new().with(timeout).wrap(Model::new(OfflineModel::default()));
/// let ctx = Context::new(&Runtime::current()?);
/// model.complete(&ctx, &ChatRequest::new(vec![Message::user("What is a journal?")])).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TimeoutLayer(TimeoutConfig);

impl TimeoutLayer {
    /// With the given limits.
    #[must_use]
    pub fn new(config: TimeoutConfig) -> Self {
        Self(config)
    }

    /// Another limit until the first part.
    #[must_use]
    pub fn with_first(mut self, limit: Duration) -> Self {
        self.0.first = limit;
        self
    }

    /// Another limit between two parts.
    #[must_use]
    pub fn with_between(mut self, limit: Duration) -> Self {
        self.0.between = limit;
        self
    }

    /// Another limit in all.
    #[must_use]
    pub fn with_total(mut self, limit: Duration) -> Self {
        self.0.total = limit;
        self
    }
}

impl Layer for TimeoutLayer {
    fn place(&self) -> Place {
        Place::Timeout
    }

    fn wrap(&self, inner: Model) -> Model {
        Model::new(Bounded { config: self.0, inner })
    }
}

#[derive(Debug)]
struct Bounded {
    config: TimeoutConfig,
    inner: Model,
}

#[async_trait]
impl ChatModel for Bounded {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    async fn stream(&self, ctx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        let mut watch = Watch::new(ctx, self.config);
        let mut opening = std::pin::pin!(self.inner.stream(ctx, request));
        let opened = poll_fn(|cx| match opening.as_mut().poll(cx) {
            Poll::Ready(opened) => Poll::Ready(Ok(opened)),
            Poll::Pending => watch.poll(cx).map(Err),
        });
        match opened.await {
            Ok(opened) => {
                let model = Arc::clone(&self.inner.info().name);
                Ok(Box::pin(Timed { parts: Some(opened?), watch, model }))
            }
            Err(limit) => Err(limit.error(&self.inner.info().name, &self.config)),
        }
    }
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    FirstPart,
    BetweenParts,
    InAll,
}

impl Limit {
    fn error(self, model: &Arc<str>, config: &TimeoutConfig) -> Error {
        let (name, limit, message) = match self {
            Self::FirstPart => ("first_part", config.first, "the model did not begin to answer in time"),
            Self::BetweenParts => {
                ("between_parts", config.between, "the model fell silent within its answer")
            }
            Self::InAll => ("in_all", config.total, "the answer took too long in all"),
        };
        Error::new(ErrorKind::Timeout, "model.timeout", message)
            .with("model", model)
            .with("limit", name)
            .with("limit_ms", limit.as_millis())
            .retryable(Retry::Soon)
    }
}

type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Says when a limit is reached.
///
/// Nothing sleeps while parts are there to be read: a timer is made for the first wait and moved on only when it rings.
struct Watch {
    clock: Arc<dyn Clock>,
    config: TimeoutConfig,
    start: Duration,
    /// When the newest part came; `None` before the first.
    heard: Option<Duration>,
    /// The end came, and mostly nobody has to know when; `heard` does not have it.
    ended: bool,
    /// What wakes the task, and when.
    timer: Option<(Duration, Sleep)>,
}

impl Watch {
    fn new(ctx: &Context, config: TimeoutConfig) -> Self {
        let clock = Arc::clone(ctx.runtime().clock());
        Self { start: clock.elapsed(), clock, config, heard: None, ended: false, timer: None }
    }

    /// The next limit, and when it is reached.
    fn next(&self) -> (Duration, Limit) {
        let end = self.start.saturating_add(self.config.total);
        let (silence, limit) = match self.heard {
            None => (self.start.saturating_add(self.config.first), Limit::FirstPart),
            Some(heard) => (heard.saturating_add(self.config.between), Limit::BetweenParts),
        };
        if silence < end { (silence, limit) } else { (end, Limit::InAll) }
    }

    /// A part came; `Err` when that was too late.
    fn hear(&mut self) -> Result<(), Limit> {
        let now = self.clock.elapsed();
        self.heard = Some(now);
        if now < self.start.saturating_add(self.config.total) { Ok(()) } else { Err(Limit::InAll) }
    }

    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<Limit> {
        loop {
            let now = self.clock.elapsed();
            if mem::take(&mut self.ended) {
                self.heard = Some(now);
            }
            let (due, limit) = self.next();
            if now >= due {
                return Poll::Ready(limit);
            }
            // A timer that rings too early is moved on then; one that would ring too late is replaced.
            let timer = self.timer.take().filter(|(rings, _)| *rings <= due);
            let (_, sleep) = self.timer.insert(timer.unwrap_or_else(|| (due, self.clock.sleep(due - now))));
            ready!(sleep.as_mut().poll(cx));
            self.timer = None;
        }
    }
}

/// The parts of an answer, until a limit is reached.
struct Timed {
    /// `None` once the answer has ended.
    parts: Option<ChatStream>,
    watch: Watch,
    model: Arc<str>,
}

impl Stream for Timed {
    type Item = Result<StreamPart>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(parts) = &mut this.parts else { return Poll::Ready(None) };
        let over = match parts.poll_next_unpin(cx) {
            // The end is the end, also when it comes late.
            Poll::Ready(Some(Ok(part @ StreamPart::Finish { .. }))) => {
                this.watch.ended = true;
                return Poll::Ready(Some(Ok(part)));
            }
            Poll::Ready(Some(Ok(part))) => match this.watch.hear() {
                Err(limit) => limit,
                Ok(()) => return Poll::Ready(Some(Ok(part))),
            },
            Poll::Ready(ended) => {
                this.parts = None;
                return Poll::Ready(ended);
            }
            Poll::Pending => ready!(this.watch.poll(cx)),
        };
        this.parts = None;
        Poll::Ready(Some(Err(over.error(&this.model, &this.watch.config))))
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use futures_util::{FutureExt as _, stream};

    use super::*;
    use crate::{
        model::layers::tests::support::{Desk, texts},
        testing::{Reply, ScriptedModel},
    };

    const SECOND: Duration = Duration::from_secs(1);

    /// 3 seconds to the first part, 2 between parts, 5 in all.
    fn strict() -> TimeoutLayer {
        TimeoutLayer::default().with_first(SECOND * 3).with_between(SECOND * 2).with_total(SECOND * 5)
    }

    fn told(err: &Error) -> (ErrorKind, Retry, Option<&str>) {
        (err.kind(), err.retry(), err.get("limit"))
    }

    #[tokio::test]
    async fn a_model_that_does_not_begin_is_given_up() {
        for reply in
            [Reply::hang(), Reply::error(Error::new(ErrorKind::Internal, "x", "x")).with_delay(SECOND * 4)]
        {
            let desk = Desk::new([reply]);
            let ctx = desk.ctx();
            let moving = async {
                desk.slept().await;
                desk.clock.advance(SECOND * 3);
            };
            let (answer, ()) = futures_util::join!(desk.answer(strict(), &ctx), moving);
            let err = answer.unwrap_err();
            assert_eq!(told(&err), (ErrorKind::Timeout, Retry::Soon, Some("first_part")));
        }
    }

    #[tokio::test]
    async fn a_model_that_falls_silent_is_given_up_and_what_it_said_stays() {
        let desk = Desk::new([Reply::text("Here it is.").in_pieces(4).silent_after(2)]);
        let model = strict().wrap(desk.model());
        let mut stream = model.stream(&desk.ctx(), &Desk::request()).await.unwrap();
        assert_eq!(texts(&mut stream, 2).await, "Here it ");
        let mut next = stream.next();
        assert!((&mut next).now_or_never().is_none());
        desk.clock.advance(SECOND * 2);
        assert_eq!(
            told(&next.now_or_never().expect("it is over").unwrap().unwrap_err()),
            (ErrorKind::Timeout, Retry::Soon, Some("between_parts"))
        );
        assert!(stream.next().await.is_none());
    }

    /// A part every 1.5 seconds, without end.
    fn endless(clock: &crate::testing::ManualClock) -> Model {
        let clock = clock.clone();
        let info = ScriptedModel::new([]).info().clone();
        Model::new(Endless(info, clock))
    }

    #[derive(Debug)]
    struct Endless(ModelInfo, crate::testing::ManualClock);

    #[async_trait]
    impl ChatModel for Endless {
        fn info(&self) -> &ModelInfo {
            &self.0
        }

        async fn stream(&self, _: &Context, _: &ChatRequest) -> Result<ChatStream> {
            let clock = self.1.clone();
            Ok(Box::pin(stream::unfold(clock, |clock| async {
                clock.advance(Duration::from_millis(1500));
                Some((Ok(StreamPart::text("x")), clock))
            })))
        }
    }

    #[tokio::test]
    async fn an_answer_without_end_is_ended_also_when_it_never_pauses() {
        let desk = Desk::new([]);
        let parts = strict().wrap(endless(&desk.clock)).stream(&desk.ctx(), &Desk::request()).await.unwrap();
        let mut parts: Vec<_> = parts.collect().await;
        assert_eq!(told(&parts.pop().unwrap().unwrap_err()).2, Some("in_all"));
        assert_eq!(parts.len(), 3, "at 1.5, 3 and 4.5 seconds");
    }

    /// Says that it is over and then does not end.
    #[derive(Debug)]
    struct Lingering(ModelInfo);

    #[async_trait]
    impl ChatModel for Lingering {
        fn info(&self) -> &ModelInfo {
            &self.0
        }

        async fn stream(&self, _: &Context, _: &ChatRequest) -> Result<ChatStream> {
            let end = StreamPart::Finish { reason: crate::model::FinishReason::Stop };
            Ok(Box::pin(stream::iter([Ok(end)]).chain(stream::pending())))
        }
    }

    #[tokio::test]
    async fn a_stream_that_goes_on_after_its_end_is_given_up() {
        let desk = Desk::new([]);
        let info = ScriptedModel::new([]).info().clone();
        let model = strict().wrap(Model::new(Lingering(info)));
        let mut parts = model.stream(&desk.ctx(), &Desk::request()).await.unwrap();
        assert!(matches!(parts.next().await, Some(Ok(StreamPart::Finish { .. }))));
        let mut next = parts.next();
        assert!((&mut next).now_or_never().is_none());
        desk.clock.advance(SECOND * 2);
        let err = next.now_or_never().expect("it is over").unwrap().unwrap_err();
        assert_eq!(told(&err).2, Some("between_parts"));
    }

    #[tokio::test]
    async fn an_answer_in_time_is_given_on_as_it_is_and_leaves_no_timer() {
        let desk = Desk::new([Reply::text("Here.").with_delay(SECOND * 2)]);
        let ctx = desk.ctx();
        let call = desk.answer(strict(), &ctx);
        let moving = async {
            desk.slept().await;
            desk.clock.advance(SECOND * 2);
        };
        let (answer, ()) = futures_util::join!(call, moving);
        assert_eq!((answer.unwrap().message.text().as_str(), desk.clock.sleepers()), ("Here.", 0));
    }

    #[tokio::test]
    async fn limits_without_end_are_no_limits() {
        let never = TimeoutConfig { first: Duration::MAX, between: Duration::MAX, total: Duration::MAX };
        let desk = Desk::new([Reply::text("Here.").with_delay(SECOND)]);
        let ctx = desk.ctx();
        let call = desk.answer(TimeoutLayer::new(never), &ctx);
        let moving = async {
            desk.slept().await;
            desk.clock.advance(SECOND);
        };
        assert!(futures_util::join!(call, moving).0.is_ok());
    }
}
