//! What only the inside of the writer shows: a full disk, a busy file and jobs that fail next to jobs that do not.

use std::time::Duration;

use rusqlite::Connection;

use super::{Durability, SqliteConfig, SqliteStore};
use crate::{
    error::{Error, ErrorKind, Retry},
    runtime::{Context, Runtime},
    storage::{Append, Expect, KeyValue, Log as _},
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_writes_while_the_store_closes_is_answered() {
    let place = Place::new();
    for _ in 0..40 {
        let store = place.open(place.config()).await;
        let writers: Vec<_> = (0..16)
            .map(|_| {
                let (store, ctx) = (store.clone(), place.ctx.clone());
                tokio::spawn(async move {
                    loop {
                        if let Err(err) = store.append(&ctx, records(&["a"])).await {
                            return err;
                        }
                    }
                })
            })
            .collect();
        for _ in 0..8 {
            store.append(&place.ctx, records(&["b"])).await.unwrap();
        }
        store.shut().await.unwrap();
        let refused = futures_util::future::join_all(writers);
        tokio::select! {
            refused = refused => for err in refused {
                assert_eq!(err.unwrap().message(), "the store is closed; open it again");
            },
            () = place.runtime.clock().sleep(Duration::from_secs(60)) => panic!("a write was forgotten"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_write_waits_for_ever_when_others_are_given_up() {
    let place = Place::new();
    let store = place.open(place.config()).await;
    let writers = (0..16).map(|number| {
        let (store, ctx) = (store.clone(), place.ctx.clone());
        tokio::spawn(async move {
            for round in 0..300 {
                let write = std::pin::pin!(store.append(&ctx, records(&["a"])));
                // Every other one is polled some times and dropped, wherever it is by then.
                let patience = if number % 2 == 0 { usize::MAX } else { round % 5 };
                let mut polls = 0;
                tokio::select! {
                    biased;
                    written = write => { written.unwrap(); }
                    () = std::future::poll_fn(|poll| {
                        polls += 1;
                        if polls > patience {
                            return std::task::Poll::Ready(());
                        }
                        if patience < usize::MAX {
                            poll.waker().wake_by_ref();
                        }
                        std::task::Poll::Pending
                    }) => {}
                }
            }
        })
    });
    let writers = futures_util::future::join_all(writers);
    tokio::select! {
        done = writers => assert!(done.into_iter().all(|writer| writer.is_ok())),
        () = place.runtime.clock().sleep(Duration::from_secs(60)) => panic!("a write was forgotten"),
    }
}

#[tokio::test]
async fn a_log_that_is_copied_beside_the_writes_begins_anew_and_loses_none() {
    // Many times what the log may have between two looks at it: 1,000 pages, and what 64 commits add.
    const WRITES: u64 = 800;
    let place = Place::new();
    let store = place.open(place.config().with_durability(Durability::Buffered)).await;
    let log = place.folder.path().join("store.db-wal");
    let mut large = records(&[]);
    large.records = vec![vec![7; 32 << 10].into()];
    for _ in 0..WRITES {
        store.append(&place.ctx, large.clone()).await.unwrap();
    }
    // The first is answered before the thread sees to the log, the second is behind that.
    for _ in 0..2 {
        store.writer().submit("test", |_| Ok(())).await.unwrap();
    }
    store.append(&place.ctx, records(&["last"])).await.unwrap();
    let (length, written) = (std::fs::metadata(&log).unwrap().len(), WRITES * (32 << 10));
    assert!(length < written / 2, "the log has {length} of {written} bytes");
    assert_eq!(store.length(&place.ctx, "stream").await.unwrap(), WRITES + 1);

    KeyValue::close(&store).await.unwrap();
    assert!(!log.exists(), "the last connection is the one that copies the rest");
    let again = place.open(place.config()).await;
    let kept = again.read(&place.ctx, "stream", 0, usize::MAX).await.unwrap();
    assert_eq!(kept.len() as u64, WRITES + 1);
    assert!(kept[..kept.len() - 1].iter().all(|record| record.data == large.records[0]));
}
