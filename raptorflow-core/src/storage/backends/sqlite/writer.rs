//! `Writer`: the queue of writes, and the one thread that commits together what is queued.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak},
    thread,
};

use rusqlite::Connection;
use tokio::sync::{
    mpsc::{Receiver, Sender, channel},
    oneshot::{self, error::TryRecvError},
};

use super::{
    config::{Durability, SqliteConfig},
    copier::Copier,
    fault::closed,
    session::{self, Session},
    write::Tables,
};
use crate::error::{Error, ErrorKind, Result};

const OPERATION: &str = "storage.commit";
/// How often the thread lets others run while it waits for as many writes as came last time.
const PATIENCE: usize = 64;
/// How often a caller lets others go first while more and more of them write.
const TURNS: usize = 8;
/// The largest write that a caller does itself; a page of it takes some microseconds.
const SMALL: usize = 64 << 10;

/// The queue to the writer; the thread ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    queue: Sender<Message>,
    /// Where callers may do small writes themselves; nowhere when a commit waits for the disk.
    shared: Option<Weak<Shared>>,
    batch: usize,
}

/// What the thread and the callers share.
struct Shared {
    /// `None` once the store is closed.
    // A std mutex: it is held by the thread, or by a caller for writes that wait for nothing.
    session: Mutex<Option<Session>>,
    /// Small writes whose callers do them: whoever gets the session first does them all.
    // A std mutex: it is held for as long as it takes to add or take something.
    lane: Mutex<Vec<Box<dyn Job>>>,
}

enum Message {
    Write(Box<dyn Job>),
    Upkeep,
    Scrub(oneshot::Sender<Result<()>>),
    Close(oneshot::Sender<Result<()>>),
}

