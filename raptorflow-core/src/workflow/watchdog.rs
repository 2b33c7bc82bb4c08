//! `Watchdog`: how long a workflow has worked, without the time in which it only waits.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use crate::runtime::Context;

/// Counts the steps at work; time passes only while there is one.
#[derive(Debug)]
pub(super) struct Watchdog {
    limit: Duration,
    busy: AtomicUsize,
    changed: Notify,
    /// The work of the intervals that are over.
    worked: Mutex<Duration>,
}

impl Watchdog {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, busy: AtomicUsize::new(0), changed: Notify::new(), worked: Mutex::default() }
    }

    /// Says that a step is at work, until the guard is dropped.
    pub(super) fn work(&self) -> Busy<'_> {
        if self.busy.fetch_add(1, Ordering::SeqCst) == 0 {
            self.changed.notify_waiters();
        }
        Busy(self)
    }

    /// Resolves when the work took longer than the limit.
    pub(super) async fn bark(&self, ctx: &Context) {
        let clock = ctx.runtime().clock();
        loop {
            // Enabled before it looks, so that a change in between wakes it.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.busy.load(Ordering::SeqCst) == 0 {
                changed.await;
                continue;
            }
            let start = clock.elapsed();
            let left = self.limit.saturating_sub(self.add(Duration::ZERO));
            tokio::select! {
                () = clock.sleep(left) => return,
                () = changed => {}
            }
            self.add(clock.elapsed().saturating_sub(start));
        }
    }

    fn add(&self, worked: Duration) -> Duration {
        let mut sum = self.worked.lock().unwrap_or_else(PoisonError::into_inner);
        *sum += worked;
        *sum
    }
}

/// A step at work.
#[derive(Debug)]
pub(super) struct Busy<'a>(&'a Watchdog);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if self.0.busy.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.changed.notify_waiters();
        }
    }
}
