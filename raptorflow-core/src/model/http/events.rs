//! Reads the event stream of an answer and lets a provider's dialect turn it into parts.

use std::collections::VecDeque;

use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};

use crate::{
    error::{Error, ErrorKind, Result},
    model::{SseDecoder, SseMessage, StreamPart, http::HttpBody},
};

/// How a provider's events become parts.
pub(crate) trait Dialect: Send + 'static {
    /// Adds the parts of one message; the last part of all is a `Finish`.
    fn read(&mut self, message: &SseMessage, parts: &mut VecDeque<StreamPart>) -> Result<()>;

    /// Adds what is left when the body ends.
    fn end(&mut self, parts: &mut VecDeque<StreamPart>) -> Result<()>;

    /// Adds the usage so far, if any was told and not yet given on, when the answer breaks off.
    fn break_off(&mut self, parts: &mut VecDeque<StreamPart>);
}

/// How much one answer may send in all, in bytes; a host that never stops is stopped here.
const MAX_BODY: usize = 64 << 20;

struct Reader<D> {
    body: HttpBody,
    received: usize,
    decoder: SseDecoder,
    dialect: D,
    ready: VecDeque<StreamPart>,
    /// What ended the answer before its end, told after what is ready.
    failed: Option<Error>,
    finished: bool,
    ended: bool,
}

/// The parts of an answer; it ends after a `Finish`, an error, or the end of the body.
pub(crate) fn answer_parts<D: Dialect>(
    body: HttpBody,
    dialect: D,
) -> impl Stream<Item = Result<StreamPart>> + Send {
    let reader = Reader {
        body,
        received: 0,
        decoder: SseDecoder::default(),
        dialect,
        ready: VecDeque::new(),
        failed: None,
        finished: false,
        ended: false,
    };
    stream::try_unfold(reader, |mut reader| async move {
        let part = reader.next().await?;
        Ok(part.map(|part| (part, reader)))
    })
}

impl<D: Dialect> Reader<D> {
    async fn next(&mut self) -> Result<Option<StreamPart>> {
        loop {
            if let Some(part) = self.ready.pop_front() {
                if matches!(part, StreamPart::Finish { .. }) {
                    self.finished = true;
                    self.drain();
                }
                return Ok(Some(part));
            }
            if let Some(err) = self.failed.take() {
                return Err(err);
            }
            if self.ended {
                return Ok(None);
            }
            if let Err(err) = self.advance().await {
                self.ended = true;
                self.failed = Some(err);
            }
            if self.ended && !self.has_finish() {
                self.dialect.break_off(&mut self.ready);
            }
        }
    }

    /// Reads one message, or more of the body.
    async fn advance(&mut self) -> Result<()> {
        if let Some(message) = self.decoder.next_message()? {
            return self.dialect.read(message, &mut self.ready);
        }
        let Some(bytes) = self.body.next().await.transpose()? else {
            self.ended = true;
            return self.dialect.end(&mut self.ready);
        };
        self.received = self.received.saturating_add(bytes.len());
        if self.received > MAX_BODY {
            return Err(Error::new(ErrorKind::LimitExceeded, "model.stream", "the answer is too long")
                .with("max_bytes", MAX_BODY));
        }
        self.decoder.push(&bytes);
        Ok(())
    }

    fn has_finish(&self) -> bool {
        self.finished || self.ready.iter().any(|part| matches!(part, StreamPart::Finish { .. }))
    }

    /// Reads what has arrived behind the end, without waiting: a connection whose body was read to its end is
    /// used again.
    fn drain(&mut self) {
        while let Some(Some(Ok(_))) = self.body.next().now_or_never() {}
    }
}