/// A write and whoever waits for it.
trait Job: Send {
    /// Does the work and keeps its value.
    fn run(&mut self, tables: &mut Tables<'_>) -> Result<()>;

    /// Tells the caller how the commit went.
    fn answer(self: Box<Self>, outcome: Result<()>);

    /// Whether the caller is gone.
    fn abandoned(&self) -> bool;
}

struct Waiting<T, F> {
    work: Option<F>,
    value: Option<T>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> Job for Waiting<T, F>
where
    T: Send,
    F: FnOnce(&mut Tables<'_>) -> Result<T> + Send,
{
    fn run(&mut self, tables: &mut Tables<'_>) -> Result<()> {
        if let Some(work) = self.work.take() {
            self.value = Some(work(tables)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<()>) {
        let Self { value, reply, .. } = *self;
        let lost = || Error::new(ErrorKind::Internal, OPERATION, "a write was not run");
        // A caller that is gone needs no answer.
        let _ = reply.send(outcome.and_then(|()| value.ok_or_else(lost)));
    }

    fn abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

impl Writer {
    /// Starts the thread over an open connection.
    ///
    /// It is a thread and not one of `Tasks`: it blocks for as long as the store is open, which would take a
    /// place of the host's pool for good, and its end is the end of its queue and not that of the runtime.
    pub(super) fn start(conn: Connection, config: &SqliteConfig) -> Result<Self> {
        let (queue, receiver) = channel(config.queue);
        let shared = Arc::new(Shared {
            session: Mutex::new(Some(Session::new(conn, config))),
            lane: Mutex::default(),
        });
        // A synced commit waits for the disk, which no caller may do on a thread that others need.
        let lends = config.durability != Durability::Sync;
        let lent = lends.then(|| Arc::downgrade(&shared));
        let (batch, copier) = (config.batch, Copier::new(config));
        thread::Builder::new()
            .name("raptorflow-sqlite".to_owned())
            .spawn(move || Service { copier, shared, queue: receiver, batch, lends, last: 0 }.serve())
            .map_err(|err| {
                Error::new(ErrorKind::Unavailable, "storage.open", "the system gives no further thread")
                    .caused_by(err)
            })?;
        Ok(Self { queue, shared: lent, batch })
    }

    /// Does a small write together with those of other callers, on the thread of one of them; what is large, or has to
    /// wait for the disk, is queued.
    ///
    /// It spares two changes of threads, which take longer than the write.
    ///
    /// # Cancellation
    /// As [`Writer::submit`].
    pub(super) async fn share<T: Send + 'static>(
        &self,
        operation: &'static str,
        bytes: usize,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let lane = self.shared.as_ref().filter(|_| bytes <= SMALL).and_then(Weak::upgrade);
        // Where so many wait already, a place in the queue is waited for.
        let Some(shared) = lane.filter(|shared| shared.lane().len() < self.queue.max_capacity()) else {
            return self.submit(operation, work).await;
        };
        let (reply, mut answer) = oneshot::channel();
        shared.lane().push(Box::new(Waiting { work: Some(work), value: None, reply }));
        drop(shared);
        // Others that are ready to write come first, so that one transaction serves all of them.
        let mut before = 0;
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
            match answer.try_recv() {
                Ok(outcome) => return outcome,
                // The lane ended with the store; an answer that was taken is not waited for again.
                Err(TryRecvError::Closed) => return Err(closed(operation)),
                Err(TryRecvError::Empty) => {}
            }
            let waiting =
                self.shared.as_ref().and_then(Weak::upgrade).map_or(0, |shared| shared.lane().len());
            if waiting <= before {
                break;
            }
            before = waiting;
        }
        self.work_off();
        answer.await.map_err(|_| closed(operation))?
    }

    /// Does what is in the lane, unless somebody does so already; they look again after they gave the session back, so
    /// nothing stays.
    fn work_off(&self) {
        let Some(shared) = self.shared.as_ref().and_then(Weak::upgrade) else { return };
        loop {
            let mut session = match shared.session.try_lock() {
                Ok(session) => session,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            let Some(session_now) = session.as_mut() else {
                // First, so that whoever finds the session held has been heard by then.
                drop(session);
                return shared.refuse();
            };
            let mut jobs = shared.take(self.batch);
            let done = jobs.is_empty()
                || match session_now.commit_now(jobs.iter_mut(), |job, tables| job.run(tables)) {
                    Ok(None) => false,
                    Ok(Some(outcomes)) => {
                        jobs.drain(..).zip(outcomes).for_each(|(job, outcome)| job.answer(outcome));
                        true
                    }
                    Err(err) => {
                        jobs.drain(..).for_each(|job| job.answer(Err(err.clone())));
                        true
                    }
                };
            if !done {
                // Another process writes: the thread waits for its end.
                shared.lane().splice(..0, jobs);
            }
            if !done || session_now.needs_upkeep() {
                // When the queue is full, the thread is awake and sees to it anyway.
                let _ = self.queue.try_send(Message::Upkeep);
            }
            drop(session);
            if !done || shared.lane().is_empty() {
                return;
            }
        }
    }

    /// Queues work and waits until it is committed; waits for a place while the queue is full.
    ///
    /// # Cancellation
    /// Dropped before its turn the work is not done; later it is done to its end.
    pub(super) async fn submit<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let job = Waiting { work: Some(work), value: None, reply };
        self.queue.send(Message::Write(Box::new(job))).await.map_err(|_| closed(operation))?;
        answer.await.map_err(|_| closed(operation))?
    }

    /// Waits for what is queued and leaves no bytes of rows that are gone; nothing is written meanwhile.
    ///
    /// # Cancellation
    /// It is done to its end in any case.
    pub(super) async fn scrub(&self, operation: &'static str) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Message::Scrub(reply)).await.map_err(|_| closed(operation))?;
        answer.await.map_err(|_| closed(operation))?
    }

    /// Waits for what is queued and closes the connection.
    pub(super) async fn close(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        if self.queue.send(Message::Close(reply)).await.is_err() {
            return Ok(());
        }
        answer.await.unwrap_or(Ok(()))
    }
}

/// What the thread has.
struct Service {
    /// First, so that its connection is not the last one.
    copier: Copier,
    shared: Arc<Shared>,
    queue: Receiver<Message>,
    /// How many writes are committed together at most.
    batch: usize,
    /// Whether callers do small writes themselves.
    lends: bool,
    /// How many there were last time.
    last: usize,
}

/// What one look into the queue found.
#[derive(Default)]
struct Found {
    jobs: Vec<Box<dyn Job>>,
    scrub: Option<oneshot::Sender<Result<()>>>,
    close: Option<oneshot::Sender<Result<()>>>,
}

impl Found {
    fn take(&mut self, message: Message) {
        match message {
            Message::Write(job) if job.abandoned() => {}
            Message::Write(job) => self.jobs.push(job),
            Message::Upkeep => {}
            Message::Scrub(reply) => self.scrub = Some(reply),
            Message::Close(reply) => self.close = Some(reply),
        }
    }
}

impl Shared {
    fn session(&self) -> MutexGuard<'_, Option<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lane(&self) -> MutexGuard<'_, Vec<Box<dyn Job>>> {
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first of the lane whose callers still wait.
    fn take(&self, most: usize) -> Vec<Box<dyn Job>> {
        let mut lane = self.lane();
        let mut jobs = if lane.len() <= most { mem::take(&mut *lane) } else { lane.drain(..most).collect() };
        jobs.retain(|job| !job.abandoned());
        jobs
    }

    /// Tells everybody in the lane that the store is closed.
    fn refuse(&self) {
        let jobs = mem::take(&mut *self.lane());
        jobs.into_iter().for_each(|job| job.answer(Err(closed(OPERATION))));
    }
}

impl Service {
    fn serve(mut self) {
        let (shared, mut found) = (Arc::clone(&self.shared), Found::default());
        loop {
            // Callers that could not have the session while it was held here left their writes in the lane.
            if shared.lane().is_empty() {
                let Some(first) = self.queue.blocking_recv() else { return };
                found.take(first);
            }
            let mut held = shared.session();
            self.gather(&mut found);
            let Some(session) = held.as_mut() else { return };
            commit(session, &mut found.jobs);
            let long = session.tidy();
            if long && self.lends && found.scrub.is_none() && found.close.is_none() {
                drop(held);
                self.copy_beside();
                continue;
            }
            if long {
                session.copy_log();
            }
            if let Some(reply) = found.scrub.take() {
                let _ = reply.send(session.scrub());
            }
            if let Some(reply) = found.close.take() {
                self.copier.close();
                let ended = held.take().map_or(Ok(()), Session::close);
                let _ = reply.send(ended);
                return;
            }
        }
    }

    /// Copies the log while callers go on writing, and at last what came meanwhile, so that the log begins anew.
    fn copy_beside(&mut self) {
        loop {
            // What was left while the session was held here: during the copy only whoever comes looks at the lane.
            let mut jobs = self.shared.take(self.batch);
            if jobs.is_empty() {
                break;
            }
            // Closed by nobody but this thread.
            if let Some(session) = self.shared.session().as_mut() {
                commit(session, &mut jobs);
            }
        }
        session::told(self.copier.copy());
        if let Some(session) = self.shared.session().as_mut() {
            session.copy_log();
        }
    }

    /// Takes what is queued, and waits a moment for whoever was answered last time and comes back.
    fn gather(&mut self, found: &mut Found) {
        found.jobs.append(&mut self.shared.take(self.batch));
        // Callers that could do their writes themselves are not kept from it.
        let mut patience = if self.lends { 0 } else { PATIENCE };
        while found.jobs.len() < self.batch && found.scrub.is_none() && found.close.is_none() {
            if let Ok(message) = self.queue.try_recv() {
                found.take(message);
            } else if found.jobs.len() < self.last && patience > 0 {
                patience -= 1;
                thread::yield_now();
            } else {
                break;
            }
        }
        self.last = found.jobs.len();
    }
}

impl Drop for Service {
    /// Answers what was sent while the store closed.
    ///
    /// A queue that is only dropped keeps what a sender with a place puts there later, and with it the sender waits.
    fn drop(&mut self) {
        self.queue.close();
        while let Some(message) = self.queue.blocking_recv() {
            match message {
                Message::Write(job) => job.answer(Err(closed(OPERATION))),
                Message::Upkeep => {}
                Message::Scrub(reply) => drop(reply),
                Message::Close(reply) => {
                    let _ = reply.send(Ok(()));
                }
            }
        }
        self.shared.refuse();
    }
}

/// Runs jobs in one transaction and answers them once it is committed.
fn commit(session: &mut Session, jobs: &mut Vec<Box<dyn Job>>) {
    if jobs.is_empty() {
        return;
    }
    match session.commit_all(jobs.iter_mut(), |job, tables| job.run(tables)) {
        Ok(outcomes) => jobs.drain(..).zip(outcomes).for_each(|(job, outcome)| job.answer(outcome)),
        Err(err) => jobs.drain(..).for_each(|job| job.answer(Err(err.clone()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_that_is_sent_while_the_store_closes_is_answered() {
        let conn = Connection::open_in_memory().unwrap();
        let writer = Writer::start(conn, &SqliteConfig::new("unused.db")).unwrap();
        let places = [writer.queue.reserve().await.unwrap(), writer.queue.reserve().await.unwrap()];
        writer.close().await.unwrap();
        let ((write, written), (close, closed)) = (oneshot::channel::<Result<()>>(), oneshot::channel());
        let job = Waiting { work: Some(|_: &mut Tables<'_>| Ok(())), value: None, reply: write };
        let [first, second] = places;
        first.send(Message::Write(Box::new(job)));
        second.send(Message::Close(close));
        assert_eq!(written.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
        closed.await.unwrap().unwrap();
    }
}
