//! `Ledger`: the append-only facts of one tenant in the store, a stream a month, and the books over them.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::{
    economics::{
        Window,
        books::{Books, Kept, Undo},
        fact::{Entry, Fact, Ticket, decode, encode},
        scope::{Moment, month_name, month_number},
        written::write,
    },
    error::{Error, ErrorKind, Result, Retry},
    runtime::{Context, Runtime},
    storage::{Append, Expect, Record, Storage},
    types::{Digest, TenantId, Timestamp},
};

/// What the streams are called before the month.
pub(super) const PREFIX: &str = "ledger/";
/// The stream whose only record says which month is the first: without it, two processes could begin two ledgers at the
/// change of a month.
const ROOT: &str = "ledger/0000-00";
/// Where a summary is kept, so that opening is short; it can be lost, and one that does not fit is not used.
const SUMMARY: &str = "ledger/summary";
/// How many facts are read at once.
pub(super) const PAGE: usize = 512;
/// How many facts there are between two summaries, at least.
const SUMMARIZE: u64 = 1024;
/// How many bytes the buffer for facts has room for between two of them.
const ROOM: usize = 4096;
/// How large the pieces of memory are that the records share which are written at once: the first one, and the largest.
const PIECES: (usize, usize) = (1 << 10, 1 << 14);
/// How often an append is tried that others got ahead of.
pub(super) const ATTEMPTS: usize = 256;

/// Where a fact may have been written whose outcome is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    stream: String,
    from: u64,
}

#[derive(Serialize, Deserialize)]
struct Summary {
    stream: String,
    length: u64,
    last: Digest,
    books: Kept,
}

/// The last record of a stream.
#[derive(Clone, Debug)]
enum Last {
    Record(Bytes),
    /// As a summary has it.
    Digest(Digest),
}

impl Last {
    fn is(&self, data: &Bytes) -> bool {
        match self {
            Self::Record(record) => record == data,
            Self::Digest(digest) => Digest::of(data) == *digest,
        }
    }

    fn digest(&self) -> Digest {
        match self {
            Self::Record(record) => Digest::of(record),
            Self::Digest(digest) => *digest,
        }
    }
}

/// Makes records that share their memory: one each is more to ask for and to look after than most records are long.
#[derive(Debug, Default)]
struct Records {
    rest: BytesMut,
    /// How large the newest piece was.
    piece: usize,
}

impl Records {
    /// A record of these bytes.
    fn keep(&mut self, bytes: &[u8]) -> Bytes {
        if self.rest.capacity() < bytes.len() {
            let (first, largest) = PIECES;
            // Larger ones for whoever writes much, so that a tenant who does not takes little.
            self.piece = (self.piece * 2).clamp(first, largest);
            self.rest = BytesMut::with_capacity(self.piece.max(bytes.len()));
        }
        self.rest.extend_from_slice(bytes);
        self.rest.split().freeze()
    }
}

/// How an append ended.
#[derive(Debug)]
pub(super) enum Appended {
    Written,
    /// Others were ahead, or the month has changed: decide again.
    Again,
    /// It failed, and nothing of it is written, or that is not known and the place says where to look.
    Failed(Error, Option<Place>),
}

#[derive(Debug)]
pub(super) struct Ledger {
    ctx: Context,
    storage: Storage,
    pub(super) books: Books,
    /// Empty until the ledger was loaded.
    stream: String,
    length: u64,
    /// The last record that was read or written, to see that the stream is still the same.
    last: Option<Last>,
    /// The number of the month for which the stream was last found to be right.
    month: Option<i32>,
    /// The stream that goes on with the books, when this one is closed.
    next: Option<String>,
    /// How many facts there were since a summary was kept.
    unsummarized: u64,
    /// The ledger's time at a reading of the clock that never goes back.
    anchor: (Timestamp, Duration),
    /// Where a fact is written that is recorded at once.
    buffer: Vec<u8>,
    records: Records,
}

