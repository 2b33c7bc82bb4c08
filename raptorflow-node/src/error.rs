//! Errors across the border: core's as JSON for TypeScript, JavaScript's own values kept as their cause.

use std::{error::Error as StdError, fmt, time::Duration};

use napi::Status;
use raptorflow_core::{
    Error, ErrorKind, Retry,
    types::{Diagnostic, Diagnostics},
};
use serde::{Deserialize, Serialize};

/// What a user's function threw: a JavaScript value, found again when the error goes back to JavaScript.
pub(crate) struct Thrown(napi::Error);

impl fmt::Debug for Thrown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Thrown")
    }
}

impl fmt::Display for Thrown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The error that was caught is the layer's own; the user's is its cause.
        f.write_str(self.0.cause.as_ref().map_or("thrown by JavaScript", |thrown| &thrown.reason))
    }
}

impl StdError for Thrown {}

/// An error as core has it.
#[derive(Serialize)]
struct Sent<'a> {
    code: ErrorKind,
    operation: &'a str,
    message: &'a str,
    context: Vec<(&'a str, &'a str)>,
    retry: Again,
    /// Every problem, where the error is about a user's data.
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnostics: Option<&'a [Diagnostic]>,
    /// The causes as text, without what JavaScript threw.
    causes: Vec<String>,
}

/// An error as the TypeScript layer writes what a user's function threw.
#[derive(Deserialize)]
struct Received {
    code: ErrorKind,
    operation: String,
    message: String,
    context: Vec<(String, String)>,
    retry: Again,
}

/// `"never"`, `"soon"`, `"exhausted"`, or how many milliseconds to wait.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Again {
    After(f64),
    Word(Word),
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Never,
    Soon,
    Exhausted,
}

impl From<Retry> for Again {
    fn from(retry: Retry) -> Self {
        match retry {
            Retry::Never => Self::Word(Word::Never),
            Retry::Soon => Self::Word(Word::Soon),
            Retry::Exhausted => Self::Word(Word::Exhausted),
            Retry::After(pause) => Self::After(pause.as_secs_f64() * 1000.0),
        }
    }
}

impl From<Again> for Retry {
    fn from(again: Again) -> Self {
        match again {
            Again::Word(Word::Never) => Self::Never,
            Again::Word(Word::Soon) => Self::Soon,
            Again::Word(Word::Exhausted) => Self::Exhausted,
            Again::After(pause) => {
                Duration::try_from_secs_f64(pause / 1000.0).map_or(Self::Soon, Self::After)
            }
        }
    }
}

/// What a user's function failed with, as a native error caught it.
///
/// The TypeScript layer throws an error whose message is a [`Received`] and whose `cause` is the user's own value.
pub(crate) fn from_callback(thrown: napi::Error) -> Error {
    if thrown.status == Status::Closing {
        return Error::new(ErrorKind::Cancelled, "node.callback", "the JavaScript environment has ended");
    }
    let err = match serde_json::from_str::<Received>(&thrown.reason) {
        Ok(it) => {
            let err = Error::new(it.code, it.operation, it.message).retryable(it.retry.into());
            it.context.into_iter().fold(err, |err, (key, value)| err.with(key, value))
        }
        Err(_) => Error::new(ErrorKind::Callback, "node.callback", thrown.reason.clone()),
    };
    err.caused_by(Thrown(thrown))
}

/// A core error as a native one; [`Thrown`] becomes its `cause` again.
pub(crate) fn to_native(err: &Error) -> napi::Error {
    let mut causes = Vec::new();
    let mut next = err.source();
    while let Some(cause) = next {
        if !cause.is::<Thrown>() {
            causes.push(cause.to_string());
        }
        next = cause.source();
    }
    let sent = Sent {
        code: err.kind(),
        operation: err.operation(),
        message: err.message(),
        context: err.context().collect(),
        retry: err.retry().into(),
        diagnostics: err.cause::<Diagnostics>().map(|problems| problems.0.as_slice()),
        causes,
    };
    // Text that is no JSON is shown as it is.
    let text = serde_json::to_string(&sent).unwrap_or_else(|_| err.to_string());
    let mut native = napi::Error::new(Status::GenericFailure, text);
    if let Some(Ok(thrown)) = err.cause::<Thrown>().map(|thrown| thrown.0.try_clone()) {
        native.set_cause(thrown);
    }
    native
}
