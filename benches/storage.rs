//! The backends of storage: put, get and scan of keys, and appends to a log, one by one and together.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]

use std::{cell::Cell, env, process};

use divan::{
    AllocProfiler, Bencher, black_box,
    counter::{BytesCount, ItemsCount},
};
use futures_util::future::join_all;
use raptorflow_benches::{Bench, bytes};
use raptorflow_core::storage::{Append, Expect, Scan, Storage};
use tempfile::TempDir;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// The address of a PostgreSQL database to measure as well; it gets a schema of this process.
const POSTGRES: &str = "RAPTORFLOW_BENCH_POSTGRES";
/// A small record, as of a step.
const RECORD: usize = 256;
/// How many keys a scan reads, and how many appends wait together.
const MANY: usize = 1000;
const TOGETHER: usize = 32;

fn main() {
    divan::main();
}

/// Memory, a file with each promise about a loss of power, of which `sync` is the default, and what the machine has.
fn backends() -> Vec<&'static str> {
    let mut backends = vec!["memory", "sqlite-sync", "sqlite-buffered"];
    if env::var_os(POSTGRES).is_some() {
        backends.push("postgres");
    }
    backends
}

/// A store in a folder that goes with it.
struct Store {
    bench: Bench,
    storage: Storage,
    _folder: TempDir,
}

impl Store {
    fn open(backend: &str) -> Self {
        let bench = Bench::new();
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bench.db");
        let uri = match backend {
            "memory" => "memory:".to_owned(),
            "postgres" => {
                let address = env::var(POSTGRES).expect("an address");
                let sign = if address.contains('?') { '&' } else { '?' };
                format!("{address}{sign}schema=bench_{}", process::id())
            }
            "sqlite-sync" => format!("sqlite:{}", file.display()),
            _ => format!("sqlite:{}?durability=buffered", file.display()),
        };
        let storage = bench.wait(Storage::open(&uri)).expect("a usable store");
        Self { bench, storage, _folder: folder }
    }

    fn with_keys(backend: &str) -> Self {
        let store = Self::open(backend);
        for index in 0..MANY {
            let key = format!("key/{index:06}");
            let put = store.storage.put(&store.bench.ctx, &key, bytes(RECORD), Expect::Any);
            store.bench.wait(put).expect("a put");
        }
        store
    }
}

#[divan::bench(args = backends())]
fn put(bencher: Bencher<'_, '_>, backend: &str) {
    let (store, value, next) = (Store::open(backend), bytes(RECORD), Cell::new(0_u64));
    bencher.counter(BytesCount::new(RECORD)).bench_local(|| {
        let key = format!("key/{}", next.replace(next.get() + 1));
        store
            .bench
            .wait(store.storage.put(&store.bench.ctx, &key, value.clone(), Expect::Any))
            .expect("a put")
    });
}

#[divan::bench(args = backends())]
fn get(bencher: Bencher<'_, '_>, backend: &str) {
    let store = Store::with_keys(backend);
    bencher.bench_local(|| {
        store.bench.wait(store.storage.get(&store.bench.ctx, black_box("key/000500"))).expect("a get")
    });
}

#[divan::bench(args = backends())]
fn scan(bencher: Bencher<'_, '_>, backend: &str) {
    let store = Store::with_keys(backend);
    let all = Scan { prefix: "key/", after: None, limit: MANY };
    bencher.counter(ItemsCount::new(MANY)).bench_local(|| {
        store.bench.wait(store.storage.scan(&store.bench.ctx, black_box(all))).expect("a scan")
    });
}

#[divan::bench(args = backends())]
fn append(bencher: Bencher<'_, '_>, backend: &str) {
    let (store, record) = (Store::open(backend), bytes(RECORD));
    bencher.counter(BytesCount::new(RECORD)).bench_local(|| {
        let append = Append { records: vec![record.clone().into()], ..Append::to("stream") };
        store.bench.wait(store.storage.append(&store.bench.ctx, append)).expect("an append")
    });
}

#[divan::bench(args = backends())]
fn append_together(bencher: Bencher<'_, '_>, backend: &str) {
    let (store, record) = (Store::open(backend), bytes(RECORD));
    let streams: Vec<String> = (0..TOGETHER).map(|index| format!("stream/{index}")).collect();
    bencher.counter(ItemsCount::new(TOGETHER)).bench_local(|| {
        let appends = streams.iter().map(|stream| {
            let append = Append { records: vec![record.clone().into()], ..Append::to(stream) };
            store.storage.append(&store.bench.ctx, append)
        });
        store.bench.wait(join_all(appends))
    });
}
