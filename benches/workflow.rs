//! Workflows: a step, a task of a fan-out, a question and its answer, recorded steps on disk, a long run that resumes.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]
#![expect(clippy::print_stdout, reason = "bytes are printed beside what divan prints")]

use std::path::Path;

use divan::{AllocProfiler, Bencher, black_box, counter::ItemsCount};
use futures_util::future::join_all;
use raptorflow_benches::{Bench, flows};
use raptorflow_core::{Engine, Error, ErrorKind, Workflow, types::RunId, workflow::function};
use serde_json::{Value, json};
use tempfile::TempDir;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const STEPS: usize = 100;
const TASKS: usize = 1000;
/// Runs at once.
const RUNS: usize = 32;
/// Entries of a long run.
const ENTRIES: usize = 10_000;
const DURABILITY: [&str; 2] = ["sync", "buffered"];

fn main() {
    bytes_of_a_step();
    divan::main();
}

fn memory(bench: &Bench, flow: Workflow) -> Engine {
    bench.wait(async {
        let engine = Engine::builder().build().await.expect("an engine");
        engine.register(flow).expect("a new name");
        engine
    })
}

/// An engine on a file in a folder.
async fn on_disk(folder: &Path, durability: &str, flow: Workflow) -> Engine {
    let address = format!("sqlite:{}?durability={durability}", folder.join("bench.db").display());
    let engine = Engine::builder().storage(address).build().await.expect("an engine");
    engine.register(flow).expect("a new name");
    engine
}

#[divan::bench]
fn step_in_a_line(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    let engine = memory(&bench, flows::linear(STEPS));
    bencher.counter(ItemsCount::new(STEPS)).bench_local(|| {
        bench.wait(async { engine.run(black_box("line"), json!(0)).await.expect("an output") })
    });
}

#[divan::bench]
fn task_of_a_fan_out(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    let engine = memory(&bench, flows::fan_out(TASKS));
    let items: Value = (0..TASKS).collect();
    bencher
        .counter(ItemsCount::new(TASKS))
        .bench_local(|| bench.wait(async { engine.run("fan-out", items.clone()).await.expect("an output") }));
}

#[divan::bench]
fn question_and_answer(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    let engine = memory(&bench, flows::ask());
    bencher.bench_local(|| {
        bench.wait(async {
            let run = engine.start("ask", json!(0)).await.expect("a run");
            engine.signal(run.id(), "ask", 1).await.expect("a signal");
            run.outcome().await.expect("an output")
        })
    });
}

#[divan::bench(args = DURABILITY)]
fn step_on_disk(bencher: Bencher<'_, '_>, durability: &str) {
    let (bench, folder) = (Bench::new(), folder());
    let engine = bench.wait(on_disk(folder.path(), durability, flows::linear(STEPS)));
    bencher
        .counter(ItemsCount::new(STEPS))
        .bench_local(|| bench.wait(async { engine.run("line", json!(0)).await.expect("an output") }));
}

#[divan::bench(args = DURABILITY)]
fn steps_on_disk_of_32_runs(bencher: Bencher<'_, '_>, durability: &str) {
    let (bench, folder) = (Bench::new(), folder());
    let engine = bench.wait(on_disk(folder.path(), durability, flows::linear(STEPS)));
    bencher.counter(ItemsCount::new(STEPS * RUNS)).bench_local(|| {
        bench.wait(async {
            let ended = join_all((0..RUNS).map(|_| engine.run("line", json!(0)).into_future())).await;
            assert!(ended.iter().all(Result::is_ok), "a run failed");
        });
    });
}

/// A run whose last step fails each time, so that it can be resumed again and again.
#[divan::bench]
fn resume_of_10_000_entries(bencher: Bencher<'_, '_>) {
    let (bench, folder) = (Bench::new(), folder());
    let fail =
        |_ctx, _input| async { Err::<Value, _>(Error::new(ErrorKind::Unavailable, "bench.fail", "again")) };
    let flow = || {
        let each = function(|_ctx, item| async move { Ok(item) }).map("$input");
        let last = function(fail).after("work").input(0).retries(0);
        Workflow::builder("long").step("work", each).step("last", last).build().expect("a workflow")
    };
    let engine = bench.wait(on_disk(folder.path(), "buffered", flow()));
    let run = engine.runtime().ids().run();
    let items: Value = (0..ENTRIES).collect();
    bench.wait(engine.run("long", items).id(run).into_future()).expect_err("the last step fails");
    bench.wait(engine.shutdown()).expect("a rest");
    let resume = |(bench, engine): (Bench, Engine), run: RunId| {
        bench.wait(engine.resume(run).into_future()).expect_err("the last step fails again");
        engine
    };
    // Each time a new engine, as after a restart; how long it takes to open is not measured.
    let start = || {
        let bench = Bench::new();
        let engine = bench.wait(on_disk(folder.path(), "buffered", flow()));
        (bench, engine)
    };
    bencher.with_inputs(start).bench_local_values(|started| resume(started, run));
}

/// What a step adds to the file, beside what it gives.
fn bytes_of_a_step() {
    let (bench, folder) = (Bench::new(), folder());
    let size = || std::fs::metadata(folder.path().join("bench.db")).expect("a file").len();
    let close = |engine: Engine| bench.wait(engine.shutdown()).expect("a rest");
    close(bench.wait(on_disk(folder.path(), "sync", flows::linear(STEPS))));
    let empty = size();
    let engine = bench.wait(on_disk(folder.path(), "sync", flows::linear(STEPS)));
    bench.wait(join_all((0..RUNS).map(|_| engine.run("line", json!(0)).into_future())));
    close(engine);
    // The output of a step is a number of one to three digits.
    let bytes = (size() - empty) as f64 / (STEPS * RUNS) as f64;
    println!("bytes on disk of a step, its output of at most 3 bytes among them: {bytes:.0}");
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}
