//! Dispatch of tools: a call that does nothing, its validation alone, and many calls at once.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]

use divan::{AllocProfiler, Bencher, black_box, counter::ItemsCount};
use raptorflow_benches::Bench;
use raptorflow_core::{
    tool,
    tool::{DispatchConfig, FunctionTool, Tool, ToolRegistry, dispatch, dispatch_all},
    types::{Schema, ToolCall, ToolSpec},
};
use serde_json::{Value, json};

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

fn tools() -> ToolRegistry {
    let mut tools = ToolRegistry::new();
    let spec = ToolSpec::new("nothing", "Does nothing.", Schema::any_object());
    let nothing = FunctionTool::new(spec, |_ctx, _arguments| std::future::ready(Ok(Value::Null)));
    tools.register(nothing).expect("a usable tool");
    tools.register(add).expect("a usable tool");
    tools
}

fn call(id: usize, name: &str, arguments: Value) -> ToolCall {
    ToolCall { id: format!("call_{id}"), name: name.to_owned(), arguments }
}

fn one(bencher: Bencher<'_, '_>, call: &ToolCall) {
    let (bench, tools, config) = (Bench::new(), tools(), DispatchConfig::default());
    bencher.bench_local(|| bench.now(dispatch(&bench.ctx, &tools, black_box(call), &config)));
}

#[divan::bench]
fn dispatch_nothing(bencher: Bencher<'_, '_>) {
    one(bencher, &call(1, "nothing", json!({})));
}

#[divan::bench]
fn dispatch_typed(bencher: Bencher<'_, '_>) {
    one(bencher, &call(1, "add", json!({"left": 1, "right": 2})));
}

#[divan::bench]
fn dispatch_refused(bencher: Bencher<'_, '_>) {
    one(bencher, &call(1, "add", json!({"left": 1})));
}

#[divan::bench]
fn validation_alone_nothing(bencher: Bencher<'_, '_>) {
    let (schema, arguments) = (Schema::any_object(), json!({}));
    bencher.bench_local(|| schema.validate(black_box(&arguments)));
}

#[divan::bench]
fn validation_alone_typed(bencher: Bencher<'_, '_>) {
    let arguments = json!({"left": 1, "right": 2});
    bencher.bench_local(|| add.spec().parameters.validate(black_box(&arguments)));
}

#[divan::bench(args = [1, 8, 64])]
fn dispatch_many(bencher: Bencher<'_, '_>, count: usize) {
    let (bench, tools, config) = (Bench::new(), tools(), DispatchConfig::default());
    let calls: Vec<ToolCall> = (0..count).map(|id| call(id, "nothing", json!({}))).collect();
    bencher
        .counter(ItemsCount::new(count))
        .bench_local(|| bench.now(dispatch_all(&bench.ctx, &tools, black_box(&calls), &config)));
}