impl Ledger {
    pub(super) fn new(runtime: &Runtime, storage: Storage, tenant: &TenantId) -> Self {
        let ctx = Context::new(runtime).with_tenant(tenant.clone());
        let anchor = (ctx.now(), runtime.clock().elapsed());
        Self {
            ctx,
            storage,
            books: Books::default(),
            stream: String::new(),
            length: 0,
            last: None,
            month: None,
            next: None,
            unsummarized: 0,
            anchor,
            buffer: Vec::new(),
            records: Records::default(),
        }
    }

    /// The time, by one of the day that was just read, when a fact can be recorded now without waiting for anything:
    /// not when the ledger is not loaded, a month has begun, or a summary is due.
    pub(super) fn ready(&mut self, now: Timestamp) -> Option<Moment> {
        if self.stream.is_empty() || self.next.is_some() || self.unsummarized >= self.enough() {
            return None;
        }
        let now = Moment::of(self.now_by(now));
        (self.month == Some(now.periods.at(Window::Month))).then_some(now)
    }

    /// Appends a fact that was applied to the books, where the store is one that does not wait; `false` when nothing
    /// is written, for whatever reason.
    pub(super) fn append_at_once(&mut self, at: Timestamp, fact: &Fact) -> bool {
        self.buffer.clear();
        self.buffer.shrink_to(ROOM);
        if write(&mut self.buffer, at, fact).is_err() {
            return false;
        }
        let record = self.records.keep(&self.buffer);
        let last = Last::Record(record.clone());
        let Some(Ok(length)) = self.storage.append_at_once(&self.ctx, &self.stream, self.length, record)
        else {
            return false;
        };
        (self.length, self.last) = (length, Some(last));
        self.unsummarized += 1;
        true
    }

    /// The clock of the ledger: that of the process, but never before a fact, and never standing still when that of
    /// the process is put back.
    pub(super) fn now(&mut self) -> Timestamp {
        self.now_by(self.ctx.now())
    }

    /// The same, by a time of the day that was just read.
    fn now_by(&mut self, now: Timestamp) -> Timestamp {
        let elapsed = self.ctx.runtime().clock().elapsed();
        let (anchor, at) = self.anchor;
        let now = now.max(anchor.plus(elapsed.saturating_sub(at))).max(self.books.time());
        self.anchor = (now, elapsed);
        now
    }

    /// Loads the ledger, unless it was loaded before.
    pub(super) async fn load(&mut self) -> Result<()> {
        if self.stream.is_empty() { self.reload().await } else { Ok(()) }
    }

    async fn reload(&mut self) -> Result<()> {
        self.stream.clear();
        self.month = None;
        let summary = match self.storage.get_json::<Summary>(&self.ctx, SUMMARY).await {
            Ok(summary) => summary.map(|(summary, _)| summary),
            // It is only there to be quick.
            Err(err) if err.kind() == ErrorKind::Corrupt => None,
            Err(err) => return Err(err),
        };
        let fits = match &summary {
            Some(summary) => {
                self.ends_with(&summary.stream, summary.length, &Last::Digest(summary.last)).await?
            }
            None => false,
        };
        let (stream, length, last, books) = match summary.filter(|_| fits) {
            Some(summary) => {
                (summary.stream, summary.length, Some(Last::Digest(summary.last)), Books::of(summary.books))
            }
            None => (self.newest_stream().await?, 0, None, Books::default()),
        };
        (self.length, self.last, self.books, self.next, self.unsummarized) = (length, last, books, None, 0);
        self.read_on(&stream).await?;
        // Last, so that a load that failed or was dropped is done again.
        self.stream = stream;
        self.enter_next().await
    }

    /// The stream of the latest month; the root when there is none.
    async fn newest_stream(&self) -> Result<String> {
        let mut newest = ROOT.to_owned();
        loop {
            let names = self.storage.streams(&self.ctx, PREFIX, Some(&newest), PAGE).await?;
            match names.into_iter().next_back() {
                Some(name) => newest = name,
                None => return Ok(newest),
            }
        }
    }

