//! What a ledger in memory does at once and what it queues come to the same, alone and mixed, on one thread and many.

use std::sync::Arc;

use futures_util::FutureExt as _;

use super::support::{Machine, call, reserve, run_cap, settle, stands, usd};
use crate::{
    economics::{
        BudgetConfig, Cap, Caps, Payer, Scope, Window,
        desk::Desk,
        fact::Ticket,
        work::{Actual, Answer, Attempt, Want},
    },
    error::ErrorKind,
    runtime::Context,
    types::{Currency, Timestamp, Usage},
};

fn desk(machine: &Machine, config: BudgetConfig) -> Arc<Desk> {
    let ctx = machine.run();
    let (runtime, storage) = (machine.runtime.clone(), machine.storage.clone());
    Arc::new(Desk::new(ctx.tenant().clone(), runtime, storage, Arc::new(config), None))
}

fn attempt(ctx: &Context, micros: i64) -> Arc<Attempt> {
    let ticket = Ticket(*ctx.runtime().ids().event().as_uuid());
    Arc::new(Attempt::new(ticket, ticket.0.to_string().into(), Payer::of(ctx), call(micros, 1)))
}

fn settled(attempt: &Arc<Attempt>, micros: i64) -> Want {
    let actual = Actual { model: None, usage: Some(Usage::new(1, 0)), cost: Some(usd(micros)) };
    Want::Settle(Arc::clone(attempt), actual)
}

/// What a scope has spent and reserved.
async fn sums(desk: &Arc<Desk>, scope: &Scope) -> (i64, i128) {
    let Answer::Standing(standing) = desk.ask(Want::Read(scope.clone())).await.unwrap() else {
        panic!("not how it stands")
    };
    (standing.spent[0].micros, standing.held.micros)
}

#[tokio::test]
async fn what_needs_no_waiting_is_done_at_once_and_what_needs_it_has_not_happened() {
    let machine = Machine::new();
    let ctx = machine.run();
    let scope = Scope::Run(ctx.run_id());
    let desk = desk(&machine, run_cap(Cap::money(usd(100))));
    let first = attempt(&ctx, 60);
    assert!(
        desk.at_once(machine.runtime.clock().now(), &Want::Reserve(Arc::clone(&first))).is_none(),
        "the ledger is not loaded"
    );
    assert_eq!(sums(&desk, &scope).await, (0, 0));
    assert!(matches!(
        desk.at_once(machine.runtime.clock().now(), &Want::Reserve(Arc::clone(&first))),
        Some(Ok(Answer::Reserved { .. }))
    ));
    assert_eq!(sums(&desk, &scope).await, (0, 60));

    let second = attempt(&ctx, 60);
    assert!(
        desk.at_once(machine.runtime.clock().now(), &Want::Reserve(Arc::clone(&second))).is_none(),
        "a refusal looks at the store first"
    );
    assert_eq!(sums(&desk, &scope).await, (0, 60));
    let refused = desk.queued(Want::Reserve(second)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::BudgetExceeded);

    assert!(matches!(
        desk.at_once(machine.runtime.clock().now(), &settled(&first, 40)),
        Some(Ok(Answer::Done { .. }))
    ));
    assert!(
        matches!(
            desk.at_once(machine.runtime.clock().now(), &settled(&first, 40)),
            Some(Ok(Answer::Done { .. }))
        ),
        "counts once"
    );
    assert_eq!(sums(&desk, &scope).await, (40, 0));

    let third = attempt(&ctx, 20);
    assert!(desk.at_once(machine.runtime.clock().now(), &Want::Reserve(Arc::clone(&third))).is_some());
    assert!(
        desk.at_once(machine.runtime.clock().now(), &settled(&third, 20)).is_none(),
        "an alert is told in its order"
    );
    assert_eq!(sums(&desk, &scope).await, (40, 20));
    let Answer::Done { alerts } = desk.ask(settled(&third, 20)).await.unwrap() else { panic!("not done") };
    assert_eq!(alerts.iter().map(|alert| alert.percent).collect::<Vec<_>>(), [50]);
    assert_eq!(sums(&desk, &scope).await, (60, 0));
}

