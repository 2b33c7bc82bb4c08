//! Many at once, in one process and in two, never overspend.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use super::support::{Machine, run_cap, settle, stands, usd};
use crate::{
    economics::{BudgetConfig, Budgets, Cap, Caps, Decision, Scope, tests::support::call},
    error::ErrorKind,
    runtime::Context,
    storage::Storage,
    types::Currency,
};

const CALLS: i64 = 10_000;
const TASKS: i64 = 100;

/// Reserves 10,000 times at once, over handles in turn, against a cap that 6,000 fit; gives what was settled.
async fn storm(machine: &Machine, handles: &[Budgets]) -> i64 {
    let settled = Arc::new(AtomicI64::new(0));
    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let budgets = handles[usize::try_from(task).unwrap() % handles.len()].clone();
        let (runtime, settled) = (machine.runtime.clone(), Arc::clone(&settled));
        tasks.push(tokio::spawn(async move {
            let calls =
                (0..CALLS / TASKS).map(|number| one(&budgets, Context::new(&runtime), number, &settled));
            futures_util::future::join_all(calls).await;
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    settled.load(Ordering::SeqCst)
}

/// One call of 10: it is settled with 10, and each tenth is released.
async fn one(budgets: &Budgets, ctx: Context, number: i64, settled: &AtomicI64) {
    match budgets.reserve(&ctx, call(10, 5)).await.and_then(Decision::granted) {
        Ok(reservation) if number % 10 == 0 => reservation.release().await.unwrap(),
        Ok(reservation) => {
            settle(&reservation, 10).await;
            settled.fetch_add(10, Ordering::SeqCst);
        }
        Err(err) => assert_eq!(err.kind(), ErrorKind::BudgetExceeded),
    }
}

fn capped(micros: i64) -> BudgetConfig {
    let tenant = Caps { month: Cap::money(usd(micros)), ..Caps::default() };
    BudgetConfig { tenant, ..BudgetConfig::unlimited(Currency::USD) }
}

async fn check(machine: &Machine, handles: &[Budgets], cap: i64) {
    let ctx = machine.run();
    let settled = storm(machine, handles).await;
    assert!(settled <= cap, "{settled} of {cap}");
    let fresh = machine.open(capped(cap));
    for budgets in handles.iter().chain([&fresh]) {
        assert_eq!(stands(budgets, &ctx, &Scope::Tenant).await, (settled, 0));
    }
    let recorded = fresh.spendings(&ctx, None, None).await.unwrap();
    let sum: i64 = recorded.iter().filter_map(|spending| Some(spending.cost?.micros)).sum();
    assert_eq!(sum, settled, "the sum of the ledger is the sum of the calls");
    // A tenth of what was let in was given back, perhaps after the last refusal.
    assert!(settled >= cap / 10 * 9, "{settled} of {cap}: what fits was refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_at_once_in_memory() {
    let machine = Machine::new();
    let handles = [machine.open(capped(60_000))];
    check(&machine, &handles, 60_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_at_once_over_two_handles() {
    let machine = Machine::new();
    let handles = [machine.open(capped(60_000)), machine.open(capped(60_000))];
    check(&machine, &handles, 60_000).await;
}

#[cfg(feature = "storage-sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_at_once_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let uri = format!("sqlite:{}?durability=buffered", folder.path().join("ledger.db").display());
    let machine = Machine::over(Storage::open(&uri).await.unwrap());
    let handles = [machine.open(capped(60_000)), machine.open(capped(60_000))];
    check(&machine, &handles, 60_000).await;
    machine.storage.close().await.unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_a_ledger_that_works() {
    let machine = Machine::new();
    let budgets = machine.open(run_cap(Cap::money(usd(1_000))));
    let ctx = machine.run();
    for number in 0..200 {
        let asked = budgets.reserve(&ctx, call(1, 1));
        // Dropped after some polls: before it is queued, while it is, and when it is done.
        let mut asked = std::pin::pin!(asked);
        for _ in 0..number % 4 {
            if futures_util::poll!(asked.as_mut()).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    let (spent, held) = stands(&budgets, &ctx, &Scope::Run(ctx.run_id())).await;
    assert!(spent == 0 && held <= 200, "{held}");
    machine.clock.advance(std::time::Duration::from_secs(15 * 60));
    assert_eq!(stands(&budgets, &ctx, &Scope::Run(ctx.run_id())).await, (0, 0));
}
