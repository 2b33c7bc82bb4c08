//! What is on a disk after a crash: every prefix of its operations, with and without what was not synced.

use std::{collections::BTreeMap, fmt, fs, io, path::Path, sync::Arc, vec};

use super::tape::Operation;

/// Files by name; a file that nothing changed is shared between the points.
pub(super) type Contents = BTreeMap<Arc<str>, Arc<Vec<u8>>>;

/// The smallest piece that a disk writes whole.
const SECTOR: usize = 512;

/// The operations of one [`super::Disk`] from the time it was watched.
#[derive(Clone, Debug)]
pub struct Recording {
    pub(super) first: Contents,
    pub(super) operations: Vec<Operation>,
}

/// What kind of crash it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process ended; the system has everything that it did.
    Kill,
    /// Power was lost: only synced bytes are there.
    Unsynced,
    /// Power was lost: all bytes are there, but of the last write only so many sectors.
    Torn(usize),
    /// Power was lost: of the bytes that were not synced, the first, third, fifth … write is there.
    Odd,
    /// As [`Crash::Odd`], with the second, fourth, sixth … write.
    Even,
}

/// The files that one crash leaves.
#[derive(Clone, Debug)]
pub struct CrashPoint {
    /// How many operations were done.
    pub at: usize,
    /// What kind of crash it was.
    pub crash: Crash,
    files: Contents,
}

impl CrashPoint {
    /// Whether something that was acknowledged at a [`super::Disk::position`] must be there.
    #[must_use]
    pub fn keeps(&self, position: usize) -> bool {
        position <= self.at
    }

    /// Writes the files into a folder, over what is there.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write_to(&self, folder: &Path) -> io::Result<()> {
        self.files.iter().try_for_each(|(name, bytes)| fs::write(folder.join(&**name), &**bytes))
    }
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} after operation {}", self.crash, self.at)
    }
}

impl Recording {
    /// Every crash: a kill after each operation, and at each sync the losses of power that it guards against.
    pub fn points(self) -> impl Iterator<Item = CrashPoint> {
        let mut replay = Replay { landed: self.first.clone(), synced: self.first, ..Replay::default() };
        let mut ready = vec![replay.point(Crash::Kill, replay.landed.clone())].into_iter();
        let mut operations = self.operations.into_iter();
        std::iter::from_fn(move || {
            loop {
                if let Some(point) = ready.next() {
                    return Some(point);
                }
                ready = replay.step(operations.next()?);
            }
        })
    }
}

/// The disk while its tape is played.
#[derive(Default)]
struct Replay {
    at: usize,
    /// What a process would read.
    landed: Contents,
    /// What a loss of power leaves at least.
    synced: Contents,
    /// What was done to each file since its last sync, in order.
    pending: Vec<Operation>,
    /// What a loss of power may bring back: the folder was not synced since.
    deleted: Vec<Arc<str>>,
}

impl Replay {
    fn step(&mut self, operation: Operation) -> vec::IntoIter<CrashPoint> {
        let mut points = Vec::new();
        if let Operation::Sync { file } = &operation {
            self.power_losses(&mut points);
            self.sync(file);
        } else {
            apply(&mut self.landed, &operation);
            match &operation {
                Operation::Delete { file, lasting: true } => {
                    self.pending.retain(|pending| pending.file() != file);
                    self.synced.remove(file);
                }
                Operation::Delete { file, .. } => self.deleted.push(Arc::clone(file)),
                _ => self.pending.push(operation),
            }
        }
        self.at += 1;
        points.push(self.point(Crash::Kill, self.landed.clone()));
        points.into_iter()
    }

    fn sync(&mut self, file: &Arc<str>) {
        // At the first sync of a new journal the system's file system syncs the folder too.
        if !self.synced.contains_key(file) && file.contains('-') {
            for deleted in self.deleted.drain(..) {
                self.synced.remove(&deleted);
            }
        }
        if let Some(bytes) = self.landed.get(file) {
            self.synced.insert(Arc::clone(file), Arc::clone(bytes));
        }
        self.pending.retain(|pending| pending.file() != file);
    }

    fn power_losses(&self, points: &mut Vec<CrashPoint>) {
        points.push(self.point(Crash::Unsynced, self.synced.clone()));
        let Some((last, before)) = self.pending.split_last() else { return };
        if let Operation::Write { file, offset, bytes } = last {
            // A sector begins at a multiple of its size in the file, not in the write.
            let first = SECTOR - offset % SECTOR;
            let cuts: Vec<usize> = (first..bytes.len()).step_by(SECTOR).collect();
            let mut chosen = vec![1, cuts.len() / 2, cuts.len()];
            chosen.dedup();
            for sectors in chosen {
                let Some(cut) = sectors.checked_sub(1).and_then(|index| cuts.get(index)) else { continue };
                let torn = bytes.get(..*cut).unwrap_or_default().into();
                let torn = Operation::Write { file: Arc::clone(file), offset: *offset, bytes: torn };
                let files = self.with(before.iter().chain([&torn]));
                points.push(self.point(Crash::Torn(sectors), files));
            }
        }
        if !before.is_empty() {
            points.push(self.point(Crash::Odd, self.with(self.pending.iter().step_by(2))));
            points.push(self.point(Crash::Even, self.with(self.pending.iter().skip(1).step_by(2))));
        }
    }

    /// The synced files with some of what came later.
    fn with<'a>(&self, operations: impl Iterator<Item = &'a Operation>) -> Contents {
        let mut files = self.synced.clone();
        operations.for_each(|operation| apply(&mut files, operation));
        files
    }

    fn point(&self, crash: Crash, files: Contents) -> CrashPoint {
        CrashPoint { at: self.at, crash, files }
    }
}

fn apply(files: &mut Contents, operation: &Operation) {
    match operation {
        Operation::Write { file, offset, bytes } => {
            let whole = contents(files, file);
            let end = offset + bytes.len();
            if whole.len() < end {
                whole.resize(end, 0);
            }
            whole[*offset..end].copy_from_slice(bytes);
        }
        Operation::Truncate { file, size } => contents(files, file).resize(*size, 0),
        Operation::Delete { file, .. } => {
            files.remove(file);
        }
        Operation::Sync { .. } => {}
    }
}

fn contents<'a>(files: &'a mut Contents, file: &Arc<str>) -> &'a mut Vec<u8> {
    Arc::make_mut(files.entry(Arc::clone(file)).or_default())
}

impl Operation {
    fn file(&self) -> &Arc<str> {
        match self {
            Self::Write { file, .. }
            | Self::Truncate { file, .. }
            | Self::Sync { file }
            | Self::Delete { file, .. } => file,
        }
    }
}
