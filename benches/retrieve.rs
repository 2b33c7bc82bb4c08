//! The knowledge base: ingest, search per mode and cited context; and its quality on corpora beside the checkout.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot run has nothing to say"
)]

use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use divan::{AllocProfiler, Bencher, black_box, counter::ItemsCount};
use raptorflow_benches::{Bench, texts};
use raptorflow_core::rag::{Document, HashingEmbedder, KnowledgeBase, Mode};
use serde_json::Value;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const DOCUMENTS: usize = 2_000;
const WORDS: usize = 120;
const MODES: [Mode; 3] = [Mode::Lexical, Mode::Dense, Mode::Hybrid];
/// Folders with `corpus.jsonl`, `queries.jsonl` and `qrels.tsv` (query, document, grade).
const JUDGED: [&str; 3] = ["cranfield", "cacm", "scifact"];

fn main() {
    // `cargo test` only checks that the benchmarks run.
    if std::env::args().any(|argument| argument == "--bench") {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
        for name in JUDGED {
            let folder = data.join(name);
            if folder.is_dir() {
                print_quality(name, &folder);
            } else {
                println!("{name}: skipped, {} is absent", folder.display());
            }
        }
    }
    divan::main();
}

fn filled(bench: &Bench, documents: impl IntoIterator<Item = Document>) -> KnowledgeBase {
    let documents: Vec<Document> = documents.into_iter().collect();
    bench.wait(async {
        let kb = KnowledgeBase::in_memory(HashingEmbedder::default()).await.expect("a knowledge base");
        kb.add(documents).await.expect("an ingest");
        kb
    })
}

fn synthetic() -> impl Iterator<Item = Document> {
    texts(DOCUMENTS, WORDS, 7).into_iter().zip(0_u32..).map(|(text, id)| Document::new(id.to_string(), text))
}

#[divan::bench(sample_count = 10)]
fn ingest(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    bencher.counter(ItemsCount::new(DOCUMENTS)).bench_local(|| filled(&bench, synthetic()));
}

#[divan::bench(args = MODES)]
fn search(bencher: Bencher<'_, '_>, mode: Mode) {
    let bench = Bench::new();
    let (kb, asked, next) = (filled(&bench, synthetic()), texts(200, 4, 8), Cell::new(0));
    bencher.bench_local(|| {
        let query = asked.get(next.replace((next.get() + 1) % asked.len())).expect("a query");
        bench.wait(async { kb.search(black_box(query)).mode(mode).await }).expect("a search")
    });
}

#[divan::bench]
fn context(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    let (kb, asked, next) = (filled(&bench, synthetic()), texts(200, 4, 8), Cell::new(0));
    bencher.bench_local(|| {
        let query = asked.get(next.replace((next.get() + 1) % asked.len())).expect("a query");
        bench.wait(kb.context(black_box(query), 2000)).expect("a context")
    });
}

fn lines(folder: &Path, file: &str) -> Vec<String> {
    let path: PathBuf = folder.join(file);
    fs::read_to_string(path).expect("a readable file").lines().map(str::to_owned).collect()
}

fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn parsed(folder: &Path, file: &str) -> Vec<Value> {
    lines(folder, file).iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn document(value: &Value) -> Document {
    // Some entries have a title alone.
    let (title, text) = (field(value, "title"), field(value, "text"));
    let whole = if text.trim().is_empty() { title } else { text };
    let title = (!title.is_empty()).then(|| title.to_owned());
    Document { title, ..Document::new(field(value, "_id"), whole) }
}

/// By query: the grades of its judged documents.
fn grades(folder: &Path) -> HashMap<String, HashMap<String, f64>> {
    let mut grades: HashMap<String, HashMap<String, f64>> = HashMap::new();
    for line in lines(folder, "qrels.tsv") {
        let mut columns = line.split('\t');
        let (Some(query), Some(document), Some(Ok(grade))) =
            (columns.next(), columns.next(), columns.next().map(str::parse))
        else {
            continue;
        };
        grades.entry(query.to_owned()).or_default().insert(document.to_owned(), grade);
    }
    grades
}

/// Prints the mean nDCG of the first ten documents per mode.
fn print_quality(name: &str, folder: &Path) {
    let bench = Bench::new();
    let kb = filled(&bench, parsed(folder, "corpus.jsonl").iter().map(document));
    let (queries, judged) = (parsed(folder, "queries.jsonl"), grades(folder));
    for mode in MODES {
        let (mut sum, mut count) = (0.0, 0.0);
        for query in &queries {
            let Some(wanted) = judged.get(field(query, "_id")) else { continue };
            let search = kb.search(field(query, "text")).mode(mode).k(50);
            let hits = bench.wait(async { search.await }).expect("a search");
            let mut seen = HashSet::new();
            let ranked = hits.iter().map(|hit| &*hit.document).filter(|id| seen.insert(*id)).take(10);
            let gained = gain(ranked.map(|id| wanted.get(id).copied().unwrap_or(0.0)));
            let mut best: Vec<f64> = wanted.values().copied().collect();
            best.sort_by(|a, b| b.total_cmp(a));
            let ideal = gain(best.into_iter().take(10));
            if ideal > 0.0 {
                (sum, count) = (sum + gained / ideal, count + 1.0);
            }
        }
        println!("{name} {mode:?}: nDCG@10 {:.4} over {count} queries", sum / count);
    }
}

fn gain(grades: impl Iterator<Item = f64>) -> f64 {
    grades.zip(2_u32..).map(|(grade, rank)| grade / f64::from(rank).log2()).sum()
}
