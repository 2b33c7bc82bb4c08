//! What stands before a model: a limiter's check, a breaker's call, and all layers around a model that does nothing.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use divan::{AllocProfiler, Bencher, black_box, counter::ItemsCount};
use raptorflow_benches::{Bench, silent_model};
use raptorflow_core::{
    model::{
        Breaker, BreakerConfig, CascadeLayer, ChatRequest, CircuitBreakerLayer, FallbackLayer, Layer, Layers,
        Rate, RateAlgorithm, RateLimitLayer, RateLimiter, RedactLayer, RetryLayer, TimeoutLayer, TraceLayer,
        Verdict,
    },
    types::Message,
};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// How many operations one iteration does, so that the clock of the benchmark does not count.
const BATCH: usize = 1000;

fn main() {
    divan::main();
}

fn check(bencher: Bencher<'_, '_>, algorithm: RateAlgorithm, keys: usize) {
    let rate = Rate::new(1_000_000, Duration::from_secs(60)).expect("a rate").with_algorithm(algorithm);
    let limiter = RateLimiter::new(rate);
    let names: Vec<String> = (0..keys).map(|key| format!("tenant-{key}/user")).collect();
    let began = Instant::now();
    let next = Cell::new(0);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        let now = began.elapsed();
        for _ in 0..BATCH {
            // A step that shares no factor with the number of keys visits all of them.
            next.set((next.get() + 7919) % keys);
            let key = names.get(next.get()).map_or("", String::as_str);
            black_box(limiter.check(black_box(key), now));
        }
    });
}

#[divan::bench(args = [10, 10_000, 1_000_000])]
fn limiter_token_bucket(bencher: Bencher<'_, '_>, keys: usize) {
    check(bencher, RateAlgorithm::TokenBucket, keys);
}

#[divan::bench(args = [10, 10_000])]
fn limiter_sliding_window(bencher: Bencher<'_, '_>, keys: usize) {
    check(bencher, RateAlgorithm::SlidingWindow, keys);
}

#[divan::bench(args = [10, 10_000])]
fn limiter_fixed_window(bencher: Bencher<'_, '_>, keys: usize) {
    check(bencher, RateAlgorithm::FixedWindow, keys);
}

/// Its bytes are those of a limiter that is full.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn limiter_of_a_million_keys(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(1_000_000_usize)).bench_local(|| {
        let limiter = RateLimiter::new(Rate::USUAL);
        for key in 0..1_000_000 {
            black_box(limiter.check(&format!("tenant-{key}/user"), Duration::from_secs(1)));
        }
        limiter
    });
}

#[divan::bench]
fn breaker_call(bencher: Bencher<'_, '_>) {
    let mut breaker = Breaker::new(BreakerConfig::default());
    let now = Duration::from_secs(1);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for _ in 0..BATCH {
            let permit = breaker.admit(black_box(now)).expect("it is closed");
            breaker.record(permit, Verdict::Success { took: Duration::from_millis(1) }, black_box(now));
        }
    });
}

fn complete(bencher: Bencher<'_, '_>, layers: &Layers) {
    let bench = Bench::new();
    let model = layers.wrap(silent_model(false));
    let request = ChatRequest::new(vec![Message::user("hello")]);
    bencher.bench_local(|| bench.now(model.complete(&bench.ctx, black_box(&request))).expect("an answer"));
}

#[divan::bench]
fn complete_bare(bencher: Bencher<'_, '_>) {
    complete(bencher, &Layers::new());
}

fn each(bencher: Bencher<'_, '_>, layer: impl Layer) {
    complete(bencher, &Layers::new().with(layer));
}

#[divan::bench]
fn complete_with_retry(bencher: Bencher<'_, '_>) {
    each(bencher, RetryLayer::default());
}

#[divan::bench]
fn complete_with_breaker(bencher: Bencher<'_, '_>) {
    each(bencher, CircuitBreakerLayer::default());
}

#[divan::bench]
fn complete_with_timeout(bencher: Bencher<'_, '_>) {
    each(bencher, TimeoutLayer::default());
}

#[divan::bench]
fn complete_with_redaction(bencher: Bencher<'_, '_>) {
    each(bencher, RedactLayer::default());
}

#[divan::bench]
fn complete_with_the_standard_layers(bencher: Bencher<'_, '_>) {
    complete(bencher, &Layers::standard());
}

#[divan::bench]
fn complete_with_all_layers(bencher: Bencher<'_, '_>) {
    let free = Rate::new(u32::MAX, Duration::from_secs(1)).expect("a rate");
    let layers = Layers::standard()
        .with(TraceLayer)
        .with(RedactLayer::default())
        .with(CascadeLayer::new(silent_model(false)))
        .with(FallbackLayer::new().or(silent_model(false)))
        .with(RateLimitLayer::per_model(free));
    complete(bencher, &layers);
}
