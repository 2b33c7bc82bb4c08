//! What a failure of the crate means; its own texts hold what was sent and answered, so none is kept.

use bytes::Bytes;
use futures_util::stream;

use crate::{
    error::Error,
    model::{
        HttpResponse,
        http::{Origin, refused},
    },
    runtime::Context,
};

/// The error of a failure.
pub(super) async fn failure(origin: &Origin, ctx: &Context, err: genai::Error) -> Error {
    use genai::{Error as Failure, webc::Error as Web};
    match err {
        Failure::HttpError { status, body, headers, .. }
        | Failure::WebModelCall { webc_error: Web::ResponseFailedStatus { status, body, headers }, .. } => {
            let headers = headers.iter();
            let headers = headers.filter_map(|(name, value)| {
                Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
            });
            let body = Box::pin(stream::iter([Ok(Bytes::from(body))]));
            let response = HttpResponse { status: status.as_u16(), headers: headers.collect(), body };
            match origin.accept(ctx, response).await {
                Err(err) => err,
                Ok(_) => origin.malformed("the provider answered with an unexpected status"),
            }
        }
        Failure::WebModelCall { webc_error: Web::Reqwest(err), .. } => {
            refused(err, &origin.host).with("model", &origin.model)
        }
        Failure::WebStream { error, .. } => match error.downcast::<Failure>() {
            Ok(inner) => Box::pin(failure(origin, ctx, *inner)).await,
            Err(other) => match other.downcast::<reqwest::Error>() {
                Ok(err) => refused(*err, &origin.host).with("model", &origin.model),
                Err(_) => origin.malformed("the stream of the provider cannot be read"),
            },
        },
        Failure::ChatResponse { body, .. } => origin.told(&body),
        Failure::StreamParse { serde_error, .. } => origin
            .malformed("an event of the stream is not the expected JSON")
            .with("column", serde_error.column()),
        _ => origin.malformed("the request or the answer does not fit the provider's wire"),
    }
}