    /// Whether the record before a length is this one.
    async fn ends_with(&self, stream: &str, length: u64, last: &Last) -> Result<bool> {
        let Some(before) = length.checked_sub(1) else { return Ok(false) };
        let records = self.storage.read(&self.ctx, stream, before, 1).await?;
        Ok(records.first().is_some_and(|record| last.is(&record.data)))
    }

    /// Reads what others have added.
    pub(super) async fn sync(&mut self) -> Result<()> {
        let same = match &self.last {
            Some(last) => self.ends_with(&self.stream, self.length, last).await?,
            None => true,
        };
        if !same {
            // Somebody erased the tenant, or put another ledger in its place.
            return self.reload().await;
        }
        let stream = self.stream.clone();
        self.read_on(&stream).await?;
        self.enter_next().await
    }

    async fn read_on(&mut self, stream: &str) -> Result<()> {
        loop {
            let records = self.storage.read(&self.ctx, stream, self.length, PAGE).await?;
            let count = records.len();
            for record in records {
                let entry = decode(stream, &record)?;
                self.take(entry, &record);
            }
            if count < PAGE {
                return Ok(());
            }
        }
    }

    fn take(&mut self, Entry { at, fact, .. }: Entry, record: &Record) {
        self.books.apply(Moment::of(at), &fact, &mut Undo::default());
        match fact {
            Fact::Opened { books } => self.books = Books::of(*books),
            Fact::Closed { next } => self.next = Some(next),
            _ => {}
        }
        self.length = record.sequence + 1;
        self.last = Some(Last::Record(record.data.clone()));
        self.unsummarized += 1;
    }

    /// Goes on in the stream of a later month, as often as one was closed.
    async fn enter_next(&mut self) -> Result<()> {
        while let Some(next) = self.next.clone() {
            if self.storage.length(&self.ctx, &next).await? == 0 {
                self.open_month(&next).await?;
            }
            (self.length, self.last, self.next) = (0, None, None);
            self.stream.clear();
            self.read_on(&next).await?;
            self.stream = next;
        }
        Ok(())
    }

    async fn open_month(&self, stream: &str) -> Result<()> {
        let opened = Fact::Opened { books: Box::new(self.books.kept()) };
        let records = encode(self.books.time(), &[opened])?;
        let append = Append { expected: Some(0), records, ..Append::to(stream) };
        match self.storage.append(&self.ctx, append).await {
            Ok(_) => Ok(()),
            // It is written, by this process or by another one with the same books.
            Err(_) if self.storage.length(&self.ctx, stream).await? > 0 => Ok(()),
            Err(err) => Err(err),
        }
    }

    /// Closes the stream when a later month has begun, and goes on in that of the month; says whether it did.
    pub(super) async fn turn(&mut self, at: Timestamp) -> Result<bool> {
        let number = month_number(at);
        if self.month == Some(number) {
            return Ok(false);
        }
        let month = format!("{PREFIX}{}", month_name(at));
        if month <= self.stream {
            // It stays so: the ledger only goes on to later streams.
            self.month = Some(number);
            return Ok(false);
        }
        // In the stream itself, so that nothing can follow that was meant for the month before.
        let records = encode(at, &[Fact::Closed { next: month }])?;
        let append = Append { expected: Some(self.length), records, ..Append::to(&self.stream) };
        let closed = self.storage.append(&self.ctx, append).await;
        let before = self.stream.clone();
        self.sync().await?;
        match closed {
            // An append whose outcome was not told may have been written all the same.
            Err(err) if err.kind() != ErrorKind::Conflict && self.stream == before => Err(err),
            _ => Ok(true),
        }
    }

