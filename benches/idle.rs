//! What agents cost that do nothing: bytes on the heap each, counted by the allocator and printed.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]
#![expect(clippy::print_stdout, reason = "the number is what this program is for")]

use raptorflow_benches::{Bench, silent_model};
use raptorflow_core::{Agent, Engine};
use raptorflow_meter::Counting;

/// How many agents are registered.
const AGENTS: usize = 10_000;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let bench = Bench::new();
    let engine = bench.wait(Engine::builder().build()).expect("an engine");
    let model = silent_model(false);
    let before = Counting::live();
    for index in 0..AGENTS {
        let agent = Agent::builder(format!("agent-{index}"))
            .model_instance(model.clone())
            .description("Waits for a task.")
            .instructions("Answer in one sentence.")
            .build()
            .expect("an agent");
        engine.register(agent).expect("a new name");
    }
    let after = Counting::live();
    println!("{AGENTS} idle agents: {} bytes each", (after - before) / AGENTS);
}
