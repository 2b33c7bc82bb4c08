//! `Tasks`: the only place that spawns; joins what it spawned at shutdown.

use std::{
    future::Future,
    pin::Pin,
    task::{self, Poll},
    time::Duration,
};

use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::{Cancel, names},
};

/// Spawns onto the Tokio runtime of the host; cloning shares the set of tasks.
///
/// ```
/// use std::time::Duration;
/// use raptorflow_core::runtime::Tasks;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let tasks = Tasks::current()?;
/// let cancel = tasks.cancel().clone();
/// let waiting = tasks.spawn("example", async move { cancel.cancelled().await });
/// tasks.shutdown(Duration::from_secs(1)).await?;
/// assert!(waiting.is_finished());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Tasks {
    handle: Handle,
    tracker: TaskTracker,
    cancel: Cancel,
}

impl Tasks {
    /// Uses the Tokio runtime that the caller is in.
    ///
    /// # Errors
    /// `Unavailable` when the caller is in none.
    pub fn current() -> Result<Self> {
        Handle::try_current().map(Self::on).map_err(|err| {
            Error::new(
                ErrorKind::Unavailable,
                "tasks.current",
                "no Tokio runtime is running; call from async code",
            )
            .caused_by(err)
        })
    }

    /// Uses a given Tokio runtime.
    #[must_use]
    pub fn on(handle: Handle) -> Self {
        Self { handle, tracker: TaskTracker::new(), cancel: Cancel::new() }
    }

    /// Cancelled when [`Tasks::shutdown`] begins; long-lived tasks watch it.
    #[must_use]
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Starts a task; dropping the returned [`Task`] lets it run on.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        let span = tracing::debug_span!(names::TASK, name);
        Task(self.tracker.spawn_on(work.instrument(span), &self.handle))
    }

    /// Runs blocking work on a thread made for it.
    pub fn spawn_blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Task<T> {
        Task(self.tracker.spawn_blocking_on(work, &self.handle))
    }

    /// Cancels long-lived tasks and waits for all to end, at most `limit`.
    ///
    /// # Errors
    /// `Timeout` when some were still running at the limit; they are left to the host's runtime.
    pub async fn shutdown(&self, limit: Duration) -> Result<()> {
        self.cancel.cancel();
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait()).await.map_err(|_| {
            Error::new(ErrorKind::Timeout, "tasks.shutdown", "tasks were still running at the limit")
                .with("running", self.tracker.len())
        })
    }
}

/// A started task; await it for its value.
#[derive(Debug)]
pub struct Task<T>(JoinHandle<T>);

impl<T> Task<T> {
    /// Stops it at its next await.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|ended| {
            ended.map_err(|err| {
                if err.is_cancelled() {
                    Error::new(ErrorKind::Cancelled, "tasks.join", "the task was aborted")
                } else {
                    Error::new(ErrorKind::Internal, "tasks.join", "the task panicked").caused_by(err)
                }
            })
        })
    }
}
