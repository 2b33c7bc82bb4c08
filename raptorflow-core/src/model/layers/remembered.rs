//! `Remembered`: the newest whole answers, by request, for when nobody can be asked.

use std::{
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{self, Poll},
};

use futures_util::{Stream, StreamExt as _, stream};
use indexmap::IndexMap;

use crate::{
    error::Result,
    model::{ChatRequest, ChatStream, StreamPart},
    runtime::Context,
    types::Digest,
};

/// How long an answer may be to be remembered, in bytes of text.
const MAX_BYTES: usize = 64 << 10;

type Answers = IndexMap<Digest, Arc<[StreamPart]>>;

/// The newest whole answers; cloning shares them.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    most: usize,
    answers: Arc<Mutex<Answers>>,
}

impl Remembered {
    pub(super) fn new(most: usize) -> Self {
        Self { most, answers: Arc::default() }
    }

    /// The place of the answer to one request of the context's tenant.
    pub(super) fn slot(&self, ctx: &Context, model: &Arc<str>, request: &ChatRequest) -> Slot {
        let asked = serde_json::to_vec(request).unwrap_or_default();
        let key = Digest::of_all([model.as_bytes(), ctx.tenant().as_str().as_bytes(), &asked]);
        Slot { all: self.clone(), model: Arc::clone(model), key }
    }

    // A std mutex: no await happens while it is held.
    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one answer.
#[derive(Clone)]
pub(super) struct Slot {
    all: Remembered,
    model: Arc<str>,
    key: Digest,
}

impl Slot {
    /// The answer that was kept, with the name of who gave it; it took no tokens this time.
    pub(super) fn replay(&self) -> Option<ChatStream> {
        let parts = self.all.lock().get(&self.key)?.to_vec();
        Some(Box::pin(stream::iter(parts.into_iter().map(Ok))))
    }

    /// Keeps an answer while it passes, when it ends well.
    pub(super) fn recording(self, parts: ChatStream) -> ChatStream {
        let kept = vec![StreamPart::Model { name: Arc::clone(&self.model) }];
        Box::pin(Recording { parts, kept: Some(kept), bytes: 0, slot: self })
    }

    fn keep(&self, parts: Vec<StreamPart>) {
        let mut answers = self.all.lock();
        // The newest is the last, also when it was there before.
        answers.shift_remove(&self.key);
        if answers.len() >= self.all.most {
            answers.shift_remove_index(0);
        }
        if self.all.most > 0 {
            answers.insert(self.key, parts.into());
        }
    }
}

/// The parts of an answer, and a copy of them.
struct Recording {
    parts: ChatStream,
    /// `None` once it is too long.
    kept: Option<Vec<StreamPart>>,
    bytes: usize,
    slot: Slot,
}

impl Recording {
    fn see(&mut self, part: &StreamPart) {
        self.bytes += match part {
            StreamPart::Text { text } | StreamPart::Reasoning { text, .. } => text.len(),
            StreamPart::ToolCall { arguments, .. } => arguments.len(),
            _ => 0,
        };
        let Some(kept) = self.kept.as_mut().filter(|_| self.bytes <= MAX_BYTES) else {
            self.kept = None;
            return;
        };
        match part {
            StreamPart::Usage { .. } => {}
            StreamPart::Model { .. } => *kept = vec![part.clone()],
            StreamPart::Finish { .. } => {
                let mut whole = mem::take(kept);
                whole.push(part.clone());
                self.slot.keep(whole);
            }
            _ => kept.push(part.clone()),
        }
    }
}

impl Stream for Recording {
    type Item = Result<StreamPart>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.parts.poll_next_unpin(cx);
        if let Poll::Ready(Some(Ok(part))) = &next {
            self.see(part);
        }
        next
    }
}
