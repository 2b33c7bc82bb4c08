//! MiniLM: sentences per second of CPU, one question, and how near the vectors are to the reference; printed.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]
#![expect(clippy::print_stdout, reason = "the numbers are what this program is for")]

use std::{env, fs, num::NonZero, path::Path};

use raptorflow_benches::{Bench, texts};
use raptorflow_core::rag::{Embedder as _, MiniLmConfig, MiniLmEmbedder};

/// Names the folder of the weights.
const FOLDER: &str = "RAPTORFLOW_MINILM";
/// Sentences with vectors that were computed in f64, where they lie beside the checkout.
const JUDGED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
const ROUNDS: usize = 5;
const QUESTIONS: usize = 200;

fn main() {
    let Ok(folder) = env::var(FOLDER) else { return println!("{FOLDER} names no folder of weights") };
    let (sentences, reference) = judged().unwrap_or_else(|| (texts(200, 60, 3), Vec::new()));
    let sentences: Vec<&str> = sentences.iter().map(String::as_str).collect();
    let questions = texts(QUESTIONS, 12, 4);
    let bench = Bench::new();
    let one = MiniLmConfig::default().with_threads(NonZero::<usize>::MIN);
    for (name, config) in [("f32", one.clone()), ("int8", one.int8())] {
        let embedder = MiniLmEmbedder::open_with(&folder, config).expect("the weights");
        let mut vectors = Vec::new();
        let before = cpu_seconds();
        for _ in 0..ROUNDS {
            vectors = bench.wait(embedder.embed_documents(&bench.ctx, &sentences)).expect("vectors");
        }
        let each = (ROUNDS * sentences.len()) as f64 / (cpu_seconds() - before);
        let before = cpu_seconds();
        for question in &questions {
            bench.wait(embedder.embed_query(&bench.ctx, question, &())).expect("a vector");
        }
        let question = (cpu_seconds() - before) / QUESTIONS as f64 * 1e3;
        let nearest = vectors.iter().zip(reference.chunks(embedder.dimension())).map(|(x, y)| cosine(x, y));
        println!(
            "{name}: {each:.1} sentences per CPU-second, {question:.2} ms of CPU for a question, lowest cosine {:.7}",
            nearest.fold(1.0, f64::min)
        );
    }
}

fn judged() -> Option<(Vec<String>, Vec<f64>)> {
    let texts: Vec<String> =
        serde_json::from_slice(&fs::read(Path::new(JUDGED).join("sent200.json")).ok()?).ok()?;
    let file = fs::read(Path::new(JUDGED).join("sent200_ref.npy")).ok()?;
    // Numbers of 32 bits stand at the end of the file.
    let numbers = file.get(file.len().checked_sub(texts.len() * 384 * 4)?..)?;
    Some((texts, numbers.as_chunks().0.iter().map(|x| f64::from(f32::from_le_bytes(*x))).collect()))
}

fn cosine(a: &[f32], b: &[f64]) -> f64 {
    let dot: f64 = a.iter().zip(b).map(|(x, y)| f64::from(*x) * y).sum();
    dot / b.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// What this process used of processors, in steps of a hundredth of a second; 0 where Linux does not tell.
fn cpu_seconds() -> f64 {
    let line = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = line.rsplit(')').next().unwrap_or_default();
    after.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>()
        / 100.0
}