    /// Appends facts that were applied to the books; when they are not written, the books are as they were before.
    pub(super) async fn append(&mut self, at: Timestamp, facts: &[Fact], undo: &mut Undo) -> Appended {
        let records = match encode(at, facts) {
            Ok(records) => records,
            Err(err) => {
                self.books.take_back(undo, 0);
                return Appended::Failed(err, None);
            }
        };
        let last = records.last().cloned().map(Last::Record);
        let append = Append { expected: Some(self.length), records, ..Append::to(&self.stream) };
        let err = match self.storage.append(&self.ctx, append).await {
            Ok(length) => {
                (self.length, self.last) = (length, last.or_else(|| self.last.take()));
                self.unsummarized += facts.len() as u64;
                return Appended::Written;
            }
            Err(err) => err,
        };
        self.books.take_back(undo, 0);
        let place = Place { stream: self.stream.clone(), from: self.length };
        if err.kind() == ErrorKind::Conflict {
            return match self.sync().await {
                Ok(()) => Appended::Again,
                Err(err) => Appended::Failed(err, None),
            };
        }
        // Whether it was written is what the stream says.
        let found = self.storage.read(&self.ctx, &place.stream, place.from, facts.len()).await;
        let same = |found: &[Record]| {
            encode(at, facts).is_ok_and(|wanted| found.iter().map(|record| &record.data).eq(&wanted))
        };
        match found {
            Ok(found) if same(&found) => match self.sync().await {
                Ok(()) => Appended::Written,
                // It is written; what is not read yet will be.
                Err(_) => Appended::Failed(err, Some(place)),
            },
            // It may still arrive.
            _ => Appended::Failed(err, Some(place)),
        }
    }

    /// Whether a ticket was settled at a place or later.
    pub(super) async fn settled_since(&self, place: &Place, ticket: Ticket) -> Result<bool> {
        let (mut stream, mut from) = (place.stream.clone(), place.from);
        loop {
            let records = self.storage.read(&self.ctx, &stream, from, PAGE).await?;
            let full = records.len() == PAGE;
            from += records.len() as u64;
            let mut next = None;
            for record in records {
                match decode(&stream, &record)?.fact {
                    Fact::Settled { ticket: settled, .. } if settled == ticket => return Ok(true),
                    Fact::Closed { next: month } => next = Some(month),
                    _ => {}
                }
            }
            match next {
                Some(month) => (stream, from) = (month, 0),
                None if full => {}
                None => return Ok(false),
            }
        }
    }

    /// How many facts are enough for a summary.
    fn enough(&self) -> u64 {
        SUMMARIZE.max(self.books.size() as u64)
    }

    /// Keeps a summary when there are enough facts since the last one; the more there is to write, the fewer.
    pub(super) async fn summarize(&mut self) {
        let Some(last) = self.last.as_ref().filter(|_| self.unsummarized >= self.enough()) else { return };
        let (stream, last) = (self.stream.clone(), last.digest());
        let summary = Summary { stream, length: self.length, last, books: self.books.kept() };
        self.unsummarized = 0;
        if let Err(err) = self.storage.put_json(&self.ctx, SUMMARY, &summary, Expect::Any).await {
            // The ledger is complete without it.
            tracing::debug!(error = %err, "a summary of the ledger was not kept");
        }
    }
}

/// The error of a decision that others always got ahead of.
pub(super) fn outrun() -> Error {
    Error::new(ErrorKind::Unavailable, "ledger.append", "the ledger grew faster than it could be read")
        .retryable(Retry::Soon)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_share_memory_are_what_was_written_and_stay_so() {
        let mut records = Records::default();
        let written: Vec<Vec<u8>> = [0, 1, 400, 900, 20_000, 7]
            .into_iter()
            .cycle()
            .zip(0..200)
            .map(|(len, byte)| vec![byte; len])
            .collect();
        let kept: Vec<Bytes> = written.iter().map(|bytes| records.keep(bytes)).collect();
        assert_eq!(kept, written);
        assert!(records.piece <= PIECES.1);
    }
}
