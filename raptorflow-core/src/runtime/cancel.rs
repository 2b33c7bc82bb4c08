//! `Cancel`: a tree of cancellation tokens.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};

/// A token that stops everything below it; cloning gives the same token.
///
/// ```
/// use raptorflow_core::runtime::Cancel;
/// let run = Cancel::new();
/// let step = run.child();
/// run.cancel();
/// assert!(step.is_cancelled());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Cancel(CancellationToken);

impl Cancel {
    /// The root of a new tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that this one cancels, but that does not cancel this one.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Cancels this token and all below it; further calls do nothing.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Whether it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits for the cancellation.
    pub async fn cancelled(&self) {
        self.0.cancelled().await;
    }

    /// Runs `work` until it ends or the token is cancelled; then `work` is dropped.
    ///
    /// # Errors
    /// `Cancelled` with the given operation.
    pub async fn run<T>(&self, operation: &'static str, work: impl Future<Output = T>) -> Result<T> {
        let mut work = pin!(work);
        let mut cancelled = pin!(self.0.cancelled());
        poll_fn(|cx| {
            if let Err(err) = self.check(operation) {
                return Poll::Ready(Err(err));
            }
            if let Poll::Ready(value) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            // Only now, because what does not wait needs nobody to wake it.
            cancelled.as_mut().poll(cx).map(|()| Err(stopped(operation)))
        })
        .await
    }

    /// Whether work may begin.
    ///
    /// # Errors
    /// `Cancelled` with the given operation.
    pub(crate) fn check(&self, operation: &'static str) -> Result<()> {
        if self.is_cancelled() { Err(stopped(operation)) } else { Ok(()) }
    }
}

fn stopped(operation: &'static str) -> Error {
    Error::new(ErrorKind::Cancelled, operation, "the run was cancelled")
}
