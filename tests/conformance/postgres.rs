//! What PostgreSQL promises beyond the contracts: restarts, lost answers, waiting, formats and damage.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use libtest_mimic::{Completion, Failed, Trial};
use raptorflow_core::{
    error::{Error, ErrorKind, Retry},
    runtime::{Context, Runtime, Tasks},
    storage::{Append, Expect, PostgresConfig, PostgresStore, Storage},
    testing::ManualClock,
};
use raptorflow_tests::{postgres::Server, proxy::Proxy};

use crate::backends::block_on;

/// Nothing here takes as long; a test that waits in vain says so instead of hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn trials(required: &str) -> Vec<Trial> {
    let must = required.split(',').any(|name| name.trim() == "postgres");
    let shared = |name: &str, test: fn(&'static Server)| {
        trial(&format!("postgres::{name}"), must, move || Server::shared().map(test))
    };
    vec![
        shared("a_waiter_hears_of_an_append_of_another_process", a_waiter_hears_of_another_process),
        shared("a_waiter_hears_of_an_append_of_its_own_process", a_waiter_hears_of_its_own_process),
        shared("a_waiter_does_not_ask_the_server_about_appends_of_its_own_process", a_waiter_does_not_ask),
        shared("a_commit_whose_answer_is_lost_is_not_done_twice", a_lost_answer_is_not_done_twice),
        shared("a_commit_that_cannot_be_asked_about_is_an_error_that_says_so", what_is_unknown_is_said),
        shared("a_writer_that_was_forgotten_goes_on", a_forgotten_writer_goes_on),
        shared("a_missing_record_is_corrupt", a_missing_record_is_corrupt),
        shared("a_newer_format_is_refused_with_both_versions", a_newer_format_is_refused_with_both_versions),
        shared("the_schema_of_another_program_is_refused_unchanged", another_program_is_refused_unchanged),
        shared("many_openings_of_one_new_schema_all_succeed", many_openings_all_succeed),
        shared("an_address_where_nobody_is_says_so", an_address_where_nobody_is_says_so),
        shared("a_wrong_password_is_an_error_without_it", a_wrong_password_is_an_error_without_it),
    ]
}

/// A test that is left out where there is no server.
pub(crate) fn trial(
    name: &str,
    must: bool,
    test: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || match test() {
        Ok(()) => Ok(Completion::Completed),
        Err(absent) if must => Err(Failed::from(format!("required, but absent: {absent}"))),
        Err(absent) => Ok(Completion::ignored_with(absent)),
    })
}

/// Runs a test that must end.
pub(crate) fn run(test: impl Future<Output = ()>) {
    block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("the test takes too long") });
}

fn context() -> Context {
    Context::new(&Runtime::current().unwrap())
}

/// A context in which no time passes.
fn timeless() -> Context {
    Context::new(&Runtime::new(Arc::new(ManualClock::new()), Tasks::current().unwrap()))
}

async fn open(address: &str) -> Storage {
    Storage::open(address).await.unwrap()
}

