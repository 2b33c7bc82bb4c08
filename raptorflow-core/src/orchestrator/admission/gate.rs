//! `Admission`: asks for a slot, waits for it, and gives it back.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::queue::{Answer, Bound, Place, Queue};
use crate::{
    error::{Error, ErrorKind, Result, Retry},
    event::{Bus, Event, EventKind, Priority, Status},
    orchestrator::AdmissionConfig,
    runtime::{Context, Runtime},
};

const OPERATION: &str = "orchestrator.admit";

/// Says what may work now, and what waits or is refused; cloning shares it.
///
/// A free slot is given at once; else the work waits in a queue with a bound.
/// The most urgent comes first; among equals the tenant that has the fewest slots, and then who waits longest.
/// Less urgent work gets no slot while more urgent work waits, until its time to wait is over.
/// When the queue is full, work is refused, unless something less urgent waits, which then makes way for it.
/// Work inside of admitted work of the same run needs no slot of its own, so that no run waits for itself.
///
/// # Examples
/// ```
/// use raptorflow_core::{ErrorKind, event::Priority, orchestrator::{Admission, AdmissionConfig}};
/// use raptorflow_core::runtime::{Context, Runtime};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let runtime = Runtime::current()?;
/// let (first, second) = (Context::new(&runtime), Context::new(&runtime));
/// let admission = Admission::new(AdmissionConfig::new(1, 0))?;
/// let permit = admission.admit(&first, Priority::Normal).await?;
/// let refused = admission.admit(&second, Priority::Normal).await.unwrap_err();
/// assert_eq!((refused.kind(), refused.get("bound")), (ErrorKind::RateLimited, Some("queue")));
/// drop(permit);
/// admission.admit(&second, Priority::Normal).await?;
/// assert_eq!(admission.stats().running, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Admission {
    shared: Arc<Shared>,
    bus: Option<Bus>,
}

#[derive(Debug)]
struct Shared {
    config: AdmissionConfig,
    // A std mutex: no await happens, and nobody is told anything, while it is held.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    queue: Queue<oneshot::Sender<Told>>,
    counts: AdmissionStats,
}

/// What somebody who waits is told.
type Told = std::result::Result<Permit, Shed>;

/// It has to make way.
#[derive(Debug)]
struct Shed;

/// What an admission has to do now, and what it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AdmissionStats {
    /// What has a slot now.
    pub running: usize,
    /// What waits now.
    pub waiting: usize,
    /// What was given a slot.
    pub admitted: u64,
    /// What was given a slot after it had waited.
    pub waited: u64,
    /// What was refused because a queue was full.
    pub refused: u64,
    /// What waited and made way for more urgent work.
    pub shed: u64,
    /// What waited as long as it may.
    pub expired: u64,
    /// What waited and was cancelled, ran into its deadline or was dropped.
    pub left: u64,
}

/// A slot; it is free again when this is dropped.
#[derive(Debug)]
#[must_use = "a permit that is dropped frees its slot"]
pub struct Permit {
    /// `None` for work inside of work that has one.
    _slot: Option<Slot>,
}

#[derive(Debug)]
struct Slot {
    shared: Arc<Shared>,
    place: Place,
    runtime: Runtime,
    since: Duration,
}

impl Admission {
    /// An admission within bounds.
    ///
    /// # Errors
    /// `InvalidInput` when there is no slot, or none for a tenant.
    pub fn new(config: AdmissionConfig) -> Result<Self> {
        config.check()?;
        let state = State { queue: Queue::new(config), counts: AdmissionStats::default() };
        Ok(Self { shared: Arc::new(Shared { config, state: Mutex::new(state) }), bus: None })
    }

    /// Tells on a bus what waits (`status_updated`), is given a slot after it waited (`resource_allocated`) and is
    /// refused (`warning_issued`).
    #[must_use]
    pub fn with_bus(mut self, bus: Bus) -> Self {
        self.bus = Some(bus);
        self
    }

    /// Its bounds.
    #[must_use]
    pub fn config(&self) -> &AdmissionConfig {
        &self.shared.config
    }

    /// What it has to do now, and what it did.
    #[must_use]
    pub fn stats(&self) -> AdmissionStats {
        let state = self.shared.state();
        let (running, waiting) = (state.queue.running(), state.queue.waiting());
        AdmissionStats { running, waiting, ..state.counts }
    }

    /// Waits for a slot for the work that a context stands for.
    ///
    /// # Errors
    /// `RateLimited` with `bound` in the context, and with how long to wait before it is tried again where that can be
    /// told: `queue` and `tenant_queue` are full, `wait` is over, or `urgency` of others made this one go.
    /// `Cancelled` and `Timeout` with the context.
    ///
    /// # Cancellation
    /// Dropping the future leaves the queue, and a slot that was just given is given to the next.
    pub async fn admit(&self, ctx: &Context, priority: Priority) -> Result<Permit> {
        ctx.bound(OPERATION, self.enter(ctx, priority)).await?
    }

