//! The lexical index: adding, replacing and searching texts, and the analyzer alone.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]

use std::{cell::Cell, sync::LazyLock};

use divan::{
    AllocProfiler, Bencher, black_box,
    counter::{BytesCount, ItemsCount},
};
use raptorflow_benches::{Bench, texts};
use raptorflow_core::rag::lexical::{Analyzer, InvertedIndex, LexicalIndex, LexicalQuery, StandardAnalyzer};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const TEXTS: usize = 20_000;
/// About as many words as a chunk has.
const WORDS: usize = 120;
const K: usize = 100;

static CORPUS: LazyLock<Vec<String>> = LazyLock::new(|| texts(TEXTS, WORDS, 7));
static ASKED: LazyLock<Vec<String>> = LazyLock::new(|| texts(200, 4, 8));

fn main() {
    divan::main();
}

fn filled(bench: &Bench) -> InvertedIndex {
    let index = InvertedIndex::default();
    let items: Vec<(u64, &str)> = (0..).zip(CORPUS.iter().map(String::as_str)).collect();
    bench.wait(index.put(&bench.ctx, &items)).expect("a put");
    index
}

#[divan::bench]
fn analyze(bencher: Bencher<'_, '_>) {
    let (analyzer, text) = (StandardAnalyzer::default(), CORPUS.first().expect("a text"));
    bencher.counter(BytesCount::of_str(text.as_str())).bench_local(|| {
        let mut terms = 0;
        analyzer.analyze(black_box(text), &mut |_| terms += 1);
        terms
    });
}

#[divan::bench]
fn put(bencher: Bencher<'_, '_>) {
    let (bench, index, next) = (Bench::new(), InvertedIndex::default(), Cell::new(0));
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        let key = next.replace((next.get() + 1) % TEXTS);
        let text = CORPUS.get(key).expect("a text");
        bench.now(index.put(&bench.ctx, &[(key as u64, text)])).expect("a put");
    });
}

#[divan::bench]
fn replace_among_many(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    let (index, next) = (filled(&bench), Cell::new(0));
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        let key = next.replace((next.get() + 7) % TEXTS);
        let text = CORPUS.get(key).expect("a text");
        bench.now(index.put(&bench.ctx, &[(key as u64, text)])).expect("a put");
    });
}

#[divan::bench]
fn search(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    let (index, next) = (filled(&bench), Cell::new(0));
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        let text = ASKED.get(next.replace((next.get() + 1) % ASKED.len())).expect("a query");
        let query = LexicalQuery { text: black_box(text), k: K, filter: None };
        bench.now(index.search(&bench.ctx, query)).expect("a search")
    });
}