pub(crate) fn records<'a>(stream: &'a str, records: &[&'static str]) -> Append<'a> {
    Append { records: records.iter().map(|record| (*record).into()).collect(), ..Append::to(stream) }
}

fn a_waiter_hears_of_another_process(server: &'static Server) {
    run(async {
        let (ctx, address) = (timeless(), server.fresh());
        let (one, two) = (open(&address).await, open(&address).await);
        for length in 1..=20 {
            // No time passes, so only an append ends the wait.
            let wait = async {
                while one.length(&ctx, "stream").await.unwrap() < length {
                    one.grown(&ctx, "stream", length - 1, PATIENCE).await.unwrap();
                }
            };
            let append = async { two.append(&ctx, records("stream", &["record"])).await.unwrap() };
            let ((), appended) = tokio::join!(wait, append);
            assert_eq!(appended, length);
        }
    });
}

fn a_waiter_hears_of_its_own_process(server: &'static Server) {
    run(async {
        let (ctx, storage) = (timeless(), open(&server.fresh()).await);
        let wait = storage.grown(&ctx, "stream", 0, PATIENCE);
        let append = async { storage.append(&ctx, records("stream", &["record"])).await.unwrap() };
        let (grown, _) = tokio::join!(wait, append);
        grown.unwrap();
        // A stream that is longer already is not waited for.
        storage.grown(&ctx, "stream", 0, PATIENCE).await.unwrap();
    });
}

/// A store behind a proxy, and the schema it is in.
async fn behind(server: &Server, reconnect: Duration) -> (Proxy, Storage, String) {
    let (proxy, schema) = (Proxy::before(server.port()).await, server.schema());
    let options = format!("sslmode=disable&application_name={schema}");
    let address = format!("postgres://postgres@127.0.0.1:{}/postgres?{options}", proxy.port());
    let mut config = PostgresConfig::new(address).with_schema(&schema);
    config.reconnect = reconnect;
    let store = PostgresStore::open(&Runtime::current().unwrap(), config).await.unwrap();
    (proxy, Storage::from_store(Arc::new(store)), schema)
}

fn a_waiter_does_not_ask(server: &'static Server) {
    run(async {
        const ROUNDS: usize = 20;
        let ctx = timeless();
        let (proxy, storage, schema) = behind(server, PATIENCE).await;
        let length = AtomicU64::new(0);
        let round = async || {
            let (before, known) = (proxy.requests(), length.load(Ordering::SeqCst));
            let wait = storage.grown(&ctx, "stream", known, PATIENCE);
            let (grown, appended) = tokio::join!(wait, storage.append(&ctx, records("stream", &["record"])));
            grown.unwrap();
            length.store(appended.unwrap(), Ordering::SeqCst);
            proxy.requests() - before
        };
        // From here on each append costs a second request, a word to other processes.
        let listens = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{schema}' AND state = 'idle'
                 AND query LIKE '%pg_advisory_lock_shared%'"
        );
        while server.sql("public", &listens).unwrap() == "0" {
            round().await;
        }
        loop {
            let mut requests = 0;
            for _ in 0..ROUNDS {
                requests += round().await;
            }
            // The word of the round before may be late. A waiter that asks makes it three each.
            if requests <= 2 * ROUNDS + 2 {
                break;
            }
        }
    });
}

fn a_lost_answer_is_not_done_twice(server: &'static Server) {
    run(async {
        let ctx = context();
        let (proxy, storage, _) = behind(server, PATIENCE).await;
        storage.append(&ctx, records("stream", &["first"])).await.unwrap();
        for length in 2..=10 {
            // The request arrives, and the answer is swallowed with the connection.
            proxy.lose_the_next_answer();
            assert_eq!(storage.append(&ctx, records("stream", &["next"])).await.unwrap(), length);
        }
        assert_eq!(proxy.lost(), 9);
        let version = storage.put(&ctx, "key", "value", Expect::Absent).await.unwrap();
        proxy.lose_the_next_answer();
        // Done twice, the version would be another than the expected one.
        storage.put(&ctx, "key", "next", Expect::Version(version)).await.unwrap();
        assert_eq!(storage.read(&ctx, "stream", 0, 99).await.unwrap().len(), 10);
        storage.close().await.unwrap();
    });
}

fn what_is_unknown_is_said(server: &'static Server) {
    run(async {
        let ctx = context();
        let (proxy, storage, _) = behind(server, Duration::ZERO).await;
        storage.append(&ctx, records("stream", &["first"])).await.unwrap();
        proxy.lose_the_next_answer();
        let err = storage.append(&ctx, records("stream", &["second"])).await.unwrap_err();
        assert_eq!((err.kind(), err.retry()), (ErrorKind::Unavailable, Retry::Never));
        assert_eq!(err.get("outcome"), Some("unknown"));
        // It was done, and the next write follows it.
        assert_eq!(storage.append(&ctx, records("stream", &["third"])).await.unwrap(), 3);
    });
}

fn a_forgotten_writer_goes_on(server: &'static Server) {
    run(async {
        let (ctx, schema) = (context(), server.schema());
        let storage = open(&format!("{}&schema={schema}", server.address())).await;
        storage.append(&ctx, records("stream", &["first"])).await.unwrap();
        server.sql(&schema, "DELETE FROM writers").unwrap();
        assert_eq!(storage.append(&ctx, records("stream", &["second"])).await.unwrap(), 2);
        storage.close().await.unwrap();
        assert_eq!(server.sql(&schema, "SELECT count(*) FROM writers").unwrap(), "0");
    });
}

