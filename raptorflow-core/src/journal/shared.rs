//! `Shared`: what the journals of one process have in common, and how the streams of runs are called.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use bytes::Bytes;

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    journal::{Fact, JournalConfig, entry::encode, keeper::Keeper, tail::Tails},
    runtime::{Context, Runtime},
    storage::Storage,
    types::{RunId, Timestamp},
};

/// What the streams and leases of runs are called before their id.
pub(super) const PREFIX: &str = "run/";
/// How many entries are read at once.
pub(super) const PAGE: usize = 512;
/// How often an append is tried that others got ahead of.
pub(super) const ATTEMPTS: usize = 256;
/// Scratch room that a large fact needed is not kept beyond this, in bytes.
const KEEP_SCRATCH: usize = 64 * 1024;

pub(super) struct Shared {
    pub(super) storage: Storage,
    pub(super) config: JournalConfig,
    pub(super) tails: Tails,
    pub(super) owner: Arc<str>,
    pub(super) keeper: Arc<Keeper>,
    scratch: Mutex<Vec<u8>>,
}

impl Shared {
    pub(super) fn new(storage: Storage, runtime: Runtime, config: JournalConfig) -> Self {
        let owner = config.owner.clone().unwrap_or_else(|| Arc::from(runtime.ids().run().to_string()));
        let keeper = Keeper::new(storage.clone(), runtime, config.lease_ttl, config.heartbeat);
        Self { storage, config, tails: Tails::default(), owner, keeper, scratch: Mutex::default() }
    }

    /// How many entries a run has.
    pub(super) async fn length(&self, ctx: &Context, run: RunId) -> Result<u64> {
        self.storage.length(ctx, Name::of(run).as_str()).await
    }

    /// The stored form of facts at a path.
    pub(super) fn encode(&self, time: Timestamp, path: &str, facts: &[Fact]) -> Result<Vec<Bytes>> {
        self.with_scratch(|scratch| facts.iter().map(|fact| encode(time, path, fact, scratch)).collect())
    }

    /// The stored form of one fact at a path.
    pub(super) fn encode_one(&self, time: Timestamp, path: &str, fact: &Fact) -> Result<Bytes> {
        self.with_scratch(|scratch| encode(time, path, fact, scratch))
    }

    fn with_scratch<T>(&self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        // Another thread may write with it now; then this one takes its own.
        let Ok(mut scratch) = self.scratch.try_lock() else { return write(&mut Vec::new()) };
        let written = write(&mut scratch);
        scratch.shrink_to(KEEP_SCRATCH);
        written
    }
}

impl fmt::Debug for Shared {
    /// Without the scratch room, which holds what was written last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { storage, config, owner, keeper, .. } = self;
        let mut out = f.debug_struct("Shared");
        out.field("storage", storage).field("config", config).field("owner", owner).field("keeper", keeper);
        out.finish_non_exhaustive()
    }
}

/// The error of an append that others always got ahead of.
pub(super) fn outrun(operation: &'static str, run: RunId) -> Error {
    Error::new(ErrorKind::Unavailable, operation, "the run grew faster than it could be read")
        .with("run", run)
        .retryable(Retry::Soon)
}

/// The name of a run's stream and lease, without an allocation.
#[derive(Clone, Copy)]
pub(super) struct Name([u8; 40]);

impl Name {
    pub(super) fn of(run: RunId) -> Self {
        let mut name = [0; 40];
        let (prefix, id) = name.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX.as_bytes());
        run.as_uuid().hyphenated().encode_lower(id);
        Self(name)
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or(PREFIX)
    }
}
