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
    model::{Accumulator, ChatRequest, ChatResponse, ChatStream, Check, FinishReason, Model, StreamPart},
    runtime::Context,
    types::Usage,
};

/// An answer that has begun: what arrived so far, and the rest.
///
/// Nothing has reached the caller yet, so whoever waits for it may still ask again or ask somebody else.
pub(super) struct Begun {
    /// What came before the first word; mostly nothing.
    held: VecDeque<StreamPart>,
    said: Option<StreamPart>,
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
            if !matches!(part, StreamPart::Usage { .. } | StreamPart::Model { .. }) {
                return Ok(Self { held, said: Some(part), rest });
            }
            held.push_back(part);
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
        let this = &mut *self;
        match this.held.pop_front().or_else(|| this.said.take()) {
            Some(part) => Poll::Ready(Some(Ok(part))),
            None => this.rest.poll_next_unpin(cx),
        }
    }
}

/// An answer that has arrived to its end; at most as long as an [`Accumulator`] holds.
pub(super) struct Whole {
    /// Who was asked.
    asked: Arc<str>,
    parts: Vec<StreamPart>,
}

impl Whole {
    /// Asks a model and waits for its whole answer.
    ///
    /// # Errors
    /// As [`Model::complete`]: what had arrived is the cause of the error.
    pub(super) async fn of(model: &Model, ctx: &Context, request: &ChatRequest) -> Result<Self> {
        let asked = &model.info().name;
        let mut whole = Self { asked: Arc::clone(asked), parts: Vec::new() };
        let mut check = Check::new(Arc::clone(asked));
        match whole.collect(model, ctx, request, &mut check).await {
            Ok(()) if check.is_finished() => Ok(whole),
            Ok(()) => Err(whole.folded().cut_off()),
            Err(err) => Err(whole.folded().fail(err)),
        }
    }

    async fn collect(
        &mut self,
        model: &Model,
        ctx: &Context,
        request: &ChatRequest,
        check: &mut Check,
    ) -> Result<()> {
        let whole;
        let ctx = if ctx.takes_whole_answers() {
            ctx
        } else {
            whole = ctx.with_whole_answers();
            &whole
        };
        let mut stream = model.stream(ctx, request).await?;
        while let Some(part) = stream.next().await {
            let part = part?;
            check.admit(&part)?;
            self.parts.push(part);
        }
        Ok(())
    }

    /// Why it ended.
    pub(super) fn finish(&self) -> Option<&FinishReason> {
        self.parts.iter().rev().find_map(|part| match part {
            StreamPart::Finish { reason } => Some(reason),
            _ => None,
        })
    }

    /// What the model told that it took.
    pub(super) fn usage(&self) -> Usage {
        let told = self.parts.iter().rev().find_map(|part| match part {
            StreamPart::Usage { usage } => Some(*usage),
            _ => None,
        });
        told.unwrap_or_default()
    }

    /// A copy of it, folded, for whoever judges it.
    ///
    /// # Errors
    /// None: it was let in piece by piece.
    pub(super) fn response(&self) -> Result<ChatResponse> {
        Self { asked: Arc::clone(&self.asked), parts: self.parts.clone() }.folded().finish()
    }

    /// The same answer, with the name of the model that gave it, and another usage.
    pub(super) fn having_used(mut self, usage: Usage) -> Self {
        let model = self.parts.iter().rev().find_map(|part| match part {
            StreamPart::Model { name } => Some(Arc::clone(name)),
            _ => None,
        });
        let name = model.unwrap_or_else(|| Arc::clone(&self.asked));
        self.parts.retain(|part| !matches!(part, StreamPart::Usage { .. } | StreamPart::Model { .. }));
        self.parts.insert(0, StreamPart::Model { name });
        let end = self.parts.len().saturating_sub(1);
        self.parts.insert(end, StreamPart::Usage { usage });
        self
    }

    /// As a stream of all parts.
    pub(super) fn into_stream(self) -> ChatStream {
        Box::pin(stream::iter(self.parts.into_iter().map(Ok)))
    }

    fn folded(self) -> Accumulator {
        let mut answer = Accumulator::new(self.asked);
        // They were let in before.
        self.parts.into_iter().for_each(|part| drop(answer.push(part)));
        answer
    }
}

fn cut_off(model: &Arc<str>) -> Error {
    Error::new(ErrorKind::Unavailable, "model.stream", "the answer was cut off")
        .with("model", model)
        .retryable(Retry::Soon)
}