#[tokio::test]
async fn what_others_wrote_and_a_month_that_begins_are_seen_before_anything_is_decided() {
    let machine = Machine::new();
    // Late in the month, because a run that is silent for a month is forgotten.
    machine.clock.jump_to("2026-01-31T23:00:00Z".parse::<Timestamp>().unwrap());
    let ctx = machine.run();
    let scope = Scope::Run(ctx.run_id());
    let (desk, other) =
        (desk(&machine, run_cap(Cap::money(usd(100)))), desk(&machine, run_cap(Cap::money(usd(100)))));
    for desk in [&desk, &other] {
        assert_eq!(sums(desk, &scope).await, (0, 0));
    }
    let (mine, theirs) = (attempt(&ctx, 60), attempt(&ctx, 60));
    assert!(other.at_once(machine.runtime.clock().now(), &Want::Reserve(Arc::clone(&theirs))).is_some());
    assert!(
        desk.at_once(machine.runtime.clock().now(), &Want::Reserve(Arc::clone(&mine))).is_none(),
        "the store has grown"
    );
    assert!(desk.queued(Want::Reserve(Arc::clone(&mine))).await.is_err(), "it does not fit any more");
    assert!(other.at_once(machine.runtime.clock().now(), &settled(&theirs, 10)).is_some());
    assert!(matches!(desk.ask(Want::Reserve(Arc::clone(&mine))).await, Ok(Answer::Reserved { .. })));

    machine.clock.jump_to("2026-02-01T00:00:00Z".parse::<Timestamp>().unwrap());
    assert!(
        desk.at_once(machine.runtime.clock().now(), &settled(&mine, 20)).is_none(),
        "the month is closed first"
    );
    assert!(desk.ask(settled(&mine, 20)).await.is_ok());
    let next = attempt(&ctx, 70);
    assert!(matches!(
        desk.at_once(machine.runtime.clock().now(), &Want::Reserve(next)),
        Some(Ok(Answer::Reserved { .. }))
    ));
    assert_eq!(sums(&desk, &scope).await, (30, 70));
    assert_eq!(sums(&other, &scope).await, (30, 70));
}

#[tokio::test]
async fn a_call_that_was_cancelled_reserves_nothing() {
    let machine = Machine::new();
    let budgets = machine.open(run_cap(Cap::money(usd(100))));
    let ctx = machine.run();
    assert_eq!(stands(&budgets, &ctx, &Scope::Tenant).await, (0, 0));
    ctx.cancel().cancel();
    assert_eq!(reserve(&budgets, &ctx, 1).await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(stands(&budgets, &ctx, &Scope::Tenant).await, (0, 0));
}

#[tokio::test]
async fn a_ledger_in_memory_makes_nobody_wait_and_keeps_its_summaries() {
    let machine = Machine::new();
    let config = BudgetConfig::unlimited(Currency::USD);
    let budgets = machine.open(config.clone());
    let ctx = machine.run();
    for number in 0..1_500 {
        let reservation = reserve(&budgets, &ctx, number).now_or_never().unwrap().unwrap();
        settle(&reservation, 1).now_or_never().unwrap();
    }
    assert!(machine.storage.get(&ctx, "ledger/summary").await.unwrap().is_some());
    for budgets in [budgets, machine.open(config)] {
        assert_eq!(stands(&budgets, &ctx, &Scope::Tenant).await, (1_500, 0));
    }
}

/// 10,000 reservations of 10 against a cap that 6,000 fit, on four threads, over two handles; many of them look how they
/// stand or set a cap in between, which is queued.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_that_wait_and_do_not_wait_never_overspend() {
    const CAP: i64 = 60_000;
    let machine = Machine::new();
    let config = BudgetConfig {
        tenant: Caps { month: Cap::money(usd(CAP)), ..Caps::default() },
        ..BudgetConfig::unlimited(Currency::USD)
    };
    let handles = [machine.open(config.clone()), machine.open(config)];
    let mut tasks = Vec::new();
    for task in 0..100_usize {
        // Most calls go over one handle, so that it seldom finds that the other one wrote.
        let budgets = handles[usize::from(task % 20 == 0)].clone();
        let runtime = machine.runtime.clone();
        tasks.push(tokio::spawn(async move {
            let mut sum = 0;
            for number in 0..100 {
                let ctx = Context::new(&runtime);
                if number % 10 == 3 {
                    let (spent, held) = stands(&budgets, &ctx, &Scope::Tenant).await;
                    assert!(spent + held <= CAP, "{spent} and {held}");
                }
                if number % 25 == 7 {
                    let run = Scope::Run(ctx.run_id());
                    budgets.set_cap(&ctx, run, Window::Total, Cap::money(usd(10))).await.unwrap();
                }
                match reserve(&budgets, &ctx, 10).await {
                    Ok(reservation) => {
                        if number % 4 == 0 {
                            tokio::task::yield_now().await;
                        }
                        settle(&reservation, 10).await;
                        sum += 10;
                    }
                    Err(err) => assert_eq!(err.kind(), ErrorKind::BudgetExceeded),
                }
            }
            sum
        }));
    }
    let mut sum = 0;
    for task in tasks {
        sum += task.await.unwrap();
    }
    assert_eq!(sum, CAP, "what fits is let in, and nothing beyond it");
    for budgets in &handles {
        assert_eq!(stands(budgets, &machine.run(), &Scope::Tenant).await, (CAP, 0));
    }
}
