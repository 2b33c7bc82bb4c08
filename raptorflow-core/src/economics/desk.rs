//! `Desk`: where what is wanted of one tenant's ledger is queued, and one task at a time carries it out.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::poll;
use tokio::sync::{Semaphore, oneshot};

use crate::{
    economics::{
        Alert, BudgetConfig,
        ledger::Ledger,
        work::{Answer, Draft, Op, Want, at_once, carry_out},
    },
    error::{Error, ErrorKind, Result},
    runtime::Runtime,
    storage::Storage,
    types::{Currency, TenantId, Timestamp},
};

/// How many wants wait at most; who comes later waits to be let in.
const ROOM: usize = 1024;
/// How many are recorded with one append at most.
const BATCH: usize = 256;

type Tell = Arc<dyn Fn(&TenantId, &Alert) + Send + Sync>;

pub(super) struct Desk {
    tenant: TenantId,
    runtime: Runtime,
    config: Arc<BudgetConfig>,
    tell: Option<Tell>,
    room: Semaphore,
    state: Mutex<State>,
}

struct State {
    /// Only there while a task works.
    ops: VecDeque<Op>,
    /// `None` while a task carries out what is queued.
    ledger: Option<Box<Ledger>>,
    /// Where what needs no waiting is decided.
    draft: Draft,
}

impl Desk {
    pub(super) fn new(
        tenant: TenantId,
        runtime: Runtime,
        storage: Storage,
        config: Arc<BudgetConfig>,
        tell: Option<Tell>,
    ) -> Self {
        let ledger = Some(Box::new(Ledger::new(&runtime, storage, &tenant)));
        let state = Mutex::new(State { ops: VecDeque::new(), ledger, draft: Draft::default() });
        Self { tenant, runtime, config, tell, room: Semaphore::new(ROOM), state }
    }

    /// The currency of the budgets.
    pub(super) fn currency(&self) -> Currency {
        self.config.currency
    }

    /// Carries out what needs no waiting, as with a ledger in memory, when no task works; else `None`, and nothing has
    /// happened.
    ///
    /// The time of the day is one that the caller has just read.
    pub(super) fn at_once(&self, now: Timestamp, want: &Want) -> Option<Result<Answer>> {
        let State { ledger, draft, .. } = &mut *self.state();
        at_once(ledger.as_mut()?, &self.config, draft, want, now)
    }

    /// Carries out a want, at once or when its turn comes.
    ///
    /// # Cancellation
    /// What was queued is carried out all the same.
    pub(super) async fn ask(self: &Arc<Self>, want: Want) -> Result<Answer> {
        match self.at_once(self.runtime.clock().now(), &want) {
            Some(answer) => answer,
            // In a box, so that those are small who do not wait.
            None => Box::pin(self.queued(want)).await,
        }
    }

    /// Queues a want and waits for what comes of it.
    ///
    /// # Cancellation
    /// What was queued is carried out all the same.
    pub(super) async fn queued(self: &Arc<Self>, want: Want) -> Result<Answer> {
        let (reply, answer) = oneshot::channel();
        // Held until the answer is there, so that the queue is bounded.
        let _room = self.room.acquire().await.map_err(|_| stopped())?;
        let ledger = {
            let mut state = self.state();
            state.ops.push_back(Op { want, reply });
            state.ledger.take()
        };
        if let Some(ledger) = ledger {
            let mut work = Box::pin(Working { desk: Arc::clone(self), ledger: Some(ledger) }.run());
            // A ledger in memory is written before this comes back; one that takes time gets a task, so that what was
            // queued is carried out also when this caller goes away.
            if poll!(&mut work).is_pending() {
                self.runtime.tasks().spawn("ledger.write", work);
            }
        }
        answer.await.map_err(|_| stopped())?
    }

    // A std mutex: no await happens while it is held.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("waiting", &self.state().ops.len()).finish_non_exhaustive()
    }
}

/// The task of a desk; it ends when nothing is queued.
struct Working {
    desk: Arc<Desk>,
    /// `None` when the work is done.
    ledger: Option<Box<Ledger>>,
}

impl Working {
    async fn run(mut self) {
        let desk = Arc::clone(&self.desk);
        while let Some(ops) = self.next()
            && let Some(ledger) = &mut self.ledger
        {
            let alerts = carry_out(ledger, &desk.config, ops).await;
            if let Some(tell) = &desk.tell {
                alerts.iter().for_each(|alert| tell(&desk.tenant, alert));
            }
            if !desk.state().ops.is_empty() {
                // So that nobody works for all others without end while his own answer is there.
                tokio::task::yield_now().await;
            }
        }
    }

    /// What is queued, a batch at most; `None` when there is nothing, and then the work is done.
    fn next(&mut self) -> Option<Vec<Op>> {
        let mut state = self.desk.state();
        let count = state.ops.len().min(BATCH);
        if count > 0 {
            return Some(state.ops.drain(..count).collect());
        }
        state.ledger = self.ledger.take();
        None
    }
}

impl Drop for Working {
    /// Stopped before its end, with its runtime: whoever waits is told, and the next want begins again.
    fn drop(&mut self) {
        if let Some(ledger) = self.ledger.take() {
            let mut state = self.desk.state();
            state.ops.clear();
            state.ledger = Some(ledger);
        }
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Unavailable, "ledger.write", "the runtime of the ledger has ended")
}
