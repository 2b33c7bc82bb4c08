//! `Listener`: hears of appends of other processes over one connection, and wakes who waits for them.
//!
//! A writer tells only while somebody listens: whoever does holds an advisory lock shared, which a batch tries to take
//! for itself. It tells after its commit, in a transaction of its own, because PostgreSQL lets transactions that tell
//! commit one at a time.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::Notify;

use super::{batch::Grown, checksum::Sum, connect::Connector, fault::Fault};
use crate::{
    runtime::{Cancel, Runtime},
    types::TenantId,
};

const OPERATION: &str = "storage.listen";
/// How often the connection is tried out and given up when nobody waits.
const PULSE: Duration = Duration::from_secs(30);
/// The pause before the next attempt to listen.
const PAUSE: Duration = Duration::from_millis(500);
/// How many places one message names: it may have less than 8,000 bytes.
const MOST: usize = 800;
/// How many places more than those that are waited for are kept.
const IDLE: usize = 1024;

/// Who waits for what to grow; its task begins with the first one and ends a while after the last one.
pub(super) struct Listener {
    connector: Arc<Connector>,
    runtime: Runtime,
    /// The name in messages: our own need not be told to us.
    name: String,
    stop: Cancel,
    // A std mutex: no await happens while it is held.
    watched: Mutex<Watched>,
}

#[derive(Default)]
struct Watched {
    /// By the number that messages give them; few streams share one.
    places: HashMap<u32, Vec<Place>>,
    /// How many wait now.
    waiting: usize,
    /// How many places are kept for who waits again.
    idle: usize,
    /// The session in which others' appends are heard now.
    session: Option<u64>,
    sessions: u64,
    working: bool,
}

/// A stream that somebody waits for, or did a moment ago.
struct Place {
    tenant: TenantId,
    stream: String,
    notify: Arc<Notify>,
    waiting: usize,
    /// The length, unless it may have changed unheard since.
    known: Option<Known>,
    /// Grows with each change that `known` does not follow.
    changes: u64,
}

#[derive(Clone, Copy)]
struct Known {
    session: u64,
    length: u64,
}

/// Stops the task with the last clone of the store.
#[derive(Debug)]
pub(super) struct Stop(pub(super) Arc<Listener>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.stop.cancel();
    }
}

impl Watched {
    fn place(&mut self, tenant: &TenantId, stream: &str) -> Option<&mut Place> {
        self.places.get_mut(&number(tenant, stream))?.iter_mut().find(|place| place.is(tenant, stream))
    }

    fn forget_idle(&mut self) {
        self.places.retain(|_, places| {
            places.retain(|place| place.waiting > 0);
            !places.is_empty()
        });
        self.idle = 0;
    }

    /// Nothing is heard from now on.
    fn end_session(&mut self) {
        self.session = None;
        self.forget_idle();
    }
}

impl Place {
    fn is(&self, tenant: &TenantId, stream: &str) -> bool {
        self.stream == stream && self.tenant == *tenant
    }
}

impl Listener {
    pub(super) fn new(runtime: &Runtime, connector: Arc<Connector>) -> Arc<Self> {
        Arc::new(Self {
            connector,
            runtime: runtime.clone(),
            name: runtime.ids().run().to_string(),
            stop: runtime.tasks().cancel().child(),
            watched: Mutex::default(),
        })
    }

    /// Begins to watch a stream; that it grows from now on is told to the watch.
    pub(super) fn watch(self: &Arc<Self>, tenant: &TenantId, stream: &str) -> Watch {
        let (notify, start) = {
            let mut watched = self.lock();
            watched.waiting += 1;
            let notify = match watched.place(tenant, stream) {
                Some(place) => {
                    let (notify, idle) = (Arc::clone(&place.notify), place.waiting == 0);
                    place.waiting += 1;
                    watched.idle = watched.idle.saturating_sub(usize::from(idle));
                    notify
                }
                None => {
                    let notify = Arc::<Notify>::default();
                    let (tenant, stream) = (tenant.clone(), stream.to_owned());
                    let kept = Arc::clone(&notify);
                    let place = Place { tenant, stream, notify: kept, waiting: 1, known: None, changes: 0 };
                    watched.places.entry(number(&place.tenant, &place.stream)).or_default().push(place);
                    notify
                }
            };
            let start = !watched.working && !self.stop.is_cancelled();
            watched.working |= start;
            (notify, start)
        };
        if start {
            drop(self.runtime.tasks().spawn("storage.postgres.listener", Working(Arc::clone(self)).listen()));
        }
        Watch { listener: Arc::clone(self), tenant: tenant.clone(), stream: stream.to_owned(), notify }
    }

    /// Whether somebody watches something here.
    pub(super) fn is_watched(&self) -> bool {
        self.lock().waiting > 0
    }

    /// Wakes who watches what this process has appended to.
    pub(super) fn wake(&self, grown: &[Grown]) {
        let mut watched = self.lock();
        if watched.places.is_empty() {
            return;
        }
        for Grown { tenant, stream, length } in grown {
            if let Some(place) = watched.place(tenant, stream) {
                match &mut place.known {
                    Some(known) => known.length = known.length.max(*length),
                    None => place.changes += 1,
                }
                place.notify.notify_waiters();
            }
        }
    }

