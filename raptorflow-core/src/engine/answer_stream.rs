//! `AnswerStream`: an answer as it arrives, and at last as a value of a type.

use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    task::{self, Poll},
};

use futures_util::Stream;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::{
    agent::Piece,
    engine::{Outcome, RunRequest, TypedOutcome},
    error::Result,
    model::{PartialJson, WRAPPED, as_object},
    types::Schema,
};

/// How many pieces may wait before the model is not read on.
const PIECES: usize = 64;
/// A partial answer is made when the text has grown by this part of itself, so that all copies together take time in
/// proportion to the length of the answer.
const GROWTH: usize = 64;

/// What an [`AnswerStream`] gives.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AnswerPart<T> {
    /// What is known of the answer so far; it is not checked against the schema, and members may be missing.
    ///
    /// Strings may still grow; numbers, `true`, `false` and `null` show when they are whole.
    Partial {
        /// The answer so far.
        value: Value,
        /// The JSON Pointer of the innermost value that is not whole, `None` when all is.
        ///
        /// What lies on the way to it may get more members; everything else is as it will be.
        open: Option<String>,
    },
    /// The model is asked again, because its answer did not fit or a tool has answered; what was shown is void.
    Again {
        /// Which call of the model it is, from 1.
        attempt: u32,
    },
    /// The whole answer, checked; the last item.
    Done(TypedOutcome<T>),
}

/// An answer as it arrives: a stream of [`AnswerPart`] that ends with the whole answer, or with an error.
///
/// Of a long answer a partial one is made when it has grown by a sixty-fourth.
/// An agent whose answer does not come from its own model, such as a workflow, gives the whole answer only.
/// At most 64 pieces wait for whoever polls; then the model is not read on.
pub struct AnswerStream<T> {
    work: Option<Pin<Box<dyn Future<Output = Result<Outcome>> + Send>>>,
    pieces: mpsc::Receiver<Piece>,
    ended: Option<Result<Outcome>>,
    json: PartialJson,
    wrapped: bool,
    /// Bytes of the answer, and how many of them the last partial answer was made of.
    read: usize,
    shown: usize,
    kind: PhantomData<fn() -> T>,
}

impl<T> AnswerStream<T> {
    pub(super) fn new(request: RunRequest, schema: &Schema) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES);
        Self {
            work: Some(request.read_by(sender).into_future()),
            pieces,
            ended: None,
            json: PartialJson::in_text(),
            wrapped: as_object(schema).is_some(),
            read: 0,
            shown: 0,
            kind: PhantomData,
        }
    }

    fn take(&mut self, piece: Piece) -> Option<AnswerPart<T>> {
        match piece {
            Piece::Asked { attempt } => {
                self.json = PartialJson::in_text();
                (self.read, self.shown) = (0, 0);
                (attempt > 1).then_some(AnswerPart::Again { attempt })
            }
            Piece::Text(text) => {
                self.json.push(&text);
                self.read += text.len();
                self.partial()
            }
        }
    }

    /// What is known, where it is time to show it.
    fn partial(&mut self) -> Option<AnswerPart<T>> {
        let grown = self.read - self.shown;
        if grown == 0 || grown.saturating_mul(GROWTH) < self.read || !self.json.take_changed() {
            return None;
        }
        self.shown = self.read;
        let (mut value, mut open) = (self.json.value()?, self.json.open());
        if self.wrapped {
            value = value.get_mut(WRAPPED)?.take();
            let inside = |open: &String| open.strip_prefix('/')?.strip_prefix(WRAPPED).map(str::to_owned);
            open = open.as_ref().and_then(inside);
        }
        Some(AnswerPart::Partial { value, open })
    }
}

/// Nothing in it is pinned but the work, which is boxed.
impl<T> Unpin for AnswerStream<T> {}

impl<T: DeserializeOwned> Stream for AnswerStream<T> {
    type Item = Result<AnswerPart<T>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            // What was said before the end comes before it.
            if let Poll::Ready(Some(piece)) = this.pieces.poll_recv(cx) {
                match this.take(piece) {
                    Some(part) => return Poll::Ready(Some(Ok(part))),
                    None => continue,
                }
            }
            let Some(work) = &mut this.work else {
                let ended = this.ended.take();
                return Poll::Ready(ended.map(|it| it.and_then(Outcome::typed).map(AnswerPart::Done)));
            };
            match work.as_mut().poll(cx) {
                Poll::Ready(ended) => (this.work, this.ended) = (None, Some(ended)),
                // The work may have filled the queue, and waits for room in it.
                Poll::Pending if this.pieces.is_empty() => return Poll::Pending,
                Poll::Pending => {}
            }
        }
    }
}

impl<T> fmt::Debug for AnswerStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerStream").field("read", &self.read).finish_non_exhaustive()
    }
}
