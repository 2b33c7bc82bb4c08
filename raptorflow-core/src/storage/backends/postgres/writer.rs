//! `Writer`: queues writes and commits what is queued together, in one round trip and one transaction.
//!
//! A commit whose outcome is unknown, because the connection was lost, is sent again under the same number.
//! The server keeps the last number of each writer with its outcome, in the transaction of the batch itself: what was
//! done is told again and not done again, whether the first try has ended, still runs or never arrived.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sqlx::{Arguments as _, Connection as _, PgConnection, Row as _};
use tokio::sync::{Notify, Semaphore, oneshot};

use super::{
    batch::{Answer, Batch, Grown, Job, Write, fail},
    connect::Connector,
    fault::{Fault, LOCK_TIMEOUT, NOT_REGISTERED, closed},
    listener::Listener,
};
use crate::{
    error::{Error, ErrorKind, Result},
    runtime::{Context, Runtime},
};

const OPERATION: &str = "storage.commit";
/// A batch is not filled beyond this many bytes of content.
const MAX_BYTES: usize = 8 << 20;
/// The largest write: an array of it has to fit into a message of the server.
const MAX_WRITE: usize = 256 << 20;
/// How often a batch is tried again that the server undid because of another transaction.
const MAX_ABORTS: u32 = 8;
/// How often the others get a turn to queue what they have before a batch is closed.
const TURNS: usize = 16;

/// The queue, and the task that commits while there is something in it.
pub(super) struct Writer {
    connector: Arc<Connector>,
    listener: Arc<Listener>,
    runtime: Runtime,
    places: Arc<Semaphore>,
    // A std mutex: no await happens while it is held.
    state: Mutex<State>,
    rested: Notify,
}

struct State {
    queue: VecDeque<Job>,
    /// The connection and the name, while nobody commits.
    session: Option<Session>,
}

/// What the task that commits takes along.
struct Session {
    conn: Option<PgConnection>,
    /// The name under which the server keeps the last batch.
    writer: String,
    registered: bool,
    /// The number of the last batch.
    number: i64,
}

impl Session {
    fn new(runtime: &Runtime) -> Self {
        Self { conn: None, writer: runtime.ids().run().to_string(), registered: false, number: 0 }
    }
}

