//! What is said to a run from outside: signals, pauses and the wish to cancel, as its owner hears them.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use tokio::sync::Notify;

use crate::{
    error::{ErrorKind, Result},
    journal::{
        Entry, Fact, Journal,
        entry::decode,
        run::Run,
        shared::{Name, PAGE},
    },
};

/// What a run was told, and how far its stream is known.
#[derive(Debug, Default)]
pub(super) struct Outside {
    // A std mutex: no await happens while it is held.
    heard: Mutex<Heard>,
    /// There may be entries that are not known yet.
    behind: Notify,
    /// Something was heard.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Heard {
    /// Every entry before this is known: appended here, told by this process, or read.
    next: u64,
    /// Known entries behind a gap, in order, apart from each other; what others said lies in the gaps.
    ahead: Vec<Range<u64>>,
    signals: HashMap<Arc<str>, Value>,
    paused: bool,
    /// Behind the entry that `paused` is from.
    paused_by: u64,
    cancelled: bool,
}

impl Heard {
    /// The fold of one entry.
    fn apply(&mut self, sequence: u64, fact: Fact) {
        match fact {
            Fact::SignalReceived { name, value, .. } => {
                self.signals.entry(name).or_insert(value);
            }
            Fact::ExecutionPaused => self.pause(sequence, true),
            Fact::ExecutionContinued | Fact::ExecutionResumed => self.pause(sequence, false),
            Fact::ExecutionForked { .. } => {
                self.pause(sequence, false);
                self.cancelled = false;
            }
            Fact::CancelRequested => self.cancelled = true,
            // A run that fails before it hears the wish has ended as well; who resumes it wants it to go on.
            Fact::ExecutionFailed { .. } => self.cancelled = false,
            _ => {}
        }
    }

    /// In the order of the stream, however the news come in.
    fn pause(&mut self, sequence: u64, paused: bool) {
        if sequence >= self.paused_by {
            (self.paused, self.paused_by) = (paused, sequence + 1);
        }
    }

    /// Notes that entries are known, and says whether others before them are not.
    fn know(&mut self, range: Range<u64>) -> bool {
        if range.start > self.next {
            self.ahead.push(range);
            self.ahead.sort_unstable_by_key(|range| range.start);
            self.ahead.dedup_by(|right, left| {
                let joined = right.start <= left.end;
                if joined {
                    left.end = left.end.max(right.end);
                }
                joined
            });
            return true;
        }
        self.next = self.next.max(range.end);
        while let Some(first) = self.ahead.first().filter(|first| first.start <= self.next) {
            self.next = self.next.max(first.end);
            self.ahead.remove(0);
        }
        !self.ahead.is_empty()
    }
}

impl Outside {
    /// What the entries of a run say, of which there are `length`.
    pub(super) fn of(entries: &[Entry], length: u64) -> Self {
        let mut heard = Heard { next: length, ..Heard::default() };
        for entry in entries {
            if is_heard(&entry.fact) {
                heard.apply(entry.sequence, entry.fact.clone());
            }
        }
        if length > entries.len() as u64 && !entries.is_empty() {
            // The run was resumed just now.
            heard.paused = false;
            heard.paused_by = length;
        }
        Self { heard: Mutex::new(heard), ..Self::default() }
    }

    /// Whether somebody asked to cancel the run.
    pub(super) fn is_cancelled(&self) -> bool {
        self.lock().cancelled
    }

    /// Notes entries that this process appended: what others said between them has still to be read.
    pub(super) fn know(&self, length: u64, count: usize) {
        let behind = self.lock().know(length.saturating_sub(count as u64)..length);
        if behind {
            self.look();
        }
    }

    /// Has [`Journal::watch`] read what is new.
    pub(super) fn look(&self) {
        self.behind.notify_one();
    }

    /// Notes what was said.
    fn hear(&self, sequence: u64, fact: Fact) {
        let behind = {
            let mut heard = self.lock();
            heard.apply(sequence, fact);
            heard.know(sequence..sequence + 1)
        };
        if behind {
            self.look();
        }
        self.changed.notify_waiters();
    }

    fn next(&self) -> u64 {
        self.lock().next
    }

