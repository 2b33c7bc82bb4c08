//! `Session`: the writer's connection, its transactions, and what is done between them.

use std::time::Duration;

use rusqlite::Connection;

use super::{
    config::{Durability, SqliteConfig},
    erase,
    fault::{OrFault as _, fault},
    known::Known,
    write::Tables,
};
use crate::error::Result;

const OPERATION: &str = "storage.commit";

/// From how many writes in a commit on there is load: then more waits before it is moved and checkpointed.
const BUSY: usize = 4;
/// How many new records wait at most before they are moved, and how many bytes of them.
const CALM_ARRIVALS: (usize, usize) = (64, 32 << 10);
const BUSY_ARRIVALS: (usize, usize) = (512, 512 << 10);
/// How many pages the write-ahead log has when it is copied to the database.
///
/// A copy costs two flushes of the disk, a tenth of what so few synced commits cost. Where commits are not synced it
/// would cost more than they do.
/// Beside it, how many commits go by between two looks at the length of the log.
const CALM_LOG: (i64, usize) = (64, 8);
const BUSY_LOG: (i64, usize) = (1000, 64);
/// Where nobody waits for the disk but the copy itself, and many write: 32 MiB of log.
const LOOSE_LOG: (i64, usize) = (8192, 256);
/// How much of the log's file stays when the log begins anew.
const KEEP_LITTLE: &str = "PRAGMA journal_size_limit = 300000";
const KEEP_ALL: &str = "PRAGMA journal_size_limit = -1";

/// The writer's connection and what it remembers.
pub(super) struct Session {
    conn: Connection,
    known: Known,
    busy_timeout: Duration,
    durability: Durability,
    /// How many writes the last commit had.
    load: usize,
    /// Commits since the last look at the log.
    commits: usize,
}

/// How a transaction that could not begin went on.
pub(super) enum Begun {
    Yes,
    /// Another process writes now.
    Busy,
}

impl Session {
    pub(super) fn new(conn: Connection, config: &SqliteConfig) -> Self {
        let (busy_timeout, durability) = (config.busy_timeout, config.durability);
        Self { conn, known: Known::default(), busy_timeout, durability, load: 0, commits: 0 }
    }

    /// Runs work that many callers wait for in one transaction, each with an outcome of its own.
    ///
    /// # Errors
    /// When nothing of it was committed.
    pub(super) fn commit_all<'a, J>(
        &mut self,
        jobs: impl ExactSizeIterator<Item = &'a mut J>,
        mut run: impl FnMut(&mut J, &mut Tables<'_>) -> Result<()>,
    ) -> Result<Vec<Result<()>>>
    where
        J: ?Sized + 'a,
    {
        // None at all are no sign of load.
        self.load = if jobs.len() == 0 { self.load } else { jobs.len() };
        let outcomes = self.begin().and_then(|()| {
            let outcomes = jobs.map(|job| self.run(|tables| run(job, tables))).collect::<Result<Vec<_>>>()?;
            if self.many_arrivals() {
                Tables::new(&self.conn, &mut self.known).move_arrivals(OPERATION)?;
            }
            self.end()?;
            Ok(outcomes)
        });
        outcomes.inspect_err(|_| self.abandon())
    }

    /// The same unless another process writes now: then nothing was run, and there are no outcomes.
    ///
    /// It leaves all upkeep to [`Session::upkeep`].
    ///
    /// # Errors
    /// When nothing of it was committed.
    pub(super) fn commit_now<'a, J>(
        &mut self,
        mut jobs: impl ExactSizeIterator<Item = &'a mut J>,
        mut run: impl FnMut(&mut J, &mut Tables<'_>) -> Result<()>,
    ) -> Result<Option<Vec<Result<()>>>>
    where
        J: ?Sized + 'a,
    {
        self.load = jobs.len();
        let outcomes = match self.try_begin() {
            Ok(Begun::Busy) => return Ok(None),
            Ok(Begun::Yes) => {
                let outcomes: Result<Vec<_>> =
                    jobs.try_fold(Vec::with_capacity(self.load), |mut outcomes, job| {
                        outcomes.push(self.run(|tables| run(job, tables))?);
                        Ok(outcomes)
                    });
                outcomes.and_then(|outcomes| {
                    self.end()?;
                    Ok(Some(outcomes))
                })
            }
            Err(err) => Err(err),
        };
        outcomes.inspect_err(|_| self.abandon())
    }

    /// Whether it is time for [`Session::tidy`].
    pub(super) fn needs_upkeep(&self) -> bool {
        self.commits >= self.log().1 || self.many_arrivals()
    }

