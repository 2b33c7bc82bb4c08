//! `Disk`: what SQLite did to the files of one folder, and what is to fail.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::{
    crash::{Contents, Recording},
    vfs,
};

/// The disks that are watched now; a file belongs to the one whose folder holds it.
static WATCHED: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// How a chosen operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Writes fail with `SQLITE_FULL`, after half of their bytes; nothing else does.
    Full,
    /// Writes, truncations, syncs and deletions fail with the `SQLITE_IOERR` of each; a write leaves half of its bytes.
    Write,
    /// Reads fail with `SQLITE_IOERR_READ`.
    Read,
}

/// How long a failure lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// For one operation.
    Once,
    /// Until [`Disk::heal`].
    UntilHealed,
}

/// One operation that changes what is on the disk; files are named as in their folder.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Write {
        file: Arc<str>,
        offset: usize,
        bytes: Arc<[u8]>,
    },
    Truncate {
        file: Arc<str>,
        size: usize,
    },
    Sync {
        file: Arc<str>,
    },
    /// `lasting` when the folder was synced too.
    Delete {
        file: Arc<str>,
        lasting: bool,
    },
}

/// What SQLite is about to do, as far as failures tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
    Other,
}

/// The files of one folder as SQLite sees them; cloning shares it.
///
/// The folder is watched until the last clone is dropped. Files that were opened before are not.
#[derive(Clone, Debug)]
pub struct Disk(Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// What was there before.
    first: Contents,
    operations: Vec<Operation>,
    fault: Option<Fault>,
    /// How many operations there were that each failure is about.
    seen: Seen,
    /// How many operations failed.
    failed: usize,
}

#[derive(Debug)]
struct Fault {
    failure: Failure,
    lasting: Lasting,
    /// The number of the operation of the kind.
    at: usize,
}

#[derive(Debug, Default)]
struct Seen {
    full: usize,
    write: usize,
    read: usize,
}

impl Seen {
    fn of(&mut self, failure: Failure) -> &mut usize {
        match failure {
            Failure::Full => &mut self.full,
            Failure::Write => &mut self.write,
            Failure::Read => &mut self.read,
        }
    }
}

impl Disk {
    /// Watches a folder: every file in it that SQLite opens from now on.
    ///
    /// # Panics
    /// When the folder cannot be read or SQLite has no file system.
    #[must_use]
    pub fn watch(folder: &Path) -> Self {
        vfs::install();
        let folder = folder.canonicalize().unwrap();
        let mut first = BTreeMap::new();
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_file() && !name.ends_with("-shm") {
                first.insert(Arc::from(name), Arc::new(fs::read(&path).unwrap()));
            }
        }
        let state = Mutex::new(State { first, ..State::default() });
        let shared = Arc::new(Shared { folder, state });
        let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|other| other.strong_count() > 0);
        watched.push(Arc::downgrade(&shared));
        Self(shared)
    }

    /// How many operations were done; what is acknowledged at a position survives every crash from there on.
    #[must_use]
    pub fn position(&self) -> usize {
        self.0.state().operations.len()
    }

    /// What was done until now.
    #[must_use]
    pub fn recording(&self) -> Recording {
        let state = self.0.state();
        Recording { first: state.first.clone(), operations: state.operations.clone() }
    }

    /// Lets `after` operations of the failure's kind through, and then fails one or all.
    pub fn fail_at(&self, after: usize, failure: Failure, lasting: Lasting) {
        let mut state = self.0.state();
        let at = *state.seen.of(failure) + after;
        state.fail(Fault { failure, lasting, at });
    }

    /// As [`Disk::fail_at`], but counts from when the folder was watched; what is past then fails next.
    pub fn fail_operation(&self, number: usize, failure: Failure, lasting: Lasting) {
        self.0.state().fail(Fault { failure, lasting, at: number });
    }

    /// How many operations of a failure's kind there were, failed ones too.
    #[must_use]
    pub fn seen(&self, failure: Failure) -> usize {
        *self.0.state().seen.of(failure)
    }

    /// How many operations failed since a failure was set.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.0.state().failed
    }

    /// Ends the failure and says how many operations failed.
    pub fn heal(&self) -> usize {
        let mut state = self.0.state();
        state.fault = None;
        std::mem::take(&mut state.failed)
    }
}

/// The disk that a path belongs to, and the file's name there.
pub(super) fn of_path(path: &Path) -> Option<(Arc<Shared>, Arc<str>)> {
    let (folder, name) = (path.parent()?, path.file_name()?.to_str()?);
    let watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut alive = watched.iter().filter_map(Weak::upgrade);
    Some((alive.find(|disk| disk.folder == folder)?, Arc::from(name)))
}

impl Shared {
    /// Held during an operation, so that the tape has the order of the disk.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fail(&mut self, fault: Fault) {
        self.failed = 0;
        self.fault = Some(fault);
    }

    /// Counts the next operation and gives its failure, if it is to fail.
    pub(super) fn failure(&mut self, kind: Kind) -> Option<Failure> {
        let concerned: &[Failure] = match kind {
            Kind::Read => &[Failure::Read],
            Kind::Write => &[Failure::Full, Failure::Write],
            Kind::Other => &[Failure::Write],
        };
        let mut number = None;
        for failure in concerned {
            let seen = self.seen.of(*failure);
            if self.fault.as_ref().is_some_and(|fault| fault.failure == *failure) {
                number = Some(*seen);
            }
            *seen += 1;
        }
        let fault = self.fault.as_ref().filter(|fault| number.is_some_and(|number| number >= fault.at))?;
        let failure = fault.failure;
        if fault.lasting == Lasting::Once {
            self.fault = None;
        }
        self.failed += 1;
        Some(failure)
    }

    pub(super) fn done(&mut self, operation: Operation) {
        self.operations.push(operation);
    }
}
