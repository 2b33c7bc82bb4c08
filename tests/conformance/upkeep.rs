//! What erasing promises of the file: the bytes of a tenant are in it no longer.

use std::{fs, path::Path, sync::Arc, time::Duration};

use libtest_mimic::Trial;
use raptorflow_core::{
    error::{ErrorKind, Retry},
    runtime::{Context, Runtime},
    storage::{Append, Expect, SqliteConfig, SqliteStore, Storage},
};
use tempfile::TempDir;

use crate::backends::block_on;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("what_was_erased_is_in_no_file_of_the_store", what_was_erased_is_in_no_file),
        trial("what_was_erased_and_cannot_be_scrubbed_yet_is_said", a_reader_that_stays_is_said),
    ]
}

fn trial(name: &str, test: fn(&Path)) -> Trial {
    Trial::test(format!("upkeep::{name}"), move || {
        let folder = TempDir::new().unwrap();
        test(folder.path());
        Ok(())
    })
}

const MARK: &str = "a secret that must be forgotten";

async fn open(folder: &Path) -> Storage {
    let mut config = SqliteConfig::new(folder.join("store.db"));
    config.busy_timeout = Duration::from_millis(100);
    Storage::from_store(Arc::new(SqliteStore::open(&Runtime::current().unwrap(), config).await.unwrap()))
}

/// Leaves the mark in keys, streams and leases: as it is now, as it was, and as it was removed before.
async fn fill(ctx: &Context, storage: &Storage, mark: &str) {
    for number in 0..300 {
        let key = format!("{mark}/{number:04}");
        for size in [0, 40, 700] {
            let value = format!("{mark}{}", "-".repeat(size));
            storage.put(ctx, &key, value, Expect::Any).await.unwrap();
        }
        let records = [30, 2_000, 9_000].map(|size| format!("{mark}{}", "-".repeat(size)).into()).to_vec();
        storage.append(ctx, Append { records, ..Append::to(&key) }).await.unwrap();
        if number % 3 == 0 {
            storage.remove(ctx, &key).await.unwrap();
            storage.delete(ctx, &key, Expect::Any).await.unwrap();
        }
        if number % 50 == 0 {
            storage.acquire(ctx, &key, mark, Duration::from_secs(5)).await.unwrap();
        }
    }
}

/// How often a text stands in the files of a folder.
fn count(folder: &Path, text: &str) -> usize {
    let files = fs::read_dir(folder).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
    files.map(|bytes| bytes.windows(text.len()).filter(|window| *window == text.as_bytes()).count()).sum()
}

fn what_was_erased_is_in_no_file(folder: &Path) {
    block_on(async {
        let ctx = Context::new(&Runtime::current().unwrap());
        let other = ctx.with_tenant("other".parse().unwrap());
        let (storage, second) = (open(folder).await, open(folder).await);
        fill(&ctx, &storage, MARK).await;
        fill(&other, &second, "of somebody else").await;
        assert!(count(folder, MARK) > 1_000);
        let erased = storage.erase(&ctx).await.unwrap();
        assert_eq!((erased.keys, erased.streams, erased.leases), (200, 200, 6));
        // Nothing was closed: it holds of the database and of its write-ahead log as they are now.
        assert_eq!(count(folder, MARK), 0);
        assert_eq!(storage.streams(&other, "", None, 999).await.unwrap().len(), 200);
        assert_eq!(second.read(&other, "of somebody else/0001", 0, 9).await.unwrap().len(), 3);
        assert!(second.put(&ctx, "new", "value", Expect::Absent).await.unwrap() > 3);
    });
}

fn a_reader_that_stays_is_said(folder: &Path) {
    block_on(async {
        let ctx = Context::new(&Runtime::current().unwrap());
        let storage = open(folder).await;
        storage.put(&ctx, "key", MARK, Expect::Any).await.unwrap();
        let raw = rusqlite::Connection::open(folder.join("store.db")).unwrap();
        raw.execute_batch("BEGIN").unwrap();
        raw.query_row("SELECT count(*) FROM entries", [], |_| Ok(())).unwrap();
        let err = storage.erase(&ctx).await.unwrap_err();
        assert_eq!((err.kind(), err.retry()), (ErrorKind::Unavailable, Retry::Soon));
        assert!(err.get("left").unwrap().contains("the rows are gone"), "{err}");
        assert_eq!(storage.get(&ctx, "key").await.unwrap(), None);

        raw.execute_batch("COMMIT").unwrap();
        assert_eq!(storage.erase(&ctx).await.unwrap().keys, 0);
        assert_eq!(count(folder, MARK), 0);
    });
}
