//! A folder with one store file, and the runtime that tests wait on.

use std::{future::Future, path::Path, sync::Arc};

use raptorflow_core::{
    error::Result,
    runtime::{Context, Runtime, Tasks},
    storage::{Durability, SqliteConfig, SqliteStore, Storage},
    testing::ManualClock,
};
use tempfile::TempDir;

/// The name of the file in its folder.
pub(crate) const FILE: &str = "store.db";

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

/// A new folder, in memory where there is such a place: these tests rewrite small files many thousand times.
pub(crate) fn folder() -> TempDir {
    let shared = Path::new("/dev/shm");
    let made = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() };
    made.unwrap()
}

/// Says what SQLite itself finds wrong with a file.
pub(crate) fn integrity(folder: &Path) -> String {
    let raw = rusqlite::Connection::open(folder.join(FILE)).unwrap();
    raw.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}
