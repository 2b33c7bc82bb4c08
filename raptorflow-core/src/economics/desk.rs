//! `Desk`: where what is wanted of one tenant's ledger is queued, and one task at a time carries it out.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::poll;
use tokio::sync::{Mutex as AsyncMutex, Semaphore, oneshot};

use crate::{
    economics::{
        Alert, BudgetConfig,
        ledger::Ledger,
        work::{Answer, Op, Want, carry_out},
    },
    error::{Error, ErrorKind, Result},
    runtime::Runtime,
    storage::Storage,
    types::{Currency, TenantId},
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
    queue: Mutex<Queue>,
    ledger: AsyncMutex<Ledger>,
}

#[derive(Default)]
struct Queue {
    ops: VecDeque<Op>,
    /// Whether a task carries out what is queued.
    working: bool,
}

impl Desk {
    pub(super) fn new(
        tenant: TenantId,
        runtime: Runtime,
        storage: Storage,
        config: Arc<BudgetConfig>,
        tell: Option<Tell>,
    ) -> Self {
        let ledger = AsyncMutex::new(Ledger::new(&runtime, storage, &tenant));
        Self { tenant, runtime, config, tell, room: Semaphore::new(ROOM), queue: Mutex::default(), ledger }
    }

    /// The currency of the budgets.
    pub(super) fn currency(&self) -> Currency {
        self.config.currency
    }

    /// Queues a want and waits for what comes of it.
    ///
    /// # Cancellation
    /// What was queued is carried out all the same.
    pub(super) async fn ask(self: &Arc<Self>, want: Want) -> Result<Answer> {
        let (reply, answer) = oneshot::channel();
        // Held until the answer is there, so that the queue is bounded.
        let _room = self.room.acquire().await.map_err(|_| stopped())?;
        let begin = {
            let mut queue = self.queue();
            queue.ops.push_back(Op { want, reply });
            !std::mem::replace(&mut queue.working, true)
        };
        if begin {
            let mut work = Box::pin(Working { desk: Arc::clone(self), done: false }.run());
            // A ledger in memory is written before this comes back; one that takes time gets a task, so that what was
            // queued is carried out also when this caller goes away.
            if poll!(&mut work).is_pending() {
                self.runtime.tasks().spawn("ledger.write", work);
            }
        }
        answer.await.map_err(|_| stopped())?
    }

    // A std mutex: no await happens while it is held.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("waiting", &self.queue().ops.len()).finish_non_exhaustive()
    }
}

/// The task of a desk; it ends when nothing is queued.
struct Working {
    desk: Arc<Desk>,
    done: bool,
}

impl Working {
    async fn run(mut self) {
        let desk = Arc::clone(&self.desk);
        while let Some(ops) = self.next() {
            let alerts = carry_out(&mut *desk.ledger.lock().await, &desk.config, ops).await;
            if let Some(tell) = &desk.tell {
                alerts.iter().for_each(|alert| tell(&desk.tenant, alert));
            }
            if !desk.queue().ops.is_empty() {
                // So that nobody works for all others without end while his own answer is there.
                tokio::task::yield_now().await;
            }
        }
    }

    /// What is queued, a batch at most; `None` when there is nothing, and then the work is done.
    fn next(&mut self) -> Option<Vec<Op>> {
        let mut queue = self.desk.queue();
        let count = queue.ops.len().min(BATCH);
        if count > 0 {
            return Some(queue.ops.drain(..count).collect());
        }
        queue.working = false;
        self.done = true;
        None
    }
}

impl Drop for Working {
    /// Stopped before its end, with its runtime: whoever waits is told, and the next want begins again.
    fn drop(&mut self) {
        if !self.done {
            let mut queue = self.desk.queue();
            queue.ops.clear();
            queue.working = false;
        }
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Unavailable, "ledger.write", "the runtime of the ledger has ended")
}
