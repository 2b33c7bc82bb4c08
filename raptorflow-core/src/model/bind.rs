//! `bind_stream`: gives a backend's stream the end that the contract promises.

use std::sync::Arc;

use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    model::{ChatStream, StreamPart},
    runtime::Context,
};

/// Binds the parts of an answer to the contract of [`ChatModel`](crate::model::ChatModel): the context's deadline
/// and cancellation end it, nothing follows a `Finish` or an error, and parts that stop without a `Finish` are an
/// `Unavailable` error.
///
/// For backends whose parts come from elsewhere; dropping the stream drops `parts`.
pub fn bind_stream(
    ctx: &Context,
    model: &Arc<str>,
    parts: impl Stream<Item = Result<StreamPart>> + Send + 'static,
) -> ChatStream {
    let start = (Box::pin(parts), ctx.clone(), Arc::clone(model));
    Box::pin(stream::unfold(Some(start), |state| async {
        let (mut parts, ctx, model) = state?;
        // A part that is there already needs no deadline.
        let ready = if ctx.cancel().is_cancelled() { None } else { parts.next().now_or_never() };
        let next = match ready {
            Some(next) => Ok(next),
            None => ctx.bound("model.stream", parts.next()).await,
        };
        let part = next.and_then(|next| {
            next.unwrap_or_else(|| {
                Err(Error::new(ErrorKind::Unavailable, "model.stream", "the answer was cut off")
                    .with("model", &model)
                    .retryable(Retry::Soon))
            })
        });
        let last = matches!(part, Err(_) | Ok(StreamPart::Finish { .. }));
        Some((part, (!last).then_some((parts, ctx, model))))
    }))
}
