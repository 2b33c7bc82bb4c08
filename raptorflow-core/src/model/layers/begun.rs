//! `Begun`: an answer whose first words have arrived, and `Whole`, one that has arrived to its end.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};

use futures_util::{Stream, StreamExt as _, stream};

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    model::{Accumulator, ChatRequest, ChatResponse, ChatStream, Model, StreamPart},
    runtime::Context,
    types::Usage,
};

/// An answer that has begun: what arrived so far, and the rest.
///
/// Nothing has reached the caller yet, so whoever waits for it may still ask again or ask somebody else.
pub(super) struct Begun {
    held: VecDeque<StreamPart>,
    rest: ChatStream,
}

impl Begun {
    /// Asks a model and waits until it says something; counts that come before are held back.
    ///
    /// # Errors
    /// What the model says before it says anything else, and `Unavailable` when it ends without a word.
    pub(super) async fn of(model: &Model, ctx: &Context, request: &ChatRequest) -> Result<Self> {
        let mut rest = model.stream(ctx, request).await?;
        let mut held = VecDeque::new();
        loop {
            let Some(part) = rest.next().await else {
                return Err(cut_off(&model.info().name));
            };
            let part = part?;
            let says = !matches!(part, StreamPart::Usage { .. } | StreamPart::Model { .. });
            held.push_back(part);
            if says {
                return Ok(Self { held, rest });
            }
        }
    }

    /// As a stream of all parts.
    pub(super) fn into_stream(self) -> ChatStream {
        Box::pin(self)
    }

    /// The same answer, with the name of the model that gives it in front.
    pub(super) fn named(mut self, name: &Arc<str>) -> Self {
        if !self.held.iter().any(|part| matches!(part, StreamPart::Model { .. })) {
            self.held.push_front(StreamPart::Model { name: Arc::clone(name) });
        }
        self
    }
}

impl Stream for Begun {
    type Item = Result<StreamPart>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        match self.held.pop_front() {
            Some(part) => Poll::Ready(Some(Ok(part))),
            None => self.rest.poll_next_unpin(cx),
        }
    }
}

/// An answer that has arrived to its end; at most as long as an [`Accumulator`] holds.
pub(super) struct Whole {
    parts: Vec<StreamPart>,
    pub(super) response: ChatResponse,
}

impl Whole {
    /// Asks a model and waits for its whole answer.
    ///
    /// # Errors
    /// As [`Model::complete`]: what had arrived is the cause of the error.
    pub(super) async fn of(model: &Model, ctx: &Context, request: &ChatRequest) -> Result<Self> {
        let mut answer = Accumulator::new(Arc::clone(&model.info().name));
        let mut parts = Vec::new();
        match collect(model, ctx, request, &mut answer, &mut parts).await {
            Ok(()) => answer.finish().map(|response| Self { parts, response }),
            Err(err) => Err(answer.fail(err)),
        }
    }

    /// The same answer, with the name of the model that gave it, and another usage.
    pub(super) fn having_used(mut self, usage: Usage) -> Self {
        self.parts.retain(|part| !matches!(part, StreamPart::Usage { .. } | StreamPart::Model { .. }));
        self.parts.insert(0, StreamPart::Model { name: Arc::clone(&self.response.model) });
        let end = self.parts.len().saturating_sub(1);
        self.parts.insert(end, StreamPart::Usage { usage });
        self
    }

    /// As a stream of all parts.
    pub(super) fn into_stream(self) -> ChatStream {
        Box::pin(stream::iter(self.parts.into_iter().map(Ok)))
    }
}

async fn collect(
    model: &Model,
    ctx: &Context,
    request: &ChatRequest,
    answer: &mut Accumulator,
    parts: &mut Vec<StreamPart>,
) -> Result<()> {
    let mut stream = model.stream(&ctx.with_whole_answers(), request).await?;
    while let Some(part) = stream.next().await {
        let part = part?;
        answer.push(part.clone())?;
        parts.push(part);
    }
    Ok(())
}

fn cut_off(model: &Arc<str>) -> Error {
    Error::new(ErrorKind::Unavailable, "model.stream", "the answer was cut off")
        .with("model", model)
        .retryable(Retry::Soon)
}
