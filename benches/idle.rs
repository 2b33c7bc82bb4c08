//! What agents cost that do nothing: bytes on the heap each, counted by the allocator and printed.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]
#![expect(clippy::print_stdout, reason = "the number is what this program is for")]
#![expect(unsafe_code, reason = "an allocator cannot be written without")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
};

use raptorflow_benches::{Bench, silent_model};
use raptorflow_core::{Agent, Engine};

/// How many agents are registered.
const AGENTS: usize = 10_000;

static LIVE: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, which knows how many bytes are in use.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(address, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let bench = Bench::new();
    let engine = bench.wait(Engine::builder().build()).expect("an engine");
    let model = silent_model(false);
    let before = LIVE.load(Ordering::Relaxed);
    for index in 0..AGENTS {
        let agent = Agent::builder(format!("agent-{index}"))
            .model_instance(model.clone())
            .description("Waits for a task.")
            .instructions("Answer in one sentence.")
            .build()
            .expect("an agent");
        engine.register(agent).expect("a new name");
    }
    let after = LIVE.load(Ordering::Relaxed);
    println!("{AGENTS} idle agents: {} bytes each", (after - before) / AGENTS);
}
