//! The bus inside the process: publishing, fan-out to subscriptions, and a question to the history.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]

use divan::{AllocProfiler, Bencher, black_box, counter::ItemsCount};
use raptorflow_benches::Bench;
use raptorflow_core::event::{Bus, BusConfig, Event, EventKind, Filter, History, Lag, Subscription};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// How many events a subscription holds.
const ROOM: usize = 1024;

fn main() {
    divan::main();
}

fn subscriptions(bus: &Bus, count: usize, filter: &Filter) -> Vec<Subscription> {
    (0..count)
        .map(|_| bus.subscribe(filter.clone(), ROOM, Lag::DropOldest).expect("a subscription"))
        .collect()
}

fn publish_to(bencher: Bencher<'_, '_>, count: usize, filter: &Filter) {
    let (bench, bus) = (Bench::new(), Bus::local(BusConfig::default()));
    let _open = subscriptions(&bus, count, filter);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        bench.now(bus.publish(&bench.ctx, Event::new(&bench.ctx, black_box(EventKind::AgentStarted))))
    });
}

#[divan::bench(args = [0, 1, 10, 100])]
fn publish(bencher: Bencher<'_, '_>, subscriptions: usize) {
    publish_to(bencher, subscriptions, &Filter::default());
}

#[divan::bench(args = [1, 10, 100])]
fn publish_to_others(bencher: Bencher<'_, '_>, subscriptions: usize) {
    let elsewhere = Filter { kinds: vec![EventKind::DataDeleted], ..Filter::default() };
    publish_to(bencher, subscriptions, &elsewhere);
}

#[divan::bench(args = [1, 10, 100])]
fn publish_and_receive(bencher: Bencher<'_, '_>, count: usize) {
    let (bench, bus) = (Bench::new(), Bus::local(BusConfig::default()));
    let mut open = subscriptions(&bus, count, &Filter::default());
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        let event = Event::new(&bench.ctx, EventKind::AgentStarted);
        bench.now(bus.publish(&bench.ctx, event)).expect("a publish");
        for subscription in &mut open {
            black_box(subscription.try_recv().expect("a delivery"));
        }
    });
}

#[divan::bench]
fn history_of_a_run(bencher: Bencher<'_, '_>) {
    let (bench, bus) = (Bench::new(), Bus::local(BusConfig::default()));
    for _ in 0..10_000 {
        let event = Event::new(&bench.ctx, EventKind::AgentStarted);
        bench.now(bus.publish(&bench.ctx, event)).expect("a publish");
    }
    let filter = Filter { run: Some(bench.ctx.run_id()), ..Filter::default() };
    let query = History { filter, limit: 100, ..History::default() };
    bencher.bench_local(|| bus.history(&bench.ctx, black_box(&query)));
}
