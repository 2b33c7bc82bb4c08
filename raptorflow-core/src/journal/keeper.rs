//! `Keeper`: renews the leases of the runs that this process works on, in one background task.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};

use crate::{
    error::{Error, ErrorKind, Result},
    journal::{Fact, run::Run},
    runtime::{Context, Runtime},
    storage::{Grant, Storage},
    types::{RunId, TenantId},
};

/// How many leases are renewed at the same time.
const PARALLEL_RENEWALS: usize = 64;

/// Runs are told apart by tenant too: a host may choose ids.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    run: RunId,
    tenant: TenantId,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Ids hardly ever meet, so hashing the tenant too would only cost time, three times a run.
        self.run.hash(state);
    }
}

/// Renews leases in time; its task begins with the first run and ends when there is none left at a heartbeat.
pub(super) struct Keeper {
    storage: Storage,
    runtime: Runtime,
    ttl: Duration,
    heartbeat: Duration,
    // A std mutex: no await happens while it is held.
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    runs: HashMap<Key, Kept>,
    /// The leases of runs that were dropped before their end, until they are given back.
    left: HashMap<Key, (Context, Grant)>,
    working: bool,
}

#[derive(Default)]
struct Kept {
    run: Weak<Run>,
    /// Something was said to the run before there was a journal to hear it.
    missed: bool,
}

impl Keeper {
    pub(super) fn new(storage: Storage, runtime: Runtime, ttl: Duration, heartbeat: Duration) -> Arc<Self> {
        Arc::new(Self { storage, runtime, ttl, heartbeat, held: Mutex::default() })
    }

    /// Takes the place of a run in this process, before its lease is asked for.
    ///
    /// The store cannot tell two journals of one owner apart: the second would fence the first off.
    pub(super) fn reserve(self: &Arc<Self>, ctx: &Context) -> Result<Place> {
        let key = Key { run: ctx.run_id(), tenant: ctx.tenant().clone() };
        let mut held = self.lock();
        match held.runs.entry(key.clone()) {
            Entry::Vacant(vacant) => vacant.insert(Kept::default()),
            Entry::Occupied(_) => {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "journal.open",
                    "the run is open in this process already",
                )
                .with("run", ctx.run_id()));
            }
        };
        // It is about to be had again.
        held.left.remove(&key);
        drop(held);
        Ok(Place { keeper: Arc::clone(self), key })
    }

    /// Who tells the journal of a run, when this process works on it, what is about to be appended from outside.
    pub(super) fn messenger(&self, tenant: &TenantId, run: RunId) -> Messenger<'_> {
        Messenger { keeper: self, key: Key { run, tenant: tenant.clone() }, told: false }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn work(self: Arc<Self>) {
        let idle = Idle(&self);
        let stop = self.runtime.tasks().cancel();
        while stop.run("journal.keep", self.runtime.clock().sleep(self.heartbeat)).await.is_ok() {
            self.give_back().await;
            let runs: Vec<_> = {
                let mut held = self.lock();
                if held.runs.is_empty() && held.left.is_empty() {
                    // Under the lock, so that a run that comes now starts a new task.
                    held.working = false;
                    return std::mem::forget(idle);
                }
                held.runs.values().filter_map(|kept| kept.run.upgrade()).collect()
            };
            stream::iter(runs).for_each_concurrent(PARALLEL_RENEWALS, |run| self.renew(run)).await;
        }
    }

    /// Gives back the leases of runs that were dropped before their end.
    pub(super) async fn give_back(&self) {
        let left = std::mem::take(&mut self.lock().left);
        let release = |(ctx, grant): (Context, Grant)| async move {
            if let Err(err) = self.storage.release(&ctx, &grant).await {
                // It lapses by itself.
                tracing::debug!(lease = %grant.fence.lease, error = %err, "a lease was not given back");
            }
        };
        stream::iter(left.into_values()).for_each_concurrent(PARALLEL_RENEWALS, release).await;
    }

    async fn renew(&self, run: Arc<Run>) {
        let renewal = async {
            tokio::select! {
                biased;
                renewed = self.storage.renew(run.ctx(), run.grant(), self.ttl) => renewed,
                () = self.runtime.clock().sleep(self.heartbeat) => {
                    Err(Error::new(ErrorKind::Timeout, "journal.keep", "the store did not answer within a heartbeat"))
                }
            }
        };
        match renewal.await {
            Ok(grant) => run.extend(grant.expires),
            // A store that fails may come back in time; a lease that lapsed may be somebody else's.
            Err(err) if err.kind() == ErrorKind::Conflict || run.expires() <= run.ctx().now() => {
                run.lose(&err);
            }
            Err(err) => {
                tracing::warn!(run = %run.ctx().run_id(), error = %err, "a lease was not renewed, trying again");
            }
        }
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("runs", &self.lock().runs.len()).finish_non_exhaustive()
    }
}

/// Tells the owner of a run of one append; dropped without a word it has the owner look for itself.
pub(super) struct Messenger<'a> {
    keeper: &'a Keeper,
    key: Key,
    told: bool,
}

impl Messenger<'_> {
    /// The fact is in the store at this place.
    pub(super) fn tell(mut self, sequence: u64, fact: Fact) {
        self.told = true;
        if let Some(run) = self.owner() {
            run.hear(sequence, fact);
        }
    }

    /// Nothing was appended.
    pub(super) fn forget(mut self) {
        self.told = true;
    }

    /// The journal of the run; one that is only about to be there looks for itself.
    fn owner(&self) -> Option<Arc<Run>> {
        let mut held = self.keeper.lock();
        let kept = held.runs.get_mut(&self.key)?;
        let run = kept.run.upgrade();
        kept.missed |= run.is_none();
        run
    }
}

impl Drop for Messenger<'_> {
    fn drop(&mut self) {
        // The append may have been written although nobody was there to learn so.
        if !self.told
            && let Some(run) = self.owner()
        {
            run.outside().look();
        }
    }
}

/// Notes that the task has ended, also when it was aborted or a backend panicked.
struct Idle<'a>(&'a Keeper);

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.lock().working = false;
    }
}

/// The place of a run among those that this process works on; dropping it forgets the run.
#[derive(Debug)]
pub(super) struct Place {
    keeper: Arc<Keeper>,
    key: Key,
}

impl Place {
    /// Has the run's lease renewed from now on.
    pub(super) fn keep(&self, run: &Arc<Run>) {
        let (start, missed) = {
            let mut held = self.keeper.lock();
            let missed = held.runs.get_mut(&self.key).is_some_and(|kept| {
                kept.run = Arc::downgrade(run);
                kept.missed
            });
            (!std::mem::replace(&mut held.working, true), missed)
        };
        if missed {
            run.outside().look();
        }
        if start {
            let keeper = Arc::clone(&self.keeper);
            drop(self.keeper.runtime.tasks().spawn("journal.keeper", keeper.work()));
        }
    }
}

impl Place {
    /// Gives the place up, and the lease later: nobody can wait for that here.
    pub(super) fn leave(self, ctx: Context, grant: Grant) {
        self.keeper.lock().left.insert(self.key.clone(), (ctx, grant));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.keeper.lock().runs.remove(&self.key);
    }
}
