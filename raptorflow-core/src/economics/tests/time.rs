//! Reservations that expire, months that change and clocks that are put back.

use std::time::Duration;

use super::support::{Machine, reserve, reserved, run_cap, settle, stands, usd};
use crate::{
    economics::{BudgetConfig, Cap, Caps, Scope, Window},
    storage::Expect,
    types::{Currency, Timestamp},
};

const HOUR: Duration = Duration::from_secs(60 * 60);
const MINUTE: Duration = Duration::from_secs(60);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_dropped_reservation_is_free_when_it_expires_and_may_be_settled_late() {
    let machine = Machine::new();
    let budgets = machine.open(run_cap(Cap::money(usd(100))));
    let ctx = machine.run();
    drop(reserved(&budgets, &ctx, 60).await);
    let late = reserved(&budgets, &ctx, 40).await;
    machine.clock.advance(15 * MINUTE - Duration::from_micros(1));
    assert!(reserve(&budgets, &ctx, 1).await.is_err());
    machine.clock.advance(Duration::from_micros(1));
    settle(&late, 45).await;
    assert_eq!(stands(&budgets, &ctx, &Scope::Run(ctx.run_id())).await, (45, 0));
    settle(&late, 45).await;
    reserved(&budgets, &ctx, 55).await.release().await.unwrap();
}

#[tokio::test]
async fn a_clock_that_is_put_back_frees_nothing_early_and_holds_nothing_for_long() {
    let machine = Machine::new();
    machine.clock.jump_to(at("2026-03-01T00:30:00Z"));
    let budgets = machine.open(run_cap(Cap::money(usd(100))));
    let ctx = machine.run();
    drop(reserved(&budgets, &ctx, 100).await);
    machine.clock.jump_to(at("2026-02-28T23:30:00Z"));
    // Another process begins with the clock that was put back.
    let other = machine.open(run_cap(Cap::money(usd(100))));
    for _ in 0..14 {
        machine.clock.advance(MINUTE);
        assert!(reserve(&budgets, &ctx, 1).await.is_err());
        assert!(reserve(&other, &ctx, 1).await.is_err());
    }
    machine.clock.advance(MINUTE);
    let reservation = reserved(&budgets, &ctx, 1).await;
    assert!(reservation.expires() > at("2026-03-01T00:45:00Z"), "the ledger's clock never goes back");
    settle(&reservation, 1).await;
    assert_eq!(stands(&other, &ctx, &Scope::Tenant).await, (1, 0));
    let months = machine.storage.streams(&ctx, "ledger/", None, 10).await.unwrap();
    assert_eq!(months, ["ledger/0000-00", "ledger/2026-03"], "nothing is written into the month before");
}

#[tokio::test]
async fn a_new_month_begins_with_what_is_open_and_what_was_spent() {
    let machine = Machine::new();
    machine.clock.jump_to(at("2026-01-31T23:55:00Z"));
    let config = BudgetConfig {
        tenant: Caps { month: Cap::money(usd(100)), day: Cap::money(usd(90)), total: Cap::money(usd(200)) },
        ..BudgetConfig::unlimited(Currency::USD)
    };
    let (one, two) = (machine.open(config.clone()), machine.open(config.clone()));
    let ctx = machine.run();
    settle(&reserved(&one, &ctx, 80).await, 80).await;
    let open = reserved(&two, &ctx, 10).await;
    assert!(reserve(&one, &ctx, 1).await.is_err(), "the day is full");
    one.set_cap(&ctx, Scope::User("bo".into()), Window::Month, Cap::tokens(5)).await.unwrap();
    machine.clock.advance(10 * MINUTE);
    // Both go over to the new month at once.
    let (a, b) = tokio::join!(reserve(&one, &ctx, 40), reserve(&two, &ctx, 40));
    settle(&a.unwrap(), 40).await;
    settle(&b.unwrap(), 40).await;
    settle(&open, 15).await;
    let third = machine.open(config);
    for budgets in [&one, &two, &third] {
        let balance = budgets.balance(&ctx, &Scope::Tenant).await.unwrap();
        let spent = [balance.spent.total, balance.spent.month, balance.spent.day].map(|sum| sum.money.micros);
        assert_eq!((spent, balance.reserved.money), ([175, 95, 95], usd(0)));
        assert!(reserve(budgets, &ctx.with_principal("bo"), 1).await.is_err(), "the cap goes on");
    }
    let streams = machine.storage.streams(&ctx, "ledger/", None, 10).await.unwrap();
    assert_eq!(streams, ["ledger/0000-00", "ledger/2026-01", "ledger/2026-02"]);
    let costs = |spendings: Vec<crate::economics::Spending>| -> Vec<i64> {
        spendings.iter().filter_map(|spending| Some(spending.cost?.micros)).collect()
    };
    let february = at("2026-02-01T00:00:00Z");
    assert_eq!(costs(one.spendings(&ctx, None, None).await.unwrap()), [80, 40, 40, 15]);
    assert_eq!(costs(one.spendings(&ctx, Some(february), None).await.unwrap()), [40, 40, 15]);
    assert_eq!(costs(one.spendings(&ctx, None, Some(february)).await.unwrap()), [80]);
}

