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

use super::{connect::Connector, fault::Fault};
use crate::runtime::{Cancel, Runtime};

const OPERATION: &str = "storage.listen";
/// How often the connection is tried out and given up when nobody waits.
const PULSE: Duration = Duration::from_secs(30);
/// The pause before the next attempt to listen.
const PAUSE: Duration = Duration::from_millis(500);
/// How many places one message names: it may have less than 8,000 bytes.
const MOST: usize = 800;

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
    /// As many as wait now. A number of two places wakes both, of which one looks in vain.
    places: HashMap<u32, (Arc<Notify>, usize)>,
    working: bool,
}

/// Stops the task with the last clone of the store.
#[derive(Debug)]
pub(super) struct Stop(pub(super) Arc<Listener>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.stop.cancel();
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

    /// Begins to watch a place; what grows from now on is told to the watch.
    pub(super) fn watch(self: &Arc<Self>, place: u32) -> Watch {
        let (notify, start) = {
            let mut watched = self.lock();
            let (notify, count) = watched.places.entry(place).or_default();
            *count += 1;
            let notify = Arc::clone(notify);
            let start = !watched.working && !self.stop.is_cancelled();
            watched.working |= start;
            (notify, start)
        };
        if start {
            drop(self.runtime.tasks().spawn("storage.postgres.listener", Working(Arc::clone(self)).listen()));
        }
        Watch { listener: Arc::clone(self), place, notify }
    }

    /// Whether somebody watches something here.
    pub(super) fn is_watched(&self) -> bool {
        !self.lock().places.is_empty()
    }

    /// Wakes who watches places.
    pub(super) fn wake(&self, places: impl IntoIterator<Item = u32>) {
        let watched = self.lock();
        for place in places {
            if let Some((notify, _)) = watched.places.get(&place) {
                notify.notify_waiters();
            }
        }
    }

    /// Ends the task.
    pub(super) fn close(&self) {
        self.stop.cancel();
    }

    /// The messages that tell others of places.
    pub(super) fn messages(&self, places: &[u32]) -> Vec<String> {
        let message = |places: &[u32]| {
            let places: Vec<String> = places.iter().map(|place| format!("{place:08x}")).collect();
            format!("{} {}", self.name, places.join(","))
        };
        places.chunks(MOST).map(message).collect()
    }

    /// Wakes who watches the places of another's message.
    fn hear(&self, message: &str) {
        match message.split_once(' ') {
            Some((name, places)) if name != self.name => {
                self.wake(places.split(',').filter_map(|place| u32::from_str_radix(place, 16).ok()));
            }
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("watched", &self.lock().places.len()).finish_non_exhaustive()
    }
}

/// One caller's interest in a place.
pub(super) struct Watch {
    listener: Arc<Listener>,
    place: u32,
    pub(super) notify: Arc<Notify>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.listener.lock();
        if let Some((_, count)) = watched.places.get_mut(&self.place) {
            *count -= 1;
            if *count == 0 {
                watched.places.remove(&self.place);
            }
        }
    }
}

/// The task; whatever ends it, another one can begin.
struct Working(Arc<Listener>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.lock().working = false;
    }
}

impl Working {
    /// Listens until nobody has waited for a while, or the store ends.
    async fn listen(self) {
        let listener = &self.0;
        let work = async {
            while let Err(fault) = self.session().await {
                // Whoever waits looks again by itself when its patience is over.
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
        let all: Vec<u32> = listener.lock().places.keys().copied().collect();
        listener.wake(all);
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

    #[tokio::test]
    async fn messages_of_others_wake_who_watches_their_places_and_those_of_ones_own_nobody() {
        let (one, two) = (listener(), listener());
        let watch = one.watch(7);
        let woken = |message: &str| {
            let mut notified = std::pin::pin!(watch.notify.notified());
            notified.as_mut().enable();
            one.hear(message);
            notified.now_or_never().is_some()
        };
        assert!(woken(&two.messages(&[6, 7])[0]));
        assert!(!woken(&two.messages(&[8])[0]));
        assert!(!woken(&one.messages(&[7])[0]));
        assert!(!woken("not ours"));
        drop(watch);
        assert!(!one.is_watched());
    }

    #[tokio::test]
    async fn a_message_is_never_too_long_for_the_server() {
        let places: Vec<u32> = (0..2000).collect();
        let messages = listener().messages(&places);
        assert_eq!(messages.len(), 3);
        assert!(messages.iter().all(|message| message.len() < 8000));
    }
}
