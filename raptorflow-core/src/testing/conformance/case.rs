//! `Case`: one line of a contract as a function over what a backend gives.

use std::{fmt, future::Future, pin::Pin};

use crate::error::Result;

/// A case that runs.
pub type Running = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// What a case runs over: something fresh of one backend.
pub trait Subject {
    /// Whether it has what a case needs, by a word such as `durable`.
    fn offers(&self, need: &str) -> bool;
}

/// One line of a contract.
#[non_exhaustive]
pub struct Case<S> {
    /// The line, in snake case.
    pub name: &'static str,
    /// What the subject must offer; a subject that does not is not asked.
    pub needs: &'static [&'static str],
    /// Runs the case over a fresh subject.
    ///
    /// It fails with the error of a call that should have succeeded, and panics where an answer is wrong.
    pub run: fn(S) -> Running,
}

// Not derived: that would ask the same of the subject.
impl<S> Clone for Case<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Case<S> {}

impl<S: Subject> Case<S> {
    /// The first thing that the case needs and the subject does not offer.
    #[must_use]
    pub fn missing(&self, subject: &S) -> Option<&'static str> {
        self.needs.iter().copied().find(|need| !subject.offers(need))
    }
}

impl<S> Case<S> {
    /// A case; the macro `cases!` makes lists of them.
    #[must_use]
    pub const fn new(name: &'static str, needs: &'static [&'static str], run: fn(S) -> Running) -> Self {
        Self { name, needs, run }
    }
}

impl<S> fmt::Debug for Case<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).field("needs", &self.needs).finish_non_exhaustive()
    }
}

/// Makes cases from async functions of one argument, each with what it needs: `cases![plain, other: "durable"]`.
macro_rules! cases {
    ($($function:ident $(: $need:literal)*),+ $(,)?) => {
        vec![$($crate::testing::conformance::Case::new(
            stringify!($function),
            &[$($need),*],
            |subject| Box::pin($function(subject)),
        )),+]
    };
}

pub(crate) use cases;
