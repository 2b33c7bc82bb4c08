//! The main job: the council of `packs/council` on `docs/`, offline; wall time and the process's peak of memory.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]
#![expect(clippy::print_stdout, reason = "the numbers are what this program is for")]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use raptorflow_benches::Bench;
use raptorflow_core::{
    Engine, KnowledgeBase, Result,
    orchestrator::Report,
    pack::Pack,
    rag::{HashingEmbedder, LoadLimits, load_folder},
    runtime::{Context, Runtime},
};

/// How often the job is done; the first time is printed apart.
const ROUNDS: usize = 9;
const GOAL: &str = "Plan the launch: its scope, what is known, the schedule, the quality bar, trends, conflicts \
    between goals, and the announcement.";

fn main() {
    let bench = Bench::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the checkout");
    let mut times: Vec<Duration> = Vec::new();
    let mut claims = 0;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        claims = bench.wait(job(root)).expect("a report");
        times.push(start.elapsed());
    }
    let first = times.first().copied().unwrap_or_default();
    times.sort();
    let median = times.get(ROUNDS / 2).copied().unwrap_or_default();
    println!("council on docs/: {claims} claims, first {first:.1?}, median of {ROUNDS} {median:.1?}");
    match peak() {
        Some(kib) => println!("peak resident memory: {} MiB", kib / 1024),
        None => println!("peak resident memory: not told by this system"),
    }
}

/// Reads the documents, indexes them, asks the council, and counts what it claims.
async fn job(root: &Path) -> Result<usize> {
    let ctx = Context::new(&Runtime::current()?);
    let loaded = load_folder(&ctx, root.join("docs"), LoadLimits::default()).await?;
    let kb = KnowledgeBase::in_memory(HashingEmbedder::default()).await?;
    kb.add(loaded.documents).await?;
    let engine = Engine::builder().default_model("offline:extractive").knowledge(kb).build().await?;
    engine.install(&Pack::load(root.join("packs/council"))?)?;
    let outcome = engine.run("council", GOAL).await?;
    let report: Report = serde_json::from_value(outcome.output).expect("a report");
    Ok(report.sections.iter().map(|section| section.claims.len()).sum())
}

/// The peak of resident memory in KiB, where Linux tells it.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
