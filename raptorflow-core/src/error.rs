//! The one error of the crate: what kind it is, where it happened, and whether trying again can help.

use std::{borrow::Cow, error::Error as StdError, fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

/// The result of every public function that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, for code to match on.
///
/// The name of a kind ([`ErrorKind::code`]) is stable and the same in Rust, Python and Node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// A value given by the caller does not fit; the context names the field and what was expected.
    InvalidInput,
    /// A model or tool answered something that does not fit its schema or wire format.
    InvalidOutput,
    /// The named thing does not exist.
    NotFound,
    /// The named thing exists already.
    AlreadyExists,
    /// Somebody else changed or owns it: a version, a lease or a fence does not match.
    Conflict,
    /// The credentials are missing or wrong.
    Unauthenticated,
    /// The credentials are right and do not allow this.
    PermissionDenied,
    /// The other side asks to slow down.
    RateLimited,
    /// The other side cannot be reached or is failing.
    Unavailable,
    /// A deadline passed.
    Timeout,
    /// Somebody cancelled the work.
    Cancelled,
    /// A budget does not allow the spending.
    BudgetExceeded,
    /// A bound on steps, calls, tokens, sizes or queues was reached.
    LimitExceeded,
    /// The backend does not offer what was asked.
    Unsupported,
    /// Stored data is damaged or of an unknown version.
    Corrupt,
    /// A user's function (agent, tool, model) failed.
    Callback,
    /// A fault of this library.
    Internal,
}

impl ErrorKind {
    /// Every kind, in the order of declaration.
    pub const ALL: [Self; 17] = [
        Self::InvalidInput,
        Self::InvalidOutput,
        Self::NotFound,
        Self::AlreadyExists,
        Self::Conflict,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::RateLimited,
        Self::Unavailable,
        Self::Timeout,
        Self::Cancelled,
        Self::BudgetExceeded,
        Self::LimitExceeded,
        Self::Unsupported,
        Self::Corrupt,
        Self::Callback,
        Self::Internal,
    ];

    /// The stable name of the kind, in snake case.
    ///
    /// ```
    /// # use raptorflow_core::error::ErrorKind;
    /// assert_eq!(ErrorKind::NotFound.code(), "not_found");
    /// ```
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid_input",
            Self::InvalidOutput => "invalid_output",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::Conflict => "conflict",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission_denied",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::BudgetExceeded => "budget_exceeded",
            Self::LimitExceeded => "limit_exceeded",
            Self::Unsupported => "unsupported",
            Self::Corrupt => "corrupt",
            Self::Callback => "callback",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Whether trying the same thing again can help.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// It will fail again.
    #[default]
    Never,
    /// It may succeed after a pause that the caller chooses.
    Soon,
    /// The other side named the pause.
    After(Duration),
    /// It was retried as often as allowed; an outer retry must not multiply the attempts.
    Exhausted,
}

/// The one error of the crate.
///
/// `{}` prints one line; `{:#}` adds the chain of causes.
/// Cloning is cheap, and a journal can store it: causes then become text.
///
/// ```
/// use raptorflow_core::error::{Error, ErrorKind, Retry};
/// let err = Error::new(ErrorKind::NotFound, "agent.find", "no agent of this name").with("agent", "pricng");
/// assert_eq!(err.to_string(), "agent.find: no agent of this name (agent: pricng)");
/// assert_eq!(err.retry(), Retry::Never);
/// ```
#[derive(Clone)]
pub struct Error(Box<Repr>);

#[derive(Clone, Serialize, Deserialize)]
struct Repr {
    kind: ErrorKind,
    operation: Cow<'static, str>,
    message: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    context: Vec<(Cow<'static, str>, String)>,
    #[serde(default)]
    retry: Retry,
    #[serde(skip)]
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error of a kind; `operation` is `module.verb`, `message` lower case without a full stop.
    pub fn new(
        kind: ErrorKind,
        operation: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self(Box::new(Repr {
            kind,
            operation: operation.into(),
            message: message.into(),
            context: Vec::new(),
            retry: Retry::Never,
            source: None,
        }))
    }

    /// Adds a value that helps to find the cause; never a secret, prompt or personal data.
    #[must_use]
    pub fn with(mut self, key: impl Into<Cow<'static, str>>, value: impl fmt::Display) -> Self {
        self.0.context.push((key.into(), value.to_string()));
        self
    }

    /// Says whether trying again can help.
    #[must_use]
    pub fn retryable(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// The kind, for code to match on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Where it happened, as `module.verb`.
    #[must_use]
    pub fn operation(&self) -> &str {
        &self.0.operation
    }

    /// What happened, for people, without the context.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The values added with [`Error::with`], in order.
    pub fn context(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.context.iter().map(|(key, value)| (key.as_ref(), value.as_str()))
    }

    /// The value of one context key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.context().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// Whether trying again can help.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// The cause, if it is of type `T`; a host finds its own error again with it.
    #[must_use]
    pub fn cause<T: StdError + 'static>(&self) -> Option<&T> {
        let mut next = self.source();
        while let Some(err) = next {
            if let Some(found) = err.downcast_ref::<T>() {
                return Some(found);
            }
            next = err.source();
        }
        None
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.operation, self.0.message)?;
        for (index, (key, value)) in self.context().enumerate() {
            f.write_str(if index == 0 { " (" } else { ", " })?;
            write!(f, "{key}: {value}")?;
        }
        if !self.0.context.is_empty() {
            f.write_str(")")?;
        }
        if f.alternate() {
            let mut next = self.source();
            while let Some(err) = next {
                write!(f, ": {err}")?;
                next = err.source();
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("operation", &self.0.operation)
            .field("message", &self.0.message)
            .field("context", &self.0.context)
            .field("retry", &self.0.retry)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl PartialEq for Error {
    /// Equal in everything but the cause, which has no equality.
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (&self.0, &other.0);
        a.kind == b.kind
            && a.operation == b.operation
            && a.message == b.message
            && a.context == b.context
            && a.retry == b.retry
    }
}

impl Serialize for Error {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut repr = (*self.0).clone();
        let mut next = self.source();
        while let Some(err) = next {
            repr.context.push((Cow::Borrowed("cause"), err.to_string()));
            next = err.source();
        }
        repr.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Error {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Repr::deserialize(deserializer).map(|repr| Self(Box::new(repr)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_serialized_names() {
        for kind in ErrorKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.code());
        }
    }

    #[test]
    fn a_stored_error_keeps_everything_and_turns_causes_into_text() {
        let cause = std::io::Error::other("disk gone");
        let err = Error::new(ErrorKind::Unavailable, "storage.append", "cannot write")
            .with("stream", "run/1")
            .retryable(Retry::After(Duration::from_secs(2)))
            .caused_by(cause);
        let back: Error = serde_json::from_str(&serde_json::to_string(&err).unwrap()).unwrap();
        assert_eq!(back.retry(), err.retry());
        assert_eq!(back.get("cause"), Some("disk gone"));
        assert!(err.cause::<std::io::Error>().is_some());
        assert_eq!(format!("{err:#}"), "storage.append: cannot write (stream: run/1): disk gone");
    }
}
