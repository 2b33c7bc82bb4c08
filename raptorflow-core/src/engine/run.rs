//! `Run`: a run in the background, with its events and its outcome.

use std::{
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};

use futures_util::Stream;

use crate::{
    engine::{Engine, Outcome},
    error::{Error, ErrorKind, Result},
    event::{Event, Received, Subscription},
    runtime::{Cancel, Task},
    types::RunId,
};

/// A run in the background; it goes on when this is dropped.
///
/// ```
/// use raptorflow_core::{Engine, ErrorKind, agent::{AgentSpec, FunctionAgent}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let engine = Engine::builder().build().await?;
/// engine.register(FunctionAgent::new(AgentSpec::new("waits")?, |_ctx, _input| std::future::pending()))?;
/// let run = engine.start("waits", "for ever").await?;
/// run.cancel();
/// assert_eq!(run.outcome().await.unwrap_err().kind(), ErrorKind::Cancelled);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Run {
    engine: Engine,
    id: RunId,
    cancel: Cancel,
    events: Subscription,
    task: Task<Result<Outcome>>,
}

impl Run {
    pub(super) fn new(
        engine: Engine,
        id: RunId,
        cancel: Cancel,
        events: Subscription,
        task: Task<Result<Outcome>>,
    ) -> Self {
        Self { engine, id, cancel, events, task }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> RunId {
        self.id
    }

    /// The engine that it runs in.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Cancels it for good; await [`Run::outcome`] to see it end.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// As [`Engine::run`].
    ///
    /// # Cancellation
    /// Dropping the future does not stop the run.
    pub async fn outcome(self) -> Result<Outcome> {
        let Self { events, task, .. } = self;
        // Nobody takes them any more, and they would be held until the end.
        drop(events);
        task.await?
    }

    /// Everything that the bus tells of it, from its start to its end.
    #[must_use]
    pub fn events(self) -> RunEvents {
        RunEvents { events: self.events, task: self.task, outcome: None }
    }
}

/// The events of a run; a stream that ends when the run has ended.
///
/// It holds at most 4,096 events that were not taken; then the oldest make room and an error says how many are
/// missing, once, after which the stream goes on.
#[derive(Debug)]
pub struct RunEvents {
    events: Subscription,
    task: Task<Result<Outcome>>,
    outcome: Option<Result<Outcome>>,
}

impl RunEvents {
    /// How the run ended; waits for the end and drops events that were not taken.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub async fn outcome(self) -> Result<Outcome> {
        match self.outcome {
            Some(outcome) => outcome,
            None => self.task.await?,
        }
    }
}

impl Stream for RunEvents {
    type Item = Result<Arc<Event>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        // The end is looked at first: what was published before it is then in the queue.
        if self.outcome.is_none()
            && let Poll::Ready(ended) = Pin::new(&mut self.task).poll(cx)
        {
            self.outcome = Some(ended.and_then(|outcome| outcome));
        }
        match Pin::new(&mut self.events).poll_next(cx) {
            Poll::Ready(Some(received)) => Poll::Ready(Some(received.and_then(unpack))),
            Poll::Pending if self.outcome.is_none() => Poll::Pending,
            Poll::Ready(None) | Poll::Pending => Poll::Ready(None),
        }
    }
}

fn unpack(received: Received) -> Result<Arc<Event>> {
    match received {
        Received::Event(event) => Ok(event),
        Received::Missed(count) => {
            let message = "events were dropped because they were not taken in time";
            Err(Error::new(ErrorKind::LimitExceeded, "engine.events", message).with("missed", count))
        }
    }
}
