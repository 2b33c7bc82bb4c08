//! `Finding`: one thing that is wrong with an answer, how bad it is, and where.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A matter of polish.
    Low,
    /// Should be mended.
    #[default]
    Medium,
    /// The answer misleads or cannot be used.
    High,
}

/// Where in an answer a finding is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The value inside of the answer, as a JSON Pointer; empty for the whole answer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pointer: String,
    /// First character of the text at that place, and the one after the last, counted in characters from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub characters: Option<(usize, usize)>,
}

/// One thing that is wrong with an answer.
///
/// Messages may quote the answer; they are meant for the model and for people who may read it, not for logs.
///
/// ```
/// use raptorflow_core::agent::review::{Finding, Severity};
/// let finding = Finding::new("claims", Severity::Medium, "`97%` is in no passage").at("/summary", Some((4, 7)));
/// assert_eq!((finding.place.pointer.as_str(), finding.place.characters), ("/summary", Some((4, 7))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The name of the check that found it.
    pub check: Cow<'static, str>,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// Where.
    #[serde(default)]
    pub place: Place,
    /// What to do about it, said to whoever answers again; empty when the message says it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

impl Finding {
    /// A finding about the whole answer.
    pub fn new(check: impl Into<Cow<'static, str>>, severity: Severity, message: impl Into<String>) -> Self {
        let (check, message) = (check.into(), message.into());
        Self { check, severity, message, place: Place::default(), hint: String::new() }
    }

    /// Names the place.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>, characters: Option<(usize, usize)>) -> Self {
        self.place = Place { pointer: pointer.into(), characters };
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}
