//! `Diagnostic`: position, code and message, for loaders and validators that report many problems at once.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// How bad a problem is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth a look; the data is still usable.
    Warning,
    /// The data is refused.
    #[default]
    Error,
}

/// One problem in data that a user wrote.
///
/// ```
/// use raptorflow_core::types::Diagnostic;
/// let problem = Diagnostic::error("unknown_domain", "no domain `sear`; did you mean `seer`?")
///     .in_file("agents/seer/trend_analyst.toml").at(3, 10);
/// assert_eq!(
///     problem.to_string(),
///     "agents/seer/trend_analyst.toml:3:10: error[unknown_domain]: no domain `sear`; did you mean `seer`?",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable name of the problem, in snake case.
    pub code: String,
    /// What is wrong and what was expected.
    pub message: String,
    /// The file, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Arc<str>>,
    /// Line from 1, or 0 when unknown.
    #[serde(default)]
    pub line: u32,
    /// Column from 1, or 0 when unknown.
    #[serde(default)]
    pub column: u32,
    /// The place inside a JSON value, as a JSON Pointer; empty for the whole value.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pointer: String,
}

impl Diagnostic {
    /// A problem that makes the data unusable.
    pub fn error(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code: code.into(),
            message: message.into(),
            file: None,
            line: 0,
            column: 0,
            pointer: String::new(),
        }
    }

    /// A problem worth a look.
    pub fn warning(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// Names the file.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<Arc<str>>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// Names line and column, from 1.
    #[must_use]
    pub fn at(mut self, line: u32, column: u32) -> Self {
        (self.line, self.column) = (line, column);
        self
    }

    /// Names the line and column of a byte offset in `text`.
    #[must_use]
    pub fn at_offset(self, text: &str, offset: usize) -> Self {
        let before = text.get(..offset.min(text.len())).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        self.at(u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }

    /// Names the place inside a JSON value.
    #[must_use]
    pub fn at_pointer(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = pointer.into();
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
        }
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        if self.file.is_some() || self.line > 0 {
            f.write_str(" ")?;
        }
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity}[{}]: ", self.code)?;
        if !self.pointer.is_empty() {
            write!(f, "{}: ", self.pointer)?;
        }
        f.write_str(&self.message)
    }
}

/// Several diagnostics as the cause of one [`Error`]; find it again with [`Error::cause`].
///
/// ```
/// use raptorflow_core::types::{Diagnostic, Diagnostics};
/// let problems = Diagnostics(vec![Diagnostic::error("wrong_count", "expected 7").in_file("pack.toml")]);
/// let err = problems.into_error("pack.load", "the pack has problems");
/// assert_eq!(err.cause::<Diagnostics>().map(|it| it.0.len()), Some(1));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Whether any of them makes the data unusable.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|item| item.severity == Severity::Error)
    }

    /// One `InvalidInput` error that counts the problems, quotes the first and keeps all as its cause.
    #[must_use]
    pub fn into_error(self, operation: &'static str, message: &'static str) -> Error {
        self.into_error_of(ErrorKind::InvalidInput, operation, message)
    }

    /// As [`Diagnostics::into_error`], of another kind.
    #[must_use]
    pub fn into_error_of(self, kind: ErrorKind, operation: &'static str, message: &'static str) -> Error {
        let err = Error::new(kind, operation, message).with("problems", self.0.len());
        let err = match self.0.first() {
            Some(first) => err.with("first", first),
            None => err,
        };
        err.caused_by(self)
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            item.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