    /// Wakes who watches streams with these numbers, of which nobody knows the length any more.
    fn wake_numbers(&self, numbers: impl IntoIterator<Item = u32>) {
        let mut watched = self.lock();
        for number in numbers {
            for place in watched.places.get_mut(&number).into_iter().flatten() {
                place.known = None;
                place.changes += 1;
                place.notify.notify_waiters();
            }
        }
    }

    /// Ends the task.
    pub(super) fn close(&self) {
        self.stop.cancel();
    }

    /// The messages that tell others of streams.
    pub(super) fn messages(&self, grown: &[Grown]) -> Vec<String> {
        let message = |grown: &[Grown]| {
            let numbers = grown.iter().map(|grown| format!("{:08x}", number(&grown.tenant, &grown.stream)));
            format!("{} {}", self.name, numbers.collect::<Vec<_>>().join(","))
        };
        grown.chunks(MOST).map(message).collect()
    }

    /// Wakes who watches the streams of another's message.
    fn hear(&self, message: &str) {
        match message.split_once(' ') {
            Some((name, numbers)) if name != self.name => {
                self.wake_numbers(
                    numbers.split(',').filter_map(|number| u32::from_str_radix(number, 16).ok()),
                );
            }
            _ => {}
        }
    }

    /// Appends of others are heard from now on; what came before, all have to look for.
    fn begin_session(&self) {
        let mut watched = self.lock();
        watched.sessions += 1;
        watched.session = Some(watched.sessions);
        watched.places.values().flatten().for_each(|place| place.notify.notify_waiters());
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of a stream in messages.
fn number(tenant: &TenantId, stream: &str) -> u32 {
    Sum::new(tenant.as_str(), stream).id()
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("waiting", &self.lock().waiting).finish_non_exhaustive()
    }
}

/// One caller's interest in a stream.
pub(super) struct Watch {
    listener: Arc<Listener>,
    tenant: TenantId,
    stream: String,
    pub(super) notify: Arc<Notify>,
}

/// How things stood when somebody began to ask for a length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    session: Option<u64>,
    changes: u64,
}

impl Watch {
    /// Whether the stream is known to have no more records than this, without asking.
    pub(super) fn is_at_most(&self, length: u64) -> bool {
        self.known().is_some_and(|known| known <= length)
    }

    /// Whether the stream is known to have grown; a removed one may be shorter.
    pub(super) fn is_longer_than(&self, length: u64) -> bool {
        self.known().is_some_and(|known| known > length)
    }

    /// Begins to ask for the length.
    pub(super) fn begin(&self) -> Mark {
        self.mark(&mut self.listener.lock())
    }

    /// Notes the length that the server told, unless somebody appended meanwhile.
    pub(super) fn learn(&self, mark: Mark, length: u64) {
        let mut watched = self.listener.lock();
        let (Some(session), true) = (mark.session, self.mark(&mut watched) == mark) else { return };
        let Some(place) = watched.place(&self.tenant, &self.stream) else { return };
        // Shorter than what this process has appended: the answer is older, or somebody removed the stream.
        let fits = place.known.is_none_or(|known| known.session != session || known.length <= length);
        place.known = fits.then_some(Known { session, length });
    }

    fn mark(&self, watched: &mut Watched) -> Mark {
        let session = watched.session;
        let changes = watched.place(&self.tenant, &self.stream).map_or(0, |place| place.changes);
        Mark { session, changes }
    }

    fn known(&self) -> Option<u64> {
        let mut watched = self.listener.lock();
        let session = watched.session;
        let known = watched.place(&self.tenant, &self.stream)?.known?;
        (Some(known.session) == session).then_some(known.length)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.listener.lock();
        watched.waiting = watched.waiting.saturating_sub(1);
        let Some(place) = watched.place(&self.tenant, &self.stream) else { return };
        place.waiting = place.waiting.saturating_sub(1);
        if place.waiting == 0 {
            // Kept, because a run waits again at once; the next look at the connection forgets it.
            watched.idle += 1;
            if watched.idle > watched.waiting + IDLE {
                watched.forget_idle();
            }
        }
    }
}

/// The task; whatever ends it, another one can begin.
struct Working(Arc<Listener>);

impl Drop for Working {
    fn drop(&mut self) {
        let mut watched = self.0.lock();
        watched.working = false;
        watched.end_session();
    }
}

impl Working {
    /// Listens until nobody has waited for a while, or the store ends.
    async fn listen(self) {
        let listener = &self.0;
        let work = async {
            while let Err(fault) = self.session().await {
                // Whoever waits looks again by itself when its patience is over.
                listener.lock().end_session();
                tracing::debug!(error = %fault.into_error(), "not told of appends of others, trying again");
                if !listener.is_watched() {
                    return;
                }
                listener.runtime.clock().sleep(PAUSE).await;
            }
        };
        // It ends with the store.
        let _ = listener.stop.run(OPERATION, work).await;
    }

