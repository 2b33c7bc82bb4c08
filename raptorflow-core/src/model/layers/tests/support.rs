//! What the tests of layers share: a scripted model behind a layer, and a clock that is moved by hand.

use std::{future::Future, pin::pin, sync::Arc, task::Poll, time::Duration};

use futures_util::{StreamExt as _, poll};

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    model::{ChatRequest, ChatResponse, ChatStream, Layer, Model, StreamPart},
    runtime::{Clock as _, Context, Runtime, Tasks},
    testing::{ManualClock, Reply, ScriptedModel},
    types::Message,
};

/// A scripted model and the clock that its contexts use.
pub(in crate::model::layers) struct Desk {
    pub(in crate::model::layers) script: ScriptedModel,
    pub(in crate::model::layers) clock: ManualClock,
    runtime: Runtime,
}

impl Desk {
    pub(in crate::model::layers) fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        let clock = ManualClock::new();
        let runtime = Runtime::new(Arc::new(clock.clone()), Tasks::current().unwrap());
        Self { script: ScriptedModel::new(replies), clock, runtime }
    }

    /// Answers everything that the list does not.
    pub(in crate::model::layers) fn always(mut self, reply: Reply) -> Self {
        self.script = self.script.always(reply);
        self
    }

    pub(in crate::model::layers) fn ctx(&self) -> Context {
        Context::new(&self.runtime)
    }

    pub(in crate::model::layers) fn model(&self) -> Model {
        Model::new(self.script.clone())
    }

    pub(in crate::model::layers) fn request() -> ChatRequest {
        ChatRequest::new(vec![Message::user("Where?")])
    }

    /// The answer of the scripted model behind a layer.
    pub(in crate::model::layers) async fn answer(
        &self,
        layer: impl Layer,
        ctx: &Context,
    ) -> Result<ChatResponse> {
        layer.wrap(self.model()).complete(ctx, &Self::request()).await
    }

    /// Waits until somebody sleeps.
    pub(in crate::model::layers) async fn slept(&self) {
        for _ in 0..1000 {
            if self.clock.sleepers() > 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("nobody sleeps");
    }

    /// What work gives that sleeps exactly these numbers of seconds, one after the other.
    pub(in crate::model::layers) async fn pauses<T>(
        &self,
        work: impl Future<Output = T>,
        seconds: &[u64],
    ) -> T {
        let moving = async {
            for seconds in seconds {
                self.slept().await;
                let before = self.clock.elapsed();
                self.clock.advance(Duration::from_secs(*seconds) - Duration::from_millis(1));
                tokio::task::yield_now().await;
                assert_eq!(self.clock.sleepers(), 1, "woke too early at {before:?}");
                self.clock.advance(Duration::from_millis(1));
                assert_eq!(self.clock.sleepers(), 0, "slept on at {before:?}");
            }
        };
        let mut work = pin!(work);
        let ending = async {
            for _ in 0..10_000 {
                if let Poll::Ready(value) = poll!(&mut work) {
                    return value;
                }
                tokio::task::yield_now().await;
            }
            panic!("the work waits on");
        };
        futures_util::join!(ending, moving).0
    }

    /// What work gives for which a second passes each time that it waits.
    pub(in crate::model::layers) async fn hurry<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        for _ in 0..1000 {
            if let Poll::Ready(value) = poll!(&mut work) {
                return value;
            }
            self.clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
        panic!("the work does not end");
    }
}

/// The model cannot be reached.
pub(in crate::model::layers) fn down() -> Error {
    Error::new(ErrorKind::Unavailable, "model.stream", "down").retryable(Retry::Soon)
}

/// The model asks for a pause of this many seconds.
pub(in crate::model::layers) fn busy(seconds: u64) -> Error {
    let pause = Retry::After(Duration::from_secs(seconds));
    Error::new(ErrorKind::RateLimited, "model.stream", "busy").retryable(pause)
}

/// The text of the next parts of a stream.
pub(in crate::model::layers) async fn texts(stream: &mut ChatStream, parts: usize) -> String {
    let mut text = String::new();
    for _ in 0..parts {
        match stream.next().await {
            Some(Ok(StreamPart::Text { text: piece })) => text.push_str(&piece),
            other => panic!("expected text and got {other:?}"),
        }
    }
    text
}
