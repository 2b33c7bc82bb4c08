//! The one thread that writes: takes what is queued, commits it together, then answers.

use std::{collections::HashMap, thread};

use rusqlite::Connection;
use tokio::sync::{
    mpsc::{Receiver, Sender, channel},
    oneshot,
};

use super::{
    config::SqliteConfig,
    erase,
    fault::{OrFault as _, closed, fault},
    write::Tables,
};
use crate::{
    error::{Error, ErrorKind, Result},
    types::TenantId,
};

const OPERATION: &str = "storage.commit";

/// The queue to the writer; the thread ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct Writer(Sender<Message>);

enum Message {
    Write(Box<dyn Job>),
    Scrub(oneshot::Sender<Result<()>>),
    Close(oneshot::Sender<Result<()>>),
}

/// A write and whoever waits for it.
trait Job: Send {
    /// Does the work inside a savepoint and keeps its value.
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
        let (sender, receiver) = channel(config.queue);
        let batch = config.batch;
        thread::Builder::new()
            .name("raptorflow-sqlite".to_owned())
            .spawn(move || Session { conn, tenants: HashMap::new() }.serve(receiver, batch))
            .map_err(|err| {
                Error::new(ErrorKind::Unavailable, "storage.open", "the system gives no further thread")
                    .caused_by(err)
            })?;
        Ok(Self(sender))
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
        self.0.send(Message::Write(Box::new(job))).await.map_err(|_| closed(operation))?;
        answer.await.map_err(|_| closed(operation))?
    }

    /// Waits for what is queued and leaves no bytes of rows that are gone; nothing is written meanwhile.
    ///
    /// # Cancellation
    /// It is done to its end in any case.
    pub(super) async fn scrub(&self, operation: &'static str) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Message::Scrub(reply)).await.map_err(|_| closed(operation))?;
        answer.await.map_err(|_| closed(operation))?
    }

    /// Waits for what is queued and closes the connection.
    pub(super) async fn close(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        if self.0.send(Message::Close(reply)).await.is_err() {
            return Ok(());
        }
        answer.await.unwrap_or(Ok(()))
    }
}

/// Answers what was sent while the store closed.
///
/// A queue that is only dropped keeps what a sender with a place puts there later, and with it the sender waits.
fn refuse(mut queue: Receiver<Message>) {
    queue.close();
    while let Some(message) = queue.blocking_recv() {
        match message {
            Message::Write(job) => job.answer(Err(closed(OPERATION))),
            Message::Scrub(reply) => drop(reply),
            Message::Close(reply) => {
                let _ = reply.send(Ok(()));
            }
        }
    }
}

struct Session {
    conn: Connection,
    tenants: HashMap<TenantId, i64>,
}

impl Session {
    fn serve(mut self, mut queue: Receiver<Message>, batch: usize) {
        let mut jobs: Vec<Box<dyn Job>> = Vec::new();
        while let Some(first) = queue.blocking_recv() {
            let mut next = Some(first);
            let (mut scrub, mut close) = (None, None);
            while let Some(message) = next.take() {
                match message {
                    Message::Write(job) if job.abandoned() => {}
                    Message::Write(job) => jobs.push(job),
                    Message::Scrub(reply) => scrub = Some(reply),
                    Message::Close(reply) => close = Some(reply),
                }
                if jobs.len() < batch && scrub.is_none() && close.is_none() {
                    next = queue.try_recv().ok();
                }
            }
            self.commit(&mut jobs);
            if let Some(reply) = scrub {
                let _ = reply.send(erase::scrub(&self.conn));
            }
            if let Some(reply) = close {
                let ended = self.conn.close().map_err(|(_, err)| fault("storage.close", err));
                let _ = reply.send(ended);
                return refuse(queue);
            }
        }
    }

    /// Runs jobs in one transaction and answers them once it is committed.
    fn commit(&mut self, jobs: &mut Vec<Box<dyn Job>>) {
        if jobs.is_empty() {
            return;
        }
        match self.transact(jobs) {
            Ok(outcomes) => jobs.drain(..).zip(outcomes).for_each(|(job, outcome)| job.answer(outcome)),
            Err(err) => {
                self.tenants.clear();
                // Nothing of it was committed. There is nothing to roll back when SQLite has done so.
                let _ = self.conn.execute_batch("ROLLBACK");
                jobs.drain(..).for_each(|job| job.answer(Err(err.clone())));
            }
        }
    }

    fn transact(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<Vec<Result<()>>> {
        self.execute("BEGIN IMMEDIATE")?;
        let mut outcomes = Vec::with_capacity(jobs.len());
        for job in jobs {
            self.execute("SAVEPOINT job")?;
            let outcome = job.run(&mut Tables::new(&self.conn, &mut self.tenants));
            if let Err(err) = &outcome {
                self.tenants.clear();
                // A full disk and the like end the whole transaction.
                if self.conn.is_autocommit() {
                    return Err(err.clone());
                }
                self.execute("ROLLBACK TO job")?;
            }
            self.execute("RELEASE job")?;
            outcomes.push(outcome);
        }
        self.execute("COMMIT")?;
        Ok(outcomes)
    }

    fn execute(&self, sql: &'static str) -> Result<()> {
        self.conn.prepare_cached(sql).and_then(|mut statement| statement.execute([])).or_fault(OPERATION)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_that_is_sent_while_the_store_closes_is_answered() {
        let conn = Connection::open_in_memory().unwrap();
        let writer = Writer::start(conn, &SqliteConfig::new("unused.db")).unwrap();
        let places = [writer.0.reserve().await.unwrap(), writer.0.reserve().await.unwrap()];
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