    /// Listens over one connection until nobody waits any more.
    async fn session(&self) -> Result<(), Fault> {
        let listener = &self.0;
        let (connector, clock) = (&listener.connector, listener.runtime.clock());
        // The only way to a connection that listens is a pool, here of one.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(connector.config.connect_timeout)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(connector.options().clone());
        let fault = |err| Fault::new(OPERATION, err);
        let mut ear = PgListener::connect_with(&pool).await.map_err(fault)?;
        ear.eager_reconnect(false);
        connector.bounded(OPERATION, ear.listen(&connector.config.schema)).await?;
        // Waits for batches that began before: they do not tell, and are seen by all who look from now on.
        let lock = sqlx::query("SELECT pg_advisory_lock_shared($1, $2)");
        let lock = lock.bind(connector.lock().0).bind(connector.lock().1);
        connector.bounded(OPERATION, lock.execute(&mut ear)).await?;
        listener.begin_session();
        loop {
            let heard = tokio::select! {
                heard = ear.try_recv() => Some(heard.map_err(fault)?),
                () = clock.sleep(PULSE) => None,
            };
            match heard {
                Some(Some(message)) => listener.hear(message.payload()),
                Some(None) => return Err(Fault::silent(OPERATION)),
                None if !listener.is_watched() => return Ok(()),
                // A network that swallows everything is noticed by asking only.
                None => {
                    listener.lock().forget_idle();
                    connector.bounded(OPERATION, sqlx::query("SELECT 1").execute(&mut ear)).await?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::storage::PostgresConfig;

    fn listener() -> Arc<Listener> {
        let runtime = Runtime::current().unwrap();
        let config = PostgresConfig::new("postgres://127.0.0.1:1/none");
        let listener = Listener::new(&runtime, Arc::new(Connector::new(&runtime, config).unwrap()));
        // No task: nothing is there to listen to.
        listener.close();
        listener
    }

    fn grown(stream: &str, length: u64) -> Grown {
        Grown { tenant: TenantId::default(), stream: stream.to_owned(), length }
    }

    #[tokio::test]
    async fn messages_of_others_wake_who_watches_their_streams_and_those_of_ones_own_nobody() {
        let (one, two) = (listener(), listener());
        let watch = one.watch(&TenantId::default(), "stream");
        let woken = |message: &str| {
            let mut notified = std::pin::pin!(watch.notify.notified());
            notified.as_mut().enable();
            one.hear(message);
            notified.now_or_never().is_some()
        };
        assert!(woken(&two.messages(&[grown("another", 1), grown("stream", 1)])[0]));
        assert!(!woken(&two.messages(&[grown("another", 1)])[0]));
        assert!(!woken(&one.messages(&[grown("stream", 1)])[0]));
        assert!(!woken("not ours"));
        drop(watch);
        assert!(!one.is_watched());
    }

    #[tokio::test]
    async fn a_length_is_known_while_appends_of_others_are_heard_and_there_are_none() {
        let (one, two) = (listener(), listener());
        let watch = one.watch(&TenantId::default(), "stream");
        let ask = |length| watch.learn(watch.begin(), length);
        ask(3);
        assert!(!watch.is_at_most(3), "nobody hears of appends of others");
        one.begin_session();
        assert!(!watch.is_at_most(3));
        ask(3);
        assert!(watch.is_at_most(3) && watch.is_longer_than(2));
        one.wake(&[grown("stream", 4)]);
        assert!(watch.is_at_most(4) && watch.is_longer_than(3));
        one.hear(&two.messages(&[grown("stream", 5)])[0]);
        assert!(!watch.is_at_most(4) && !watch.is_longer_than(4));
        // What is heard while the server is asked may not be in its answer.
        let mark = watch.begin();
        one.hear(&two.messages(&[grown("stream", 6)])[0]);
        watch.learn(mark, 5);
        assert!(!watch.is_at_most(5));
        let mark = watch.begin();
        one.wake(&[grown("stream", 7)]);
        watch.learn(mark, 6);
        assert!(!watch.is_at_most(6));
        // A stream that was removed is shorter than what was appended to it.
        ask(7);
        assert!(watch.is_at_most(7));
        ask(0);
        assert!(!watch.is_at_most(7) && !watch.is_longer_than(0));
        ask(1);
        one.lock().end_session();
        assert!(!watch.is_at_most(1));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_forgotten_when_it_is_much() {
        let listener = listener();
        let watch = |number: usize| listener.watch(&TenantId::default(), &format!("run/{number}"));
        let kept = watch(0);
        (1..=3 * IDLE).for_each(|number| drop(watch(number)));
        let watched = listener.lock();
        assert!(watched.places.len() <= IDLE + 2 && watched.waiting == 1);
        drop(watched);
        drop(kept);
    }

    #[tokio::test]
    async fn a_message_is_never_too_long_for_the_server() {
        let many: Vec<Grown> = (0..2000).map(|number| grown(&format!("run/{number}"), 1)).collect();
        let messages = listener().messages(&many);
        assert_eq!(messages.len(), 3);
        assert!(messages.iter().all(|message| message.len() < 8000));
    }
}
