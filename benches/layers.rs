//! What stands before a model: a limiter's check, a breaker's call, and all layers around a model that does nothing.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant},
};

use divan::{AllocProfiler, Bencher, black_box, counter::ItemsCount};
use raptorflow_benches::{Bench, clustered, silent_model};
use raptorflow_core::{
    economics::{BudgetConfig, Budgets, Cap, Caps, PriceBook},
    model::{
        AnswerCache, Breaker, BreakerConfig, BudgetLayer, CacheConfig, CacheLayer, CascadeLayer, ChatRequest,
        CircuitBreakerLayer, FallbackLayer, Layer, Layers, Rate, RateAlgorithm, RateLimitLayer, RateLimiter,
        RedactLayer, RetryLayer, TimeoutLayer, Verdict,
    },
    security::{CachedSecrets, EnvSecrets, SecretStore as _},
    storage::Storage,
    types::{Currency, Message, Money},
};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// How many operations one iteration does, so that the clock of the benchmark does not count.
const BATCH: usize = 1000;
const PRICES: &str = "[[price]]\nmodel = \"bench:silent\"\ncurrency = \"USD\"\ninput = 250_000\noutput = 2_000_000\nvalid_from = 2026-01-01\n";

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
    complete_in(&Bench::new(), bencher, layers);
}

fn complete_in(bench: &Bench, bencher: Bencher<'_, '_>, layers: &Layers) {
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

fn budget(bench: &Bench) -> BudgetLayer {
    let usd = Money::new(i64::MAX, Currency::USD);
    let config = BudgetConfig { run: Caps::total(Cap::money(usd)), ..BudgetConfig::unlimited(Currency::USD) };
    let budgets = Budgets::new(Storage::memory(), bench.ctx.runtime().clone(), config).expect("budgets");
    BudgetLayer::new(budgets, PriceBook::from_toml("prices.toml", PRICES).expect("prices"))
}

/// Reserves and settles in a ledger in memory.
#[divan::bench]
fn complete_with_budget(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    let layers = Layers::new().with(budget(&bench));
    complete_in(&bench, bencher, &layers);
}

/// Answers a request that was answered before.
#[divan::bench]
fn complete_from_the_cache(bencher: Bencher<'_, '_>) {
    each(bencher, CacheLayer::default());
}

/// A cache that keeps nothing, so that each call goes through it to the model.
fn missing_cache() -> CacheLayer {
    let mut config = CacheConfig::default();
    config.entries = 0;
    CacheLayer::new(AnswerCache::new(config))
}

/// Each layer that keeps nothing in a store, in the fixed order, on a call that reaches the model.
fn all_layers() -> Layers {
    let free = Rate::new(u32::MAX, Duration::from_secs(1)).expect("a rate");
    Layers::standard()
        .with(RedactLayer::default())
        .with(missing_cache())
        .with(CascadeLayer::new(silent_model(false)))
        .with(FallbackLayer::new().or(silent_model(false)))
        .with(RateLimitLayer::per_model(free))
}

#[divan::bench]
fn complete_with_all_layers(bencher: Bencher<'_, '_>) {
    complete(bencher, &all_layers());
}

/// The same, and two records in a ledger in memory.
#[divan::bench]
fn complete_with_all_layers_and_a_budget(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    let layers = all_layers().with(budget(&bench));
    complete_in(&bench, bencher, &layers);
}

/// A question whose meaning is compared with 100,000 others of the same tenant and skill.
#[divan::bench(sample_count = 200, sample_size = 1)]
fn semantic_cache_of_100_000(bencher: Bencher<'_, '_>) {
    const ANSWERS: usize = 100_000;
    let bench = Bench::new();
    let mut config = CacheConfig::default();
    config.entries = ANSWERS;
    let vectors: Arc<[Vec<f32>]> = clustered(ANSWERS, 384, 7).into_iter().map(|(_, vector)| vector).collect();
    let known = Arc::clone(&vectors);
    // The text of a question is the number of its vector; a question mark makes it another question.
    let layer = CacheLayer::new(AnswerCache::new(config)).semantic(move |_ctx, text| {
        let number = text.trim_end_matches('?').parse().unwrap_or(0);
        std::future::ready(Ok(known.get(number).cloned().unwrap_or_default()))
    });
    let cache = layer.cache().clone();
    let model = Layers::new().with(layer).wrap(silent_model(false));
    let ask = |text: String| {
        let request = ChatRequest::new(vec![Message::user(text)]);
        bench.now(model.complete(&bench.ctx, &request)).expect("an answer")
    };
    (0..ANSWERS).for_each(|number| drop(ask(number.to_string())));
    let next = Cell::new(0);
    let before = cache.stats();
    bencher.bench_local(|| {
        next.set((next.get() + 7919) % ANSWERS);
        ask(format!("{}?", next.get()))
    });
    let hits = cache.stats().semantic_hits - before.semantic_hits;
    assert!(hits > 0, "the questions were not found by their meaning");
}

/// A key that is remembered.
#[divan::bench]
fn secret_look_up(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    let vault = EnvSecrets::from_lookup(|_| Some("a key".to_owned()));
    let secrets = CachedSecrets::new(Arc::new(vault), Arc::clone(bench.ctx.runtime().clock()));
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for _ in 0..BATCH {
            black_box(bench.now(secrets.get(black_box("OPENAI_API_KEY"))).expect("a store"));
        }
    });
}