    async fn enter(&self, ctx: &Context, priority: Priority) -> Result<Permit> {
        let place = Place { tenant: ctx.tenant().clone(), run: ctx.run_id(), path: Arc::clone(ctx.path()) };
        let (sender, receiver) = oneshot::channel();
        let (answer, waiting, pause) = {
            let mut state = self.shared.state();
            let answer = state.queue.ask(&place, priority, sender);
            state.count(&answer);
            (answer, state.queue.waiting(), state.queue.pause())
        };
        let ticket = match answer {
            Answer::Inside => return Ok(Permit { _slot: None }),
            Answer::Begins => return Ok(self.shared.permit(place, ctx.runtime())),
            Answer::Refused(bound, _) => {
                return Err(self.refused(ctx, priority, bound, waiting, pause).await);
            }
            Answer::Waits { ticket, shed } => {
                // Whoever it was may have gone meanwhile.
                shed.map(|waker| waker.send(Err(Shed)));
                ticket
            }
        };
        let queued = Queued { shared: &self.shared, place, priority, ticket };
        let clock = ctx.runtime().clock();
        let since = clock.elapsed();
        let data = json!({ "admission": "waiting", "waiting": waiting, "priority": priority });
        self.tell(ctx, EventKind::StatusUpdated, data).await?;
        let told = {
            let (receiver, patience) = (pin!(receiver), clock.sleep(self.shared.config.wait));
            tokio::select! {
                biased;
                told = receiver => Some(told),
                () = patience => None,
            }
        };
        let bound = match told {
            Some(Ok(Ok(permit))) => {
                let waited = clock.elapsed().saturating_sub(since);
                let data = json!({ "admission": "admitted", "waited_ms": waited.as_millis() });
                self.tell(ctx, EventKind::ResourceAllocated, data).await?;
                return Ok(permit);
            }
            Some(Ok(Err(Shed))) => Bound::Urgency,
            Some(Err(gone)) => {
                let message = "whoever waits was forgotten";
                return Err(Error::new(ErrorKind::Internal, OPERATION, message).caused_by(gone));
            }
            None => Bound::Wait,
        };
        queued.expire(bound);
        let (waiting, pause) = {
            let state = self.shared.state();
            (state.queue.waiting(), state.queue.pause())
        };
        Err(self.refused(ctx, priority, bound, waiting, pause).await)
    }

    /// The error of work that is not admitted, after the bus was told.
    async fn refused(
        &self,
        ctx: &Context,
        priority: Priority,
        bound: Bound,
        waiting: usize,
        pause: Option<Duration>,
    ) -> Error {
        let config = &self.shared.config;
        let (name, limit, message) = match bound {
            Bound::Queue => ("queue", json!(config.queue), "too much waits for a slot already"),
            Bound::TenantQueue => {
                let limit = json!(config.tenant_queue);
                ("tenant_queue", limit, "too much of this tenant waits for a slot already")
            }
            Bound::Urgency => {
                ("urgency", json!(config.queue), "more urgent work took its place in the queue")
            }
            Bound::Wait => ("wait", json!(config.wait.as_secs_f64()), "no slot was free in time"),
        };
        let data = json!({
            "admission": "refused", "bound": name, "limit": limit, "waiting": waiting, "priority": priority,
        });
        let error = Error::new(ErrorKind::RateLimited, OPERATION, message)
            .with("bound", name)
            .with("limit", limit)
            .with("slots", config.slots)
            .with("waiting", waiting)
            .retryable(pause.map_or(Retry::Soon, Retry::After));
        match self.tell(ctx, EventKind::WarningIssued, data).await {
            Ok(()) => error,
            Err(untold) => error.with("not told", untold),
        }
    }

    async fn tell(&self, ctx: &Context, kind: EventKind, data: Value) -> Result<()> {
        let Some(bus) = &self.bus else { return Ok(()) };
        let status = if kind == EventKind::WarningIssued { Status::Warning } else { Status::Success };
        bus.publish(ctx, Event { status, data, ..Event::new(ctx, kind) }).await
    }

    #[cfg(test)]
    pub(super) fn is_clear(&self) -> bool {
        self.shared.state().queue.is_clear()
    }

    #[cfg(test)]
    pub(super) fn of_tenant(&self, tenant: &crate::types::TenantId) -> (usize, usize) {
        self.shared.state().queue.of_tenant(tenant)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn permit(self: &Arc<Self>, place: Place, runtime: &Runtime) -> Permit {
        let (runtime, since) = (runtime.clone(), runtime.clock().elapsed());
        Permit { _slot: Some(Slot { shared: Arc::clone(self), place, runtime, since }) }
    }
}

impl State {
    fn count<W>(&mut self, answer: &Answer<W>) {
        match answer {
            Answer::Inside => {}
            Answer::Begins => self.counts.admitted += 1,
            Answer::Refused(..) => self.counts.refused += 1,
            Answer::Waits { shed, .. } => self.counts.shed += u64::from(shed.is_some()),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let held = self.runtime.clock().elapsed().saturating_sub(self.since);
        let begun = {
            let mut state = self.shared.state();
            let begun = state.queue.end(&self.place, held);
            let count = begun.len() as u64;
            state.counts.admitted += count;
            state.counts.waited += count;
            begun
        };
        // Outside of the lock: a permit that nobody takes is dropped, and comes back here.
        for (place, waker) in begun {
            drop(waker.send(Ok(self.shared.permit(place, &self.runtime))));
        }
    }
}

/// Work that waits; it leaves the queue when it is dropped.
struct Queued<'a> {
    shared: &'a Arc<Shared>,
    place: Place,
    priority: Priority,
    ticket: u64,
}

impl Queued<'_> {
    /// It stops to wait because of a bound.
    fn expire(&self, bound: Bound) {
        let mut state = self.shared.state();
        let waited = state.queue.leave(&self.place, self.priority, self.ticket);
        if waited && bound == Bound::Wait {
            state.counts.expired += 1;
        }
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if state.queue.leave(&self.place, self.priority, self.ticket) {
            state.counts.left += 1;
        }
    }
}
