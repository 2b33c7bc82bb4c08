//! What the SQLite file promises in numbers: records a second of 32 runs, beside SQLite alone, and bytes on disk.
#![expect(clippy::expect_used, reason = "a measurement that cannot run has nothing to say")]
#![expect(clippy::print_stdout, reason = "a measurement speaks by printing")]

#[path = "peers/twin/group_commit.rs"]
mod group_commit;

use std::{fs, path::Path, time::Instant};

use futures_util::future::join_all;
use raptorflow_benches::{
    bytes,
    flows::{self, MESSAGE},
};
use raptorflow_core::{
    Engine,
    runtime::{Context, Runtime},
    storage::{Append, Storage},
};
use serde_json::json;
use tempfile::TempDir;

/// Runs at once, and how many records each of them appends in a round.
const RUNS: u32 = 32;
const SYNCED: u32 = 400;
const BUFFERED: u32 = 4000;
/// As many bytes as the entry of a step has.
const RECORD: usize = 160;
const ROUNDS: usize = 5;
const MESSAGES: usize = 400;
const STEPS: usize = 100;

fn main() {
    let tokio = tokio::runtime::Runtime::new().expect("a Tokio runtime");
    let place = tempfile::tempdir().expect("a folder");
    let (mut sync, mut bare, mut ratios, mut buffered) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // All in turns, because a disk is not the same from one second to the next.
    for _ in 0..ROUNDS {
        let ours = tokio.block_on(appends(place.path(), "sync", SYNCED));
        let alone = group_commit::rate(&tokio, &place.path().join("bare.db"), RUNS, SYNCED);
        buffered.push(tokio.block_on(appends(place.path(), "buffered", BUFFERED)));
        ratios.push(alone / ours);
        sync.push(ours);
        bare.push(alone);
    }
    show("records/s of 32 runs, sync", &mut sync);
    show("records/s of 32 writers, SQLite alone with group commit", &mut bare);
    show("SQLite alone ÷ sync, in the same round", &mut ratios);
    show("records/s of 32 runs, buffered", &mut buffered);
    tokio.block_on(sizes());
}

fn show(what: &str, values: &mut [f64]) {
    values.sort_by(f64::total_cmp);
    let all: Vec<String> = values.iter().map(|value| format!("{value:.2}")).collect();
    let median = values.get(values.len() / 2).expect("a round");
    println!("{what}: {median:.2} (median of {})", all.join(", "));
}

/// Lets each run append to its own stream under its own lease, each record after the one before is acknowledged.
async fn appends(folder: &Path, durability: &str, records: u32) -> f64 {
    let file = folder.join(format!("{durability}.db"));
    let address = format!("sqlite:{}?durability={durability}", file.display());
    let storage = Storage::open(&address).await.expect("a store");
    let ctx = Context::new(&Runtime::current().expect("inside of Tokio"));
    storage.erase(&ctx).await.expect("an empty store");
    let record = bytes(RECORD);
    let mut grants = Vec::new();
    for run in 0..RUNS {
        let day = std::time::Duration::from_secs(86_400);
        let grant = storage.acquire(&ctx, &format!("run/{run}"), "owner", day).await;
        grants.push(grant.expect("a store").expect("a free lease"));
    }
    let start = Instant::now();
    let runs = grants.into_iter().map(|grant| {
        let (ctx, storage, record) = (ctx.clone(), storage.clone(), record.clone());
        tokio::spawn(async move {
            let stream = grant.fence.lease.clone();
            for number in 0..records {
                let mut append = Append::to(&stream);
                append.records = vec![record.clone().into()];
                append.expected = Some(u64::from(number));
                append.fence = Some(&grant.fence);
                storage.append(&ctx, append).await.expect("an append");
            }
        })
    });
    for run in join_all(runs).await {
        run.expect("a run that ends");
    }
    let seconds = start.elapsed().as_secs_f64();
    storage.close().await.expect("a store that closes");
    f64::from(RUNS * records) / seconds
}

async fn sizes() {
    let place = folder();
    let engine = engine(&place, flows::chat(MESSAGES)).await;
    engine.run("line", json!(null)).await.expect("a chat");
    let open = size(&place);
    engine.shutdown().await.expect("a rest");
    let content = MESSAGES * MESSAGE;
    println!(
        "a chat of {MESSAGES} messages of {MESSAGE} bytes, {content} bytes in all: {open} on disk with the log, {} after closing",
        size(&place)
    );

    let place = folder();
    engine_of_steps(&place).await.shutdown().await.expect("a rest");
    let empty = size(&place);
    let engine = engine_of_steps(&place).await;
    join_all((0..RUNS).map(|_| engine.run("line", json!(0)).into_future())).await;
    engine.shutdown().await.expect("a rest");
    let steps = STEPS * RUNS as usize;
    println!(
        "bytes on disk of a step whose output has at most 3: {:.0}",
        (size(&place) - empty) as f64 / steps as f64
    );
}

async fn engine_of_steps(place: &TempDir) -> Engine {
    engine(place, flows::linear(STEPS)).await
}

async fn engine(place: &TempDir, flow: raptorflow_core::Workflow) -> Engine {
    let address = format!("sqlite:{}", place.path().join("bench.db").display());
    let engine = Engine::builder().storage(address).build().await.expect("an engine");
    engine.register(flow).expect("a new name");
    engine
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Bytes of all files, without the one that is only shared memory.
fn size(place: &TempDir) -> u64 {
    let files = fs::read_dir(place.path()).expect("a folder").map(|entry| entry.expect("a file"));
    let files = files.filter(|file| !file.file_name().to_string_lossy().ends_with("-shm"));
    files.map(|file| file.metadata().expect("a file").len()).sum()
}