    async fn wait_for<T>(&self, mut found: impl FnMut(&Heard) -> Option<T>) -> T {
        loop {
            // Enabled before it looks, so that what comes in between wakes it.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(value) = found(&self.lock()) {
                return value;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    /// Notes what somebody outside said, and stops the work when it is the wish to cancel.
    pub(super) fn hear(&self, sequence: u64, fact: Fact) {
        let cancels = matches!(fact, Fact::CancelRequested);
        self.outside().hear(sequence, fact);
        if cancels {
            self.ctx().cancel().cancel();
        }
    }
}

impl Journal {
    /// Hears what is said to the run from outside, for as long as it is polled; it resolves only with an error.
    ///
    /// The engine polls it beside the work.
    /// It wakes [`Journal::signalled`] and [`Journal::unpaused`], and a wish to cancel cancels [`Journal::cancel`].
    /// What this process says is heard at once and without it; what others say, where the store is shared by several
    /// processes, within [`crate::journal::JournalConfig::poll`], or at once where the store tells of it.
    ///
    /// # Errors
    /// `Corrupt` for an entry that cannot be read; a store that fails otherwise is asked again.
    ///
    /// # Cancellation
    /// Dropping it loses nothing; the next one goes on.
    pub async fn watch(&self) -> Result<()> {
        let (run, outside) = (&*self.0, self.0.outside());
        let storage = &run.shared().storage;
        let (shared, poll) = (storage.capability().shared, run.shared().config.poll);
        let name = Name::of(self.run_id());
        loop {
            if shared {
                let next = outside.next();
                tokio::select! {
                    biased;
                    () = outside.behind.notified() => {}
                    grown = storage.grown(run.ctx(), name.as_str(), next, poll) => {
                        if let Err(err) = grown {
                            self.bear(&err).await?;
                        } else if outside.next() != next {
                            // What grew is what the run appended itself; the lengths that it got tell of more.
                            continue;
                        }
                    }
                }
            } else {
                outside.behind.notified().await;
            }
            if let Err(err) = self.catch_up().await {
                outside.look();
                self.bear(&err).await?;
            }
        }
    }

    /// The value of a signal; waits until somebody gives it, however long that takes.
    ///
    /// # Cancellation
    /// It does not watch the context; dropping it loses nothing.
    pub async fn signalled(&self, name: &str) -> Value {
        self.0.outside().wait_for(|heard| heard.signals.get(name).cloned()).await
    }

    /// The value of a signal, if it was given and heard.
    #[must_use]
    pub fn signal(&self, name: &str) -> Option<Value> {
        self.0.outside().lock().signals.get(name).cloned()
    }

    /// Whether somebody asked that nothing new begins.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.0.outside().lock().paused
    }

    /// Waits until the run is not paused; at once when it is not.
    ///
    /// # Cancellation
    /// It does not watch the context; dropping it loses nothing.
    pub async fn unpaused(&self) {
        self.0.outside().wait_for(|heard| (!heard.paused).then_some(())).await;
    }

    /// Reads what is not known yet.
    async fn catch_up(&self) -> Result<()> {
        let run = &*self.0;
        let name = Name::of(self.run_id());
        loop {
            let from = run.outside().next();
            let records = run.shared().storage.read(run.ctx(), name.as_str(), from, PAGE).await?;
            for record in &records {
                let entry = decode(self.run_id(), record)?;
                if entry.fact.is_external() {
                    run.hear(entry.sequence, entry.fact);
                }
            }
            run.outside().lock().know(from..from + records.len() as u64);
            if records.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// Waits before a store that failed is asked again; what is damaged stays damaged.
    async fn bear(&self, err: &crate::error::Error) -> Result<()> {
        if err.kind() == ErrorKind::Corrupt {
            return Err(err.clone());
        }
        tracing::debug!(run = %self.run_id(), error = %err, "what is said to the run cannot be read, trying again");
        let run = &*self.0;
        run.ctx().runtime().clock().sleep(run.shared().config.poll).await;
        Ok(())
    }
}

fn is_heard(fact: &Fact) -> bool {
    fact.is_external()
        || matches!(
            fact,
            Fact::ExecutionResumed | Fact::ExecutionForked { .. } | Fact::ExecutionFailed { .. }
        )
}
