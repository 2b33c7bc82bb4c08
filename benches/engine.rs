//! A turn of an agent through the engine: a model that does nothing, the journal in memory, the bus on.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]

use divan::{AllocProfiler, Bencher, black_box, counter::ItemsCount};
use futures_util::future::join_all;
use raptorflow_benches::{Bench, silent_model};
use raptorflow_core::{Agent, Engine, tool};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Adds two numbers.
#[tool]
fn add(left: i64, right: i64) -> i64 {
    left + right
}

fn engine(bench: &Bench, address: &str) -> Engine {
    bench.wait(async {
        let engine = Engine::builder().storage(address).build().await.expect("an engine");
        let plain = Agent::builder("plain").model_instance(silent_model(false)).build().expect("an agent");
        let busy = Agent::builder("busy").model_instance(silent_model(true)).tool(add).build();
        engine.register(plain).expect("a new name");
        engine.register(busy.expect("an agent")).expect("a new name");
        engine
    })
}

fn run(bencher: Bencher<'_, '_>, agent: &str) {
    let bench = Bench::new();
    let engine = engine(&bench, "memory:");
    bencher.bench_local(|| {
        bench.wait(async { engine.run(black_box(agent), "hello").await.expect("an answer") })
    });
}

#[divan::bench]
fn turn(bencher: Bencher<'_, '_>) {
    run(bencher, "plain");
}

#[divan::bench]
fn turn_with_a_tool_call(bencher: Bencher<'_, '_>) {
    run(bencher, "busy");
}

#[divan::bench(args = [100, 1000])]
fn turns_at_once(bencher: Bencher<'_, '_>, count: usize) {
    let bench = Bench::new();
    let engine = engine(&bench, "memory:");
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        bench.wait(async { join_all((0..count).map(|_| engine.run("plain", "hello").into_future())).await })
    });
}

#[divan::bench]
fn turn_on_disk(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    let folder = tempfile::tempdir().expect("a folder");
    let engine = engine(&bench, &format!("sqlite:{}", folder.path().join("bench.db").display()));
    bencher.bench_local(|| bench.wait(async { engine.run("plain", "hello").await.expect("an answer") }));
}
