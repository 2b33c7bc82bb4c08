//! The knowledge graph: reading passages, and a query spread over 6,000 of them.

use std::{cell::Cell, sync::LazyLock};

use divan::{AllocProfiler, Bencher, black_box, counter::ItemsCount};
use raptorflow_core::rag::{
    graph::{KnowledgeGraph, Passage},
    vector::Scored,
};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const PASSAGES: u64 = 6_000;
/// How many names a passage mentions besides its title; texts of encyclopedias have about as many.
const NAMES: u64 = 6;
const LETTERS: [&str; 16] =
    ["ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe", "ri", "so", "tu", "va"];

static TEXTS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let mut random = fastrand::Rng::with_seed(7);
    let text = |id: u64| {
        // Squares, so that some names stand in many passages and most in few.
        let mut mentioned = || name((random.f64().powi(2) * PASSAGES as f64) as u64);
        let names: Vec<String> = (0..NAMES).map(|_| mentioned()).collect();
        (name(id), format!("It was made with {} in a year.", names.join(" and then by ")))
    };
    (0..PASSAGES).map(text).collect()
});

fn main() {
    divan::main();
}

/// Two capitalized words for a number.
fn name(id: u64) -> String {
    let word = |number: u64| {
        let syllables: String = (0..3)
            .map(|at| LETTERS.get((number >> (4 * at) & 15) as usize).copied().unwrap_or_default())
            .collect();
        syllables
            .chars()
            .take(1)
            .flat_map(char::to_uppercase)
            .chain(syllables.chars().skip(1))
            .collect::<String>()
    };
    format!("{} {}", word(id), word(id.wrapping_mul(2_654_435_761) >> 8))
}

fn filled() -> KnowledgeGraph {
    let mut graph = KnowledgeGraph::new();
    for ((title, text), key) in TEXTS.iter().zip(0..) {
        graph.put(&Passage { key, document: "d".into(), title: Some(title), headings: &[], text });
    }
    graph
}

#[divan::bench(sample_count = 10)]
fn read(bencher: Bencher<'_, '_>) {
    LazyLock::force(&TEXTS);
    bencher.counter(ItemsCount::new(PASSAGES)).bench_local(filled);
}

#[divan::bench]
fn query(bencher: Bencher<'_, '_>) {
    let (graph, next) = (filled(), Cell::new(0));
    bencher.bench_local(|| {
        let id = next.replace((next.get() + 37) % PASSAGES);
        let query = format!("Who worked with the maker of {}?", name(id));
        let list: Vec<Scored> =
            (0..200).map(|n| Scored { key: (id + n * 29) % PASSAGES, score: 200.0 - n as f32 }).collect();
        black_box(graph.propagate(black_box(&query), &list))
    });
}

#[divan::bench(sample_count = 5)]
fn communities(bencher: Bencher<'_, '_>) {
    let graph = filled();
    bencher.bench_local(|| graph.communities());
}
