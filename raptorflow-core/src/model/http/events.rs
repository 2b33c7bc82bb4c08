//! Reads the event stream of an answer and lets a provider's dialect turn it into parts.

use std::collections::VecDeque;

use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};

use crate::{
    error::{Error, ErrorKind, Result},
    model::{SseDecoder, SseEvent, SseMessage, StreamPart, http::HttpBody},
};

/// How a provider's events become parts.
pub(crate) trait Dialect: Send + 'static {
    /// Adds the parts of one message; the last part of all is a `Finish`.
    fn read(&mut self, message: &SseMessage, parts: &mut VecDeque<StreamPart>) -> Result<()>;

    /// Adds what is left when the body ends.
    fn end(&mut self, parts: &mut VecDeque<StreamPart>);
}

/// How much one answer may send in all, in bytes; a host that never stops is stopped here.
const MAX_BODY: usize = 64 << 20;

struct Reader<D> {
    body: HttpBody,
    received: usize,
    decoder: SseDecoder,
    dialect: D,
    ready: VecDeque<StreamPart>,
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
                    self.drain();
                }
                return Ok(Some(part));
            }
            if self.ended {
                return Ok(None);
            }
            match self.decoder.next_event()? {
                Some(SseEvent::Message(message)) => self.dialect.read(&message, &mut self.ready)?,
                Some(SseEvent::Retry(_)) => {}
                None => match self.body.next().await.transpose()? {
                    Some(bytes) => {
                        self.received = self.received.saturating_add(bytes.len());
                        if self.received > MAX_BODY {
                            return Err(Error::new(
                                ErrorKind::LimitExceeded,
                                "model.stream",
                                "the answer is too long",
                            )
                            .with("max_bytes", MAX_BODY));
                        }
                        self.decoder.push(&bytes);
                    }
                    None => {
                        self.ended = true;
                        self.dialect.end(&mut self.ready);
                    }
                },
            }
        }
    }

    /// Reads what has arrived behind the end, without waiting: a connection whose body was read to its end is
    /// used again.
    fn drain(&mut self) {
        while let Some(Some(Ok(_))) = self.body.next().now_or_never() {}
    }
}
