//! What the SDK reports, as our errors: kinds that code can match on, and no address or token in a text.

use std::error::Error as StdError;

use rmcp::{
    model::{ErrorCode, ErrorData},
    service::{ClientInitializeError, ServiceError},
    transport::{
        auth::AuthError,
        streamable_http_client::{AuthRequiredError, InsufficientScopeError, StreamableHttpError},
    },
};

use crate::error::{Error, ErrorKind, Retry};

/// How much of what a server says stands in an error, in characters.
const MAX_REASON: usize = 2000;

/// A request that failed.
pub(super) fn of_request(err: &ServiceError, operation: &'static str) -> Error {
    match err {
        ServiceError::McpError(answer) => answered(answer, operation),
        ServiceError::TransportSend(cause) => of_transport(cause, operation),
        ServiceError::TransportClosed => {
            Error::new(ErrorKind::Unavailable, operation, "the server closed the connection")
        }
        ServiceError::Cancelled { .. } => {
            Error::new(ErrorKind::Cancelled, operation, "the call was cancelled")
        }
        ServiceError::Timeout { .. } => {
            Error::new(ErrorKind::Timeout, operation, "the server gave no answer")
        }
        _ => Error::new(ErrorKind::InvalidOutput, operation, "the server broke the protocol")
            .with("reason", clipped(&err.to_string())),
    }
}

/// A handshake that failed.
pub(super) fn of_handshake(err: &ClientInitializeError, operation: &'static str) -> Error {
    match err {
        ClientInitializeError::ConnectionClosed(_) => {
            Error::new(ErrorKind::Unavailable, operation, "the server ended before the handshake")
        }
        ClientInitializeError::TransportError { error, .. } => of_transport(error, operation),
        ClientInitializeError::JsonRpcError(answer) => answered(answer, operation),
        ClientInitializeError::Cancelled => {
            Error::new(ErrorKind::Cancelled, operation, "the session was closed")
        }
        ClientInitializeError::NoCompatibleProtocolVersion { .. } => Error::new(
            ErrorKind::Unsupported,
            operation,
            "the server speaks no version of the protocol that we speak",
        ),
        _ => {
            Error::new(ErrorKind::InvalidOutput, operation, "the server broke the protocol in the handshake")
        }
    }
}

/// An authorization that failed.
pub(super) fn of_auth(err: &AuthError, operation: &'static str) -> Error {
    let message = "the server's authorization failed";
    Error::new(ErrorKind::Unauthenticated, operation, message).with("reason", clipped(&err.to_string()))
}

/// What the server asks for before it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Credentials: the text of `WWW-Authenticate`.
    Credentials(String),
    /// More than the credentials allow: the text of `WWW-Authenticate` and the scope in it.
    Scope(String, Option<String>),
}

/// What the server asks for, where that is why a request failed.
pub(super) fn challenge(err: &(dyn StdError + 'static)) -> Option<Challenge> {
    causes(err).find_map(|cause| {
        if let Some(asked) = cause.downcast_ref::<AuthRequiredError>() {
            return Some(Challenge::Credentials(asked.www_authenticate_header.clone()));
        }
        let asked = cause.downcast_ref::<InsufficientScopeError>()?;
        Some(Challenge::Scope(asked.www_authenticate_header.clone(), asked.required_scope.clone()))
    })
}

fn answered(answer: &ErrorData, operation: &'static str) -> Error {
    let (kind, message) = match answer.code {
        ErrorCode::INVALID_PARAMS => (ErrorKind::InvalidInput, "the server refuses the arguments"),
        ErrorCode::METHOD_NOT_FOUND => (ErrorKind::Unsupported, "the server does not offer this"),
        ErrorCode::RESOURCE_NOT_FOUND => (ErrorKind::NotFound, "the server has no such resource"),
        _ => (ErrorKind::Callback, "the server answered with an error"),
    };
    Error::new(kind, operation, message).with("code", answer.code.0).with("reason", clipped(&answer.message))
}

fn of_transport(err: &(dyn StdError + 'static), operation: &'static str) -> Error {
    if let Some(challenge) = challenge(err) {
        return match challenge {
            Challenge::Credentials(_) => {
                Error::new(ErrorKind::Unauthenticated, operation, "the server wants credentials")
            }
            Challenge::Scope(..) => {
                Error::new(ErrorKind::PermissionDenied, operation, "the credentials do not allow this")
            }
        };
    }
    causes(err).find_map(|cause| known(cause, operation)).unwrap_or_else(|| {
        let err_of = |message| Error::new(ErrorKind::Unavailable, operation, message).retryable(Retry::Soon);
        match causes(err).find_map(|cause| cause.downcast_ref::<std::io::Error>()) {
            Some(cause) => err_of("the connection to the server broke").with("reason", cause.kind()),
            None => err_of("the request did not reach the server"),
        }
    })
}

/// What one cause in the chain says, if it is one of those that tell.
fn known(cause: &(dyn StdError + 'static), operation: &'static str) -> Option<Error> {
    if cause.downcast_ref::<AuthError>().is_some() {
        return Some(Error::new(ErrorKind::Unauthenticated, operation, "the server wants other credentials"));
    }
    match cause.downcast_ref::<StreamableHttpError<reqwest::Error>>()? {
        // These two do not stand in the chain of causes by themselves.
        StreamableHttpError::HttpStatus(status) => Some(of_status(status.status, operation)),
        StreamableHttpError::Client(err) => match err.status() {
            Some(status) => Some(of_status(status.as_u16(), operation)),
            None if err.is_connect() => {
                let message = "cannot connect to the server";
                Some(Error::new(ErrorKind::Unavailable, operation, message).retryable(Retry::Soon))
            }
            None => None,
        },
        StreamableHttpError::UnexpectedServerResponse(text) => Some(match refusal(text) {
            // A redirect is not followed: it would take the headers to another address.
            Some(300..400) => Error::new(ErrorKind::Unsupported, operation, "the server redirects elsewhere"),
            Some(status) => of_status(status, operation),
            None => Error::new(ErrorKind::InvalidOutput, operation, "not an answer of MCP"),
        }),
        StreamableHttpError::UnexpectedContentType(kind) => Some(
            Error::new(ErrorKind::InvalidOutput, operation, "not an answer of MCP")
                .with("content_type", clipped(kind.as_deref().unwrap_or("none"))),
        ),
        StreamableHttpError::ResponseBodyTooLarge { .. } => {
            Some(Error::new(ErrorKind::LimitExceeded, operation, "the server's answer is too large"))
        }
        _ => None,
    }
}

/// The status in `HTTP 404 Not Found: …`.
fn refusal(text: &str) -> Option<u16> {
    text.strip_prefix("HTTP ")?.get(..3)?.parse().ok()
}

fn of_status(status: u16, operation: &'static str) -> Error {
    let (kind, retry) = match status {
        401 => (ErrorKind::Unauthenticated, Retry::Never),
        403 => (ErrorKind::PermissionDenied, Retry::Never),
        404 => (ErrorKind::NotFound, Retry::Never),
        429 => (ErrorKind::RateLimited, Retry::Soon),
        500.. => (ErrorKind::Unavailable, Retry::Soon),
        _ => (ErrorKind::InvalidOutput, Retry::Never),
    };
    Error::new(kind, operation, "the server refused the request").with("status", status).retryable(retry)
}

fn causes<'a>(err: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(err), |&err| err.source())
}

pub(super) fn clipped(text: &str) -> String {
    text.chars().take(MAX_REASON).collect()
}