    /// Moves new records, if it is time, and says whether the log has become long; see [`Session::copy_log`].
    ///
    /// What is acknowledged does not need it, so an error is told to nobody but the log of the program, and the next
    /// commit tries again.
    pub(super) fn tidy(&mut self) -> bool {
        let mut done = Ok(false);
        if self.many_arrivals() {
            done = self.commit_all(std::iter::empty::<&mut ()>(), |(), _| Ok(())).map(|_| false);
        }
        if self.commits >= self.log().1 {
            self.commits = 0;
            done = done.and_then(|_| Ok(self.log_pages("PRAGMA wal_checkpoint(NOOP)")? >= self.log().0));
        }
        told(done).unwrap_or(false)
    }

    /// Copies the log to the database; an error is told as by [`Session::tidy`].
    pub(super) fn copy_log(&mut self) {
        told(self.checkpoint());
    }

    fn many_arrivals(&self) -> bool {
        let (rows, bytes) = if self.load < BUSY { CALM_ARRIVALS } else { BUSY_ARRIVALS };
        self.known.arrivals.rows >= rows || self.known.arrivals.bytes >= bytes
    }

    /// How many pages the log may have, and how many commits go by between two looks at it.
    fn log(&self) -> (i64, usize) {
        match (self.durability, self.load < BUSY) {
            (Durability::Sync, true) => CALM_LOG,
            (Durability::Sync, false) | (_, true) => BUSY_LOG,
            (_, false) => LOOSE_LOG,
        }
    }

    /// Writes the file anew without bytes of rows that are gone.
    pub(super) fn scrub(&mut self) -> Result<()> {
        self.known.clear();
        erase::scrub(&self.conn)
    }

    /// Closes the connection.
    pub(super) fn close(self) -> Result<()> {
        drop(self.known);
        self.conn.close().map_err(|(_, err)| fault("storage.close", err))
    }

    fn begin(&mut self) -> Result<()> {
        // A transaction that could not be ended before, because the disk failed.
        if !self.conn.is_autocommit() {
            self.execute("ROLLBACK")?;
        }
        self.execute("BEGIN IMMEDIATE")?;
        self.known.refresh(&self.conn)
    }

    /// Begins without waiting for another process.
    fn try_begin(&mut self) -> Result<Begun> {
        self.conn.busy_timeout(Duration::ZERO).or_fault(OPERATION)?;
        let begun = self.begin();
        self.conn.busy_timeout(self.busy_timeout).or_fault(OPERATION)?;
        match begun {
            Err(_) if self.conn.is_autocommit() => Ok(Begun::Busy),
            begun => begun.map(|()| Begun::Yes),
        }
    }

    /// Runs one piece of work; the inner error is its own, the outer one ends the transaction for all.
    fn run<T>(&mut self, work: impl FnOnce(&mut Tables<'_>) -> Result<T>) -> Result<Result<T>> {
        let mut tables = Tables::new(&self.conn, &mut self.known);
        let outcome = work(&mut tables);
        // A full disk and the like end the transaction by themselves; else what was half written has to go.
        let whole = !tables.wrote && !self.conn.is_autocommit();
        match outcome {
            Err(err) if !whole => Err(err),
            outcome => Ok(outcome),
        }
    }

    fn end(&mut self) -> Result<()> {
        if self.known.unsealed {
            self.known.seal.serial = self.known.arrivals.serial;
            self.known.seal.write(&self.conn, OPERATION)?;
            self.known.unsealed = false;
        }
        self.execute("COMMIT")?;
        self.commits += 1;
        Ok(())
    }

    /// Leaves a transaction that failed.
    fn abandon(&mut self) {
        self.known.clear();
        if !self.conn.is_autocommit() {
            // When the disk fails here too, the next transaction tries again.
            let _ = self.execute("ROLLBACK");
        }
    }

    fn checkpoint(&mut self) -> Result<()> {
        // A long log is kept while it is needed: to write over is faster than to append.
        let limit = if self.load < BUSY { KEEP_LITTLE } else { KEEP_ALL };
        let pragma = self.conn.prepare_cached(limit);
        pragma.and_then(|mut pragma| pragma.query_row([], |_| Ok(()))).or_fault(OPERATION)?;
        self.log_pages("PRAGMA wal_checkpoint(PASSIVE)").map(drop)
    }

    /// How many pages the log has, as a pragma says.
    fn log_pages(&self, sql: &'static str) -> Result<i64> {
        let pragma = self.conn.prepare_cached(sql);
        pragma.and_then(|mut pragma| pragma.query_row([], |row| row.get(1))).or_fault(OPERATION)
    }

    fn execute(&self, sql: &'static str) -> Result<()> {
        self.conn.prepare_cached(sql).and_then(|mut statement| statement.execute([])).or_fault(OPERATION)?;
        Ok(())
    }
}

/// Tells the log of the program of a copy that failed.
pub(super) fn told<T>(copied: Result<T>) -> Option<T> {
    copied
        .inspect_err(|err| {
            tracing::warn!(error = %err, "the write-ahead log was not copied to the database, trying again later");
        })
        .ok()
}