impl Writer {
    pub(super) fn new(runtime: &Runtime, connector: Arc<Connector>, listener: Arc<Listener>) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(connector.config.queue));
        let state = State { queue: VecDeque::new(), session: Some(Session::new(runtime)) };
        let runtime = runtime.clone();
        Arc::new(Self {
            connector,
            listener,
            runtime,
            places,
            state: Mutex::new(state),
            rested: Notify::new(),
        })
    }

    /// Queues a write and waits until it is committed; waits for a place while the queue is full.
    ///
    /// # Cancellation
    /// Dropped before its turn the write is not done; later it is done to its end.
    pub(super) async fn submit(
        self: &Arc<Self>,
        ctx: &Context,
        operation: &'static str,
        write: Write,
    ) -> Result<Answer> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| closed(operation))?;
        let (reply, answer) = oneshot::channel();
        let job = Job { tenant: ctx.tenant().clone(), write, reply, place };
        if job.size() > MAX_WRITE {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                operation,
                "the value is larger than the database can hold; split it",
            )
            .with("bytes", job.size())
            .with("limit", MAX_WRITE));
        }
        let session = {
            let mut state = self.lock();
            state.queue.push_back(job);
            state.session.take()
        };
        if let Some(session) = session {
            let working = Working { writer: Arc::clone(self), rests: false };
            drop(self.runtime.tasks().spawn("storage.postgres.writer", working.drain(session)));
        }
        answer.await.map_err(|_| closed(operation))?
    }

    /// Waits for what is queued, forgets the writer's name and closes the connection.
    pub(super) async fn close(&self) {
        let all = u32::try_from(self.connector.config.queue).unwrap_or(u32::MAX);
        // Fails only when the queue is closed already.
        let Ok(all) = self.places.acquire_many(all).await else { return };
        self.places.close();
        drop(all);
        let session = loop {
            let rested = self.rested.notified();
            // The task that answered the last write may not have given it back yet.
            if let Some(session) = self.lock().session.take() {
                break session;
            }
            rested.await;
        };
        if let Some(mut conn) = session.conn {
            // The next one that opens the store forgets what is left here.
            let forget = sqlx::query("DELETE FROM writers WHERE id = $1").bind(session.writer);
            if self.connector.bounded("storage.close", forget.execute(&mut conn)).await.is_ok() {
                let _ = self.connector.bounded("storage.close", conn.close()).await;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("queued", &self.lock().queue.len()).finish_non_exhaustive()
    }
}

/// The task that commits; whatever ends it, another one can begin.
struct Working {
    writer: Arc<Writer>,
    /// Whether it gave the session back.
    rests: bool,
}

impl Drop for Working {
    fn drop(&mut self) {
        if !self.rests {
            // A task that was aborted, by the end of its runtime, leaves a batch of unknown outcome and a connection
            // in the middle of an answer: a new name and a new connection know of neither. Nobody waits in vain for
            // what is queued: its callers are told that the store is closed.
            let mut state = self.writer.lock();
            state.session = Some(Session::new(&self.writer.runtime));
            let left = std::mem::take(&mut state.queue);
            drop(state);
            drop(left);
        }
        self.writer.rested.notify_waiters();
    }
}

/// Why a batch was not acknowledged.
struct Failure {
    error: Error,
    /// Whether its writes may do better one by one.
    apart: bool,
}

impl Working {
    /// Commits until the queue is empty.
    async fn drain(mut self, session: Session) {
        let (mut session, mut last) = (Some(session), 0);
        loop {
            self.gather(last).await;
            let Some(jobs) = self.take(&mut session) else { break };
            last = jobs.len();
            if let Some(session) = &mut session {
                self.commit(session, jobs).await;
            }
        }
    }

    /// Lets those who were just answered queue what they write next: one commit serves them all.
    async fn gather(&self, last: usize) {
        let mut seen = self.writer.lock().queue.len();
        for _ in 0..TURNS {
            if seen >= last {
                return;
            }
            tokio::task::yield_now().await;
            seen = self.writer.lock().queue.len();
        }
    }

    /// The next jobs; gives the session back when there are none.
    fn take(&mut self, session: &mut Option<Session>) -> Option<Vec<Job>> {
        let mut state = self.writer.lock();
        let (mut jobs, mut bytes) = (Vec::new(), 0);
        while let Some(job) = state.queue.front() {
            if job.reply.is_closed() {
                // Its caller is gone.
                state.queue.pop_front();
                continue;
            }
            bytes += job.size();
            let full = jobs.len() == self.writer.connector.config.batch || bytes > MAX_BYTES;
            if !jobs.is_empty() && (full || job.begins_a_batch()) {
                break;
            }
            jobs.extend(state.queue.pop_front());
        }
        if jobs.is_empty() {
            state.session = session.take();
            self.rests = true;
            return None;
        }
        Some(jobs)
    }

    async fn commit(&self, session: &mut Session, jobs: Vec<Job>) {
        let mut waiting = VecDeque::from([jobs]);
        while let Some(jobs) = waiting.pop_front() {
            let (jobs, failure) = match Batch::new(jobs) {
                Ok(batch) => match self.settle(session, &batch).await {
                    Ok(outcome) => {
                        self.tell(session, Batch::is_listened(&outcome), &batch.answer(&outcome)).await;
                        continue;
                    }
                    Err(failure) => (batch.into_jobs(), failure),
                },
                Err((jobs, error)) => (jobs, Failure { error, apart: true }),
            };
            if failure.apart && jobs.len() > 1 {
                waiting.extend(jobs.into_iter().map(|job| vec![job]));
            } else {
                fail(jobs, &failure.error);
            }
        }
    }

    /// Commits a batch and gives its outcome, once it is known.
    async fn settle(&self, session: &mut Session, batch: &Batch) -> Result<Vec<i64>, Failure> {
        let connector = &self.writer.connector;
        session.number += 1;
        // Since when the outcome of an attempt is unknown.
        let mut unknown = None;
        let mut aborts = 0;
        loop {
            let fault = match self.connection(session).await {
                Ok(()) => match self.send(session, batch).await {
                    Ok(outcome) => return Ok(outcome),
                    Err(fault) => fault,
                },
                Err(fault) => return Err(failure(fault.into_error(), false, unknown.is_some())),
            };
            match fault {
                Fault::Lost(err) => {
                    session.conn = None;
                    let since = *unknown.get_or_insert_with(|| connector.elapsed());
                    if connector.waited_enough(since) {
                        return Err(failure(err, false, true));
                    }
                }
                Fault::Refused { code, error } => {
                    let again = match code.as_str() {
                        // The name was forgotten, as nothing was written for long.
                        NOT_REGISTERED => unknown.is_none(),
                        // A lost attempt may still run and hold what this one needs.
                        LOCK_TIMEOUT => unknown.is_some_and(|since| !connector.waited_enough(since)),
                        code => is_abort(code),
                    };
                    if code == NOT_REGISTERED {
                        let conn = session.conn.take();
                        *session = Session { conn: None, number: 1, ..Session::new(&self.writer.runtime) };
                        drop(conn);
                    }
                    aborts += 1;
                    if !again || aborts > MAX_ABORTS {
                        return Err(failure(error, is_of_one_write(&code), unknown.is_some()));
                    }
                }
            }
        }
    }

    /// Makes sure that there is a connection and that the server knows the writer.
    async fn connection(&self, session: &mut Session) -> Result<(), Fault> {
        if session.conn.is_some() {
            return Ok(());
        }
        let connector = &self.writer.connector;
        let mut conn = connector.connect(OPERATION).await?;
        if !session.registered {
            // Only before the first batch: a name that was forgotten meanwhile must not come back as a new one.
            let register = sqlx::query(
                "INSERT INTO writers (id, batch, outcomes) VALUES ($1, 0, '{}') ON CONFLICT DO NOTHING",
            );
            let register = register.bind(&session.writer).persistent(false).execute(&mut conn);
            connector.bounded(OPERATION, register).await?;
            session.registered = true;
        }
        session.conn = Some(conn);
        Ok(())
    }

    /// Wakes who waits for streams that have grown, here and in other processes.
    async fn tell(&self, session: &mut Session, listened: bool, grown: &[Grown]) {
        let (connector, listener) = (&self.writer.connector, &self.writer.listener);
        listener.wake(grown);
        let Some(conn) = session.conn.as_mut().filter(|_| listened && !grown.is_empty()) else { return };
        // Not for the disk: whoever waits looks again by itself too.
        let tell = sqlx::query(
            "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, message)
             FROM unnest($2::text[]) AS message",
        );
        let tell = tell.bind(&connector.config.schema).bind(listener.messages(grown)).execute(conn);
        if let Err(fault) = connector.bounded(OPERATION, tell).await {
            if matches!(fault, Fault::Lost(_)) {
                session.conn = None;
            }
            tracing::debug!(error = %fault.into_error(), "others were not told of appends");
        }
    }

    async fn send(&self, session: &mut Session, batch: &Batch) -> Result<Vec<i64>, Fault> {
        const SQL: &str =
            "SELECT commit_batch($14, $15, $16, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
        let Some(conn) = &mut session.conn else { return Err(Fault::silent(OPERATION)) };
        let mut arguments = batch.arguments().clone();
        let added = arguments
            .add(&session.writer)
            .and_then(|()| arguments.add(session.number))
            .and_then(|()| arguments.add(self.writer.connector.lock().1));
        let statement = async {
            added.map_err(sqlx::Error::Encode)?;
            sqlx::query_with(SQL, arguments).fetch_one(conn).await?.try_get(0)
        };
        self.writer.connector.bounded(OPERATION, statement).await
    }
}

/// The error of all writes of a batch.
fn failure(error: Error, apart: bool, unknown: bool) -> Failure {
    if !unknown {
        return Failure { error, apart };
    }
    // Trying again is not for whoever cannot tell whether it was done.
    let error = Error::new(
        ErrorKind::Unavailable,
        OPERATION,
        "the database went away during a commit, so the write may have been done; read before writing again",
    )
    .with("outcome", "unknown")
    .caused_by(error);
    Failure { error, apart: false }
}

/// Whether the server undid a batch because of another transaction.
fn is_abort(code: &str) -> bool {
    matches!(code, "40001" | "40P01")
}

/// Whether an error may come from one write, so that the others succeed without it.
fn is_of_one_write(code: &str) -> bool {
    code == LOCK_TIMEOUT || code == "53200" || ["22", "23", "54"].iter().any(|class| code.starts_with(class))
}
