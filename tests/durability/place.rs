//! A folder with one store file, and the runtime that tests wait on.

use std::{
    future::Future,
    io::Write as _,
    path::Path,
    sync::{Arc, OnceLock},
};

use raptorflow_core::{
    error::Result,
    runtime::{Context, Runtime, Tasks},
    storage::{Durability, SqliteConfig, SqliteStore, Storage},
    testing::ManualClock,
};
use tempfile::TempDir;

/// The name of the file in its folder.
pub(crate) const FILE: &str = "store.db";
/// How many MiB the trials need at most.
const ROOM: usize = 48;

/// Runs a future on a runtime of two threads.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(work)
}

/// A context whose time stands still.
pub(crate) fn context() -> Context {
    Context::new(&Runtime::new(Arc::new(ManualClock::new()), Tasks::current().unwrap()))
}

/// Opens the store of a folder.
pub(crate) async fn open(ctx: &Context, folder: &Path, durability: Durability) -> Result<Storage> {
    let config = SqliteConfig::new(folder.join(FILE)).with_durability(durability);
    Ok(Storage::from_store(Arc::new(SqliteStore::open(ctx.runtime(), config).await?)))
}

/// A new folder, in memory where there is room for it: these tests rewrite small files many thousand times.
pub(crate) fn folder() -> TempDir {
    let shared = Path::new("/dev/shm");
    let made = if has_room(shared) { tempfile::tempdir_in(shared) } else { tempfile::tempdir() };
    made.unwrap()
}

/// Whether a folder is there and takes what the trials need at the same time.
///
/// Containers often give this folder little or nothing, and a process that maps a file there ends when it is full.
fn has_room(folder: &Path) -> bool {
    static HAS_ROOM: OnceLock<bool> = OnceLock::new();
    let probe = || {
        let mut file = tempfile::tempfile_in(folder).ok()?;
        (0..ROOM).try_for_each(|_| file.write_all(&[1; 1 << 20])).ok()
    };
    *HAS_ROOM.get_or_init(|| probe().is_some())
}

/// Says what SQLite itself finds wrong with a file.
pub(crate) fn integrity(folder: &Path) -> String {
    let raw = rusqlite::Connection::open(folder.join(FILE)).unwrap();
    raw.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}
