//! The vector indexes: recall against the exact one, search, filtered search and adding.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot run has nothing to say"
)]

use std::{cell::Cell, collections::HashSet, sync::LazyLock};

use divan::{AllocProfiler, Bencher, black_box, counter::ItemsCount};
use raptorflow_benches::{Bench, clustered};
use raptorflow_core::rag::vector::{FlatIndex, HnswConfig, HnswIndex, Metric, VectorIndex, VectorQuery};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const DIMENSION: usize = 384;
/// Enough that the graph is worth its while; a build takes some seconds.
const VECTORS: usize = 20_000;
const QUERIES: usize = 200;
const K: usize = 10;
/// How many candidates the graph weighs.
const EFFORTS: [usize; 4] = [16, 64, 128, 256];

static DATA: LazyLock<Vec<(u64, Vec<f32>)>> = LazyLock::new(|| {
    let count = if measured() { VECTORS } else { 300 };
    clustered(count, DIMENSION, 7)
});
static ASKED: LazyLock<Vec<(u64, Vec<f32>)>> = LazyLock::new(|| clustered(QUERIES, DIMENSION, 8));
static FLAT: LazyLock<FlatIndex> = LazyLock::new(|| {
    let index = FlatIndex::new(DIMENSION, Metric::Cosine).expect("an index");
    fill(&index);
    index
});
static HNSW: LazyLock<HnswIndex> = LazyLock::new(|| {
    let index = graph();
    fill(&index);
    index
});

fn main() {
    if measured() {
        print_recall();
    }
    divan::main();
}

/// Whether to measure; `cargo test` only checks that the benchmarks run.
fn measured() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// A graph that is walked however few vectors it has.
fn graph() -> HnswIndex {
    let mut config = HnswConfig::default();
    config.exact_below = 0;
    HnswIndex::new(DIMENSION, Metric::Cosine, config).expect("an index")
}

fn fill(index: &dyn VectorIndex) {
    let bench = Bench::new();
    let items: Vec<(u64, &[f32])> = DATA.iter().map(|(key, vector)| (*key, vector.as_slice())).collect();
    bench.wait(index.put(&bench.ctx, &items)).expect("a put");
}

fn keys(bench: &Bench, index: &dyn VectorIndex, query: VectorQuery<'_>) -> Vec<u64> {
    let found = bench.wait(index.search(&bench.ctx, query)).expect("a search");
    found.into_iter().map(|scored| scored.key).collect()
}

fn print_recall() {
    let bench = Bench::new();
    for effort in EFFORTS {
        let mut found = 0;
        for (_, vector) in ASKED.iter() {
            let truth: HashSet<u64> = keys(&bench, &*FLAT, VectorQuery::new(vector, K)).into_iter().collect();
            let query = VectorQuery { effort: Some(effort), ..VectorQuery::new(vector, K) };
            found += keys(&bench, &*HNSW, query).iter().filter(|key| truth.contains(key)).count();
        }
        println!("hnsw effort {effort}: recall@{K} {:.4}", found as f64 / (QUERIES * K) as f64);
    }
}

/// Each query in turn.
fn each_query(bencher: Bencher<'_, '_>, index: &dyn VectorIndex, change: impl Fn(&mut VectorQuery<'_>)) {
    let (bench, next) = (Bench::new(), Cell::new(0));
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        let (_, vector) = ASKED.get(next.replace((next.get() + 1) % QUERIES)).expect("a query");
        let mut query = VectorQuery::new(black_box(vector), K);
        change(&mut query);
        bench.now(index.search(&bench.ctx, query)).expect("a search")
    });
}

#[divan::bench]
fn search_flat(bencher: Bencher<'_, '_>) {
    each_query(bencher, &*FLAT, |_| {});
}

#[divan::bench(args = EFFORTS)]
fn search_hnsw(bencher: Bencher<'_, '_>, effort: usize) {
    each_query(bencher, &*HNSW, |query| query.effort = Some(effort));
}

/// One key in so many is allowed.
#[divan::bench(args = [2_u64, 10, 100])]
fn search_flat_filtered(bencher: Bencher<'_, '_>, step: u64) {
    each_filtered(bencher, &*FLAT, step);
}

#[divan::bench(args = [2_u64, 10, 100])]
fn search_hnsw_filtered(bencher: Bencher<'_, '_>, step: u64) {
    each_filtered(bencher, &*HNSW, step);
}

fn each_filtered(bencher: Bencher<'_, '_>, index: &dyn VectorIndex, step: u64) {
    let (bench, next) = (Bench::new(), Cell::new(0));
    let allows = move |key: u64| key.is_multiple_of(step);
    bencher.bench_local(|| {
        let (_, vector) = ASKED.get(next.replace((next.get() + 1) % QUERIES)).expect("a query");
        let query = VectorQuery { filter: Some(&allows), ..VectorQuery::new(black_box(vector), K) };
        bench.now(index.search(&bench.ctx, query)).expect("a search")
    });
}

/// One more vector, or one in another place once all are in.
#[divan::bench]
fn put_hnsw(bencher: Bencher<'_, '_>) {
    let (bench, index, next) = (Bench::new(), graph(), Cell::new(0));
    bencher.bench_local(|| {
        let (key, vector) = DATA.get(next.replace((next.get() + 1) % DATA.len())).expect("a vector");
        bench.now(index.put(&bench.ctx, &[(*key, vector)])).expect("a put");
    });
}

#[divan::bench]
fn save_hnsw(bencher: Bencher<'_, '_>) {
    let (bench, folder) = (Bench::new(), tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("index");
    bencher.bench_local(|| bench.wait(HNSW.save(&bench.ctx, &path)).expect("a save"));
}

#[divan::bench]
fn open_hnsw(bencher: Bencher<'_, '_>) {
    let (bench, folder) = (Bench::new(), tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("index");
    bench.wait(HNSW.save(&bench.ctx, &path)).expect("a save");
    bencher
        .bench_local(|| bench.wait(HnswIndex::builder(DIMENSION).open(&bench.ctx, &path)).expect("an index"));
}
