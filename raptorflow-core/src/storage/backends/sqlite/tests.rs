//! What only the inside of the writer shows: a full disk, a busy file and jobs that fail next to jobs that do not.

use std::time::Duration;

use rusqlite::Connection;

use super::{Durability, SqliteConfig, SqliteStore};
use crate::{
    error::{Error, ErrorKind, Retry},
    runtime::{Context, Runtime},
    storage::{Append, Expect, KeyValue as _, Log as _},
};

struct Place {
    folder: tempfile::TempDir,
    runtime: Runtime,
    ctx: Context,
}

impl Place {
    fn new() -> Self {
        let runtime = Runtime::current().unwrap();
        Self { folder: tempfile::tempdir().unwrap(), ctx: Context::new(&runtime), runtime }
    }

    fn config(&self) -> SqliteConfig {
        SqliteConfig::new(self.folder.path().join("store.db")).with_durability(Durability::None)
    }

    async fn open(&self, config: SqliteConfig) -> SqliteStore {
        SqliteStore::open(&self.runtime, config).await.unwrap()
    }

    fn raw(&self) -> Connection {
        Connection::open(self.config().path).unwrap()
    }
}

fn records(records: &[&'static str]) -> Append<'static> {
    let mut append = Append::to("stream");
    append.records = records.iter().map(|text| (*text).into()).collect();
    append
}

#[tokio::test]
async fn a_full_disk_fails_with_what_to_do_and_the_store_goes_on_when_there_is_space() {
    let place = Place::new();
    let store = place.open(place.config()).await;
    store.append(&place.ctx, records(&["before"])).await.unwrap();
    let limit = |pages: u32| {
        store.writer().submit("test", move |tables| {
            let pragma =
                tables.connection().pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()));
            pragma.map_err(|err| Error::new(ErrorKind::Internal, "test", "pragma").caused_by(err))
        })
    };
    limit(1).await.unwrap();

    let mut big = records(&[]);
    big.records = vec![vec![7; 1 << 20].into()];
    let err = store.append(&place.ctx, big.clone()).await.unwrap_err();
    assert_eq!((err.kind(), err.retry()), (ErrorKind::Unavailable, Retry::Soon));
    assert!(err.message().contains("disk is full"), "{err}");
    assert_eq!(store.length(&place.ctx, "stream").await.unwrap(), 1);

    limit(1 << 20).await.unwrap();
    assert_eq!(store.append(&place.ctx, big).await.unwrap(), 2);
}

#[tokio::test]
async fn jobs_of_one_commit_fail_apart_from_each_other() {
    let place = Place::new();
    let store = place.open(place.config()).await;
    // While somebody else writes, everything queues up behind the first and lands in one commit.
    let raw = place.raw();
    raw.execute_batch("BEGIN IMMEDIATE").unwrap();
    let tenants =
        [place.ctx.with_tenant("one".parse().unwrap()), place.ctx.with_tenant("two".parse().unwrap())];
    let mut calls = Vec::new();
    for round in 0..20_u64 {
        for ctx in &tenants {
            let (store, ctx) = (store.clone(), ctx.clone());
            let mut append = records(&["a", "b"]);
            // Every second one expects a length that the stream cannot have.
            append.expected = (round % 2 == 0).then_some(u64::MAX);
            calls.push(tokio::spawn(async move { store.append(&ctx, append).await }));
        }
    }
    tokio::task::yield_now().await;
    raw.execute_batch("COMMIT").unwrap();
    let mut conflicts = 0;
    for call in calls {
        if let Err(err) = call.await.unwrap() {
            assert_eq!(err.kind(), ErrorKind::Conflict);
            conflicts += 1;
        }
    }
    assert_eq!(conflicts, 20);
    for ctx in &tenants {
        assert_eq!(store.length(ctx, "stream").await.unwrap(), 20);
    }
}

#[tokio::test]
async fn a_file_that_somebody_else_holds_is_unavailable_for_now() {
    let place = Place::new();
    let store = place.open(SqliteConfig { busy_timeout: Duration::ZERO, ..place.config() }).await;
    let raw = place.raw();
    raw.execute_batch("BEGIN IMMEDIATE").unwrap();
    let put = || store.put(&place.ctx, "key", "value".into(), Expect::Any);
    let err = put().await.unwrap_err();
    assert_eq!((err.kind(), err.retry()), (ErrorKind::Unavailable, Retry::Soon));
    raw.execute_batch("COMMIT").unwrap();
    assert_eq!(put().await.unwrap(), 1);
}

#[tokio::test]
async fn after_close_every_call_says_so_and_a_second_close_does_nothing() {
    let place = Place::new();
    let store = place.open(place.config()).await;
    store.append(&place.ctx, records(&["a"])).await.unwrap();
    store.shut().await.unwrap();
    store.shut().await.unwrap();
    for err in [
        store.append(&place.ctx, records(&["b"])).await.unwrap_err(),
        store.length(&place.ctx, "stream").await.unwrap_err(),
    ] {
        assert_eq!(
            (err.kind(), err.message()),
            (ErrorKind::Unavailable, "the store is closed; open it again")
        );
    }
}
