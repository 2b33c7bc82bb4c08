//! Counts bytes and allocations, times calls of agents, and says so as lines of JSON.
#![allow(clippy::print_stdout, reason = "what it says is read from the standard output")]
#![expect(unsafe_code, reason = "an allocator cannot be written without")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use serde_json::json;

/// Calls between two looks at the clock.
const CALLS: u32 = 2_000;
/// How many agents are made.
const AGENTS: u32 = 10_000;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, which knows how many bytes are in use and how often it was asked.
#[derive(Debug)]
pub struct Counting;

impl Counting {
    /// Bytes in use.
    #[must_use]
    pub fn live() -> usize {
        LIVE.load(Ordering::Relaxed)
    }
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(address, layout) }
    }
}

/// What a system does, measured; its program has [`Counting`] as the allocator.
#[derive(Clone, Copy, Debug)]
pub struct Meter<'a> {
    /// What is done.
    pub work: &'a str,
    /// Who does it.
    pub system: &'a str,
    /// How often it is measured, after one to warm up.
    pub rounds: usize,
}

impl Meter<'_> {
    /// Time and allocations of a call.
    pub async fn each(&self, call: impl AsyncFn()) {
        let (mut micros, mut allocations) = (Vec::new(), Vec::new());
        for _ in 0..=self.rounds {
            let (start, before) = (Instant::now(), COUNT.load(Ordering::Relaxed));
            for _ in 0..CALLS {
                call().await;
            }
            micros.push(start.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS));
            allocations.push((COUNT.load(Ordering::Relaxed) - before) as f64 / f64::from(CALLS));
        }
        self.report("us", &micros);
        self.report("allocations", &allocations);
    }

    /// Time and bytes of making an agent, and the time of one call of each, on this thread.
    pub async fn agents<A>(&self, make: impl Fn(u32) -> A, call: impl AsyncFn(&A)) {
        let (mut made, mut bytes, mut called) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..=self.rounds {
            let mut agents = Vec::with_capacity(AGENTS as usize);
            let (start, before) = (Instant::now(), Counting::live());
            agents.extend((0..AGENTS).map(&make));
            made.push(start.elapsed().as_secs_f64() * 1e6 / f64::from(AGENTS));
            bytes.push((Counting::live() - before) as f64 / f64::from(AGENTS));
            let start = Instant::now();
            for agent in &agents {
                call(agent).await;
            }
            called.push(start.elapsed().as_secs_f64() * 1e3);
        }
        self.report("us to make", &made);
        self.report("B/agent", &bytes);
        self.report("ms, a prompt each", &called);
    }

    /// Prints all samples but the first, which warmed up.
    pub fn report(&self, unit: &str, samples: &[f64]) {
        let Self { work, system, .. } = self;
        let samples = samples.get(1..).unwrap_or_default();
        println!("{}", json!({ "work": work, "system": system, "unit": unit, "samples": samples }));
    }
}