fn a_missing_record_is_corrupt(server: &'static Server) {
    run(async {
        let (ctx, schema) = (context(), server.schema());
        let storage = open(&format!("{}&schema={schema}", server.address())).await;
        storage.append(&ctx, records("stream", &["a", "b", "c", "d"])).await.unwrap();
        let missing = async |sequence: u64| {
            server.sql(&schema, &format!("DELETE FROM records WHERE sequence = {sequence}")).unwrap();
            let err = storage.read(&ctx, "stream", 0, 9).await.unwrap_err();
            assert_eq!(err.kind(), ErrorKind::Corrupt);
            assert_eq!(err.get("sequence"), Some(sequence.to_string().as_str()));
        };
        // The last one too, which only the length of the stream tells.
        missing(3).await;
        assert_eq!(storage.read(&ctx, "stream", 0, 3).await.unwrap().len(), 3);
        missing(1).await;
    });
}

async fn refused(address: &str) -> Error {
    Storage::open(address).await.unwrap_err()
}

fn a_newer_format_is_refused_with_both_versions(server: &'static Server) {
    run(async {
        let schema = server.schema();
        let address = format!("{}&schema={schema}", server.address());
        open(&address).await.close().await.unwrap();
        server.sql(&schema, "UPDATE raptorflow_format SET version = 2").unwrap();
        let err = refused(&address).await;
        assert_eq!(err.kind(), ErrorKind::Corrupt);
        assert_eq!((err.get("found"), err.get("supported")), (Some("2"), Some("1")));
    });
}

fn another_program_is_refused_unchanged(server: &'static Server) {
    run(async {
        let schema = server.schema();
        server.sql("public", &format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.theirs ()")).unwrap();
        let err = refused(&format!("{}&schema={schema}", server.address())).await;
        assert_eq!((err.kind(), err.get("schema")), (ErrorKind::InvalidInput, Some(schema.as_str())));
        let tables = format!("SELECT relname FROM pg_class WHERE relnamespace = '{schema}'::regnamespace");
        assert_eq!(server.sql("public", &tables).unwrap(), "theirs");
        // One that is there and empty is taken.
        let empty = server.schema();
        server.sql("public", &format!("CREATE SCHEMA {empty}")).unwrap();
        open(&format!("{}&schema={empty}", server.address())).await;
    });
}

fn many_openings_all_succeed(server: &'static Server) {
    run(async {
        let (ctx, address) = (context(), server.fresh());
        let storages = futures_util::future::join_all((0..8).map(|_| Storage::open(&address))).await;
        for storage in storages {
            storage.unwrap().put(&ctx, "key", "value", Expect::Any).await.unwrap();
        }
        assert_eq!(open(&address).await.get(&ctx, "key").await.unwrap().unwrap().value, "value");
    });
}

fn an_address_where_nobody_is_says_so(server: &'static Server) {
    run(async {
        let nobody = "postgres://app:hidden@127.0.0.1:1/app";
        let err = refused(nobody).await;
        assert_eq!((err.kind(), err.retry()), (ErrorKind::Unavailable, Retry::Soon));
        assert!(!format!("{err:#} {err:?}").contains("hidden"));
        let missing = server.address().replace("/postgres?", "/missing?");
        assert_eq!(refused(&missing).await.kind(), ErrorKind::NotFound);
        let nameless = format!("{}&user=nobody_of_this_name", server.address());
        assert_eq!(refused(&nameless).await.kind(), ErrorKind::Unauthenticated);
    });
}

fn a_wrong_password_is_an_error_without_it(server: &'static Server) {
    run(async {
        server
            .sql(
                "public",
                "CREATE ROLE locked LOGIN PASSWORD 'right'; GRANT CREATE ON DATABASE postgres TO locked",
            )
            .unwrap();
        let address = server.fresh().replace("postgres@", "locked:right@");
        open(&address).await.close().await.unwrap();
        let err = refused(&address.replace("right", "hidden")).await;
        assert_eq!((err.kind(), err.retry()), (ErrorKind::Unauthenticated, Retry::Never));
        assert!(!format!("{err:#} {err:?}").contains("hidden"));
    });
}
