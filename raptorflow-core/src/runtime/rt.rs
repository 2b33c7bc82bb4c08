//! `Runtime`: clock, ids and tasks in one cheap handle.

use std::sync::Arc;

use crate::{
    error::Result,
    runtime::{Clock, Ids, SystemClock, Tasks},
};

/// Clock, ids and tasks; cloning shares them.
///
/// ```
/// use raptorflow_core::runtime::Runtime;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let runtime = Runtime::current()?;
/// assert!(runtime.ids().run() < runtime.ids().run());
/// assert_eq!(runtime.tasks().spawn("example", async { 1 + 1 }).await?, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Runtime(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Arc<dyn Clock>,
    ids: Ids,
    tasks: Tasks,
}

impl Runtime {
    /// The system's clock and the Tokio runtime that the caller is in.
    ///
    /// # Errors
    /// `Unavailable` when the caller is in no Tokio runtime.
    pub fn current() -> Result<Self> {
        Ok(Self::new(Arc::new(SystemClock::default()), Tasks::current()?))
    }

    /// A given clock and given tasks.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, tasks: Tasks) -> Self {
        let ids = Ids::new(Arc::clone(&clock));
        Self::with_ids(clock, ids, tasks)
    }

    /// A given clock, given ids and given tasks.
    #[must_use]
    pub fn with_ids(clock: Arc<dyn Clock>, ids: Ids, tasks: Tasks) -> Self {
        Self(Arc::new(Inner { clock, ids, tasks }))
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// The generator of ids.
    #[must_use]
    pub fn ids(&self) -> &Ids {
        &self.0.ids
    }

    /// The spawner.
    #[must_use]
    pub fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }
}
