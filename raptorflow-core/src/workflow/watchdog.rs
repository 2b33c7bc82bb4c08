//! `Bounds`: what ends the work of a workflow early, and how long it has worked, without the time in which it only waits.

use std::{
    iter::successors,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use crate::runtime::{Cancel, Context};

/// What the steps of a workflow are bound by; cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    /// Cancelled when what need not be finished has to stop.
    pub(super) halt: Cancel,
    pub(super) watchdog: Arc<Watchdog>,
}

impl Bounds {
    /// `worked` is for how long the work was under way in an earlier process.
    pub(super) fn new(cancel: &Cancel, limit: Duration, worked: Duration) -> Self {
        Self { halt: cancel.child(), watchdog: Arc::new(Watchdog::new(limit, worked, None)) }
    }

    /// Of a workflow inside, whose work is also that of this one.
    pub(super) fn within(&self, limit: Duration, worked: Duration) -> Self {
        let watchdog = Watchdog::new(limit, worked, Some(Arc::clone(&self.watchdog)));
        Self { halt: self.halt.child(), watchdog: Arc::new(watchdog) }
    }

    /// Of work that can be halted by itself.
    pub(super) fn child(&self) -> Self {
        Self { halt: self.halt.child(), watchdog: Arc::clone(&self.watchdog) }
    }

    /// Resolves when the work took longer than its limit, which halts it.
    pub(super) async fn overrun(&self, ctx: &Context) {
        self.watchdog.bark(ctx).await;
        self.watchdog.barked.store(true, Ordering::SeqCst);
        self.halt.cancel();
    }

    /// Whether the work took longer than its limit.
    pub(super) fn is_over(&self) -> bool {
        self.watchdog.barked.load(Ordering::SeqCst)
    }
}

/// Counts the steps at work; time passes only while there is one.
#[derive(Debug)]
pub(super) struct Watchdog {
    limit: Duration,
    /// That of the workflow around this one.
    above: Option<Arc<Self>>,
    busy: AtomicUsize,
    changed: Notify,
    /// The work of the intervals that are over.
    worked: Mutex<Duration>,
    barked: AtomicBool,
}

impl Watchdog {
    fn new(limit: Duration, worked: Duration, above: Option<Arc<Self>>) -> Self {
        Self {
            limit,
            above,
            busy: AtomicUsize::new(0),
            changed: Notify::new(),
            worked: Mutex::new(worked),
            barked: AtomicBool::new(false),
        }
    }

    /// Says that a step is at work, until the guard is dropped.
    pub(super) fn work(&self) -> Busy<'_> {
        for watchdog in self.all() {
            if watchdog.busy.fetch_add(1, Ordering::SeqCst) == 0 {
                watchdog.changed.notify_waiters();
            }
        }
        Busy(self)
    }

    /// It and those above it.
    fn all(&self) -> impl Iterator<Item = &Self> {
        successors(Some(self), |watchdog| watchdog.above.as_deref())
    }

    /// Resolves when the work took longer than the limit.
    async fn bark(&self, ctx: &Context) {
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
        for watchdog in self.0.all() {
            if watchdog.busy.fetch_sub(1, Ordering::SeqCst) == 1 {
                watchdog.changed.notify_waiters();
            }
        }
    }
}