#[tokio::test]
async fn months_without_calls_are_left_out_and_silent_runs_are_forgotten() {
    let machine = Machine::new();
    let budgets = machine.open(run_cap(Cap::money(usd(100))));
    let (ctx, run) = (machine.run(), |ctx: &crate::runtime::Context| Scope::Run(ctx.run_id()));
    settle(&reserved(&budgets, &ctx, 70).await, 70).await;
    machine.clock.advance(24 * 95 * HOUR);
    let fresh = machine.run();
    settle(&reserved(&budgets, &fresh, 5).await, 5).await;
    let streams = machine.storage.streams(&ctx, "ledger/", None, 10).await.unwrap();
    assert_eq!(streams, ["ledger/0000-00", "ledger/2026-01", "ledger/2026-04"]);
    assert_eq!(stands(&budgets, &ctx, &run(&ctx)).await, (0, 0));
    assert_eq!(stands(&budgets, &ctx, &run(&fresh)).await, (5, 0));
    assert_eq!(stands(&budgets, &ctx, &Scope::Tenant).await, (75, 0));
}

#[tokio::test]
async fn a_summary_makes_opening_short_and_one_that_does_not_fit_is_not_used() {
    let machine = Machine::new();
    let budgets = machine.open(run_cap(Cap::NONE));
    let ctx = machine.run();
    for _ in 0..600 {
        settle(&reserved(&budgets, &ctx, 1).await, 1).await;
    }
    let summary = machine.storage.get(&ctx, "ledger/summary").await.unwrap().unwrap();
    assert_eq!(stands(&machine.open(run_cap(Cap::NONE)), &ctx, &Scope::Tenant).await, (600, 0));
    // Another tenant's summary, and one that is damaged: both are passed over.
    let other = ctx.with_tenant(crate::types::TenantId::new("other").unwrap());
    settle(&reserved(&budgets, &other, 1).await, 1).await;
    for value in [summary.value, "{".into()] {
        machine.storage.put(&other, "ledger/summary", value, Expect::Any).await.unwrap();
        assert_eq!(stands(&machine.open(run_cap(Cap::NONE)), &other, &Scope::Tenant).await, (1, 0));
    }
}

#[tokio::test]
async fn a_tenant_that_is_erased_begins_anew_also_for_who_knew_it() {
    let machine = Machine::new();
    let budgets = machine.open(run_cap(Cap::money(usd(100))));
    let ctx = machine.run();
    settle(&reserved(&budgets, &ctx, 90).await, 90).await;
    machine.storage.erase(&ctx).await.unwrap();
    settle(&reserved(&budgets, &ctx, 80).await, 80).await;
    assert_eq!(stands(&budgets, &ctx, &Scope::Tenant).await, (80, 0));
}
