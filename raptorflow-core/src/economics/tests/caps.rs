//! What caps let through, what they refuse, and of what they tell.

use std::sync::{Arc, Mutex};

use super::support::{Machine, call, reserve, reserved, run_cap, settle, stands, usd};
use crate::{
    economics::{BudgetConfig, Budgets, Cap, Caps, Decision, Estimate, Scope, Window},
    error::{Error, ErrorKind},
    types::{AgentId, Currency, Money, Usage},
};

fn said(err: &Error, keys: [&str; 6]) -> Vec<String> {
    keys.iter().map(|key| err.get(key).unwrap_or("none").to_owned()).collect()
}

#[tokio::test]
async fn a_refusal_names_scope_window_cap_and_sums() {
    let machine = Machine::new();
    let budgets = machine.open(run_cap(Cap::money(usd(100)).and_tokens(1_000)));
    let ctx = machine.run();
    settle(&reserved(&budgets, &ctx, 50).await, 60).await;
    let _open = reserved(&budgets, &ctx, 30).await;
    let err = reserve(&budgets, &ctx, 11).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::BudgetExceeded);
    let scope = format!("run {}", ctx.run_id());
    assert_eq!(
        said(&err, ["scope", "window", "cap", "spent", "reserved", "wanted"]),
        [
            scope.as_str(),
            "total",
            "0.000100 USD, 1000 tokens",
            "0.000060 USD, 10 tokens",
            "0.000030 USD, 10 tokens",
            "0.000011 USD, 10 tokens"
        ]
    );
    assert_eq!(reserved(&budgets, &ctx, 10).await.estimate().tokens, 10);
    // Another run has a budget of its own.
    reserved(&budgets, &machine.run(), 100).await.release().await.unwrap();
}

#[tokio::test]
async fn a_reservation_fits_every_scope_or_is_in_none() {
    let machine = Machine::new();
    let config = BudgetConfig {
        user: Caps { day: Cap::money(usd(100)), ..Caps::default() },
        agent: Caps::total(Cap::tokens(25)),
        ..BudgetConfig::unlimited(Currency::USD)
    };
    let budgets = machine.open(config);
    let (lead, helper) = (AgentId::new("lead").unwrap(), AgentId::new("helper").unwrap());
    let ctx = machine.run().with_principal("anna").with_agent(&lead);
    let below = ctx.with_agent(&helper);
    let _first = reserved(&budgets, &below, 40).await;
    let _second = reserved(&budgets, &ctx, 40).await;
    let err = reserve(&budgets, &below, 1).await.unwrap_err();
    assert_eq!(err.get("scope"), Some("agent lead"), "the helper spends of the lead's budget too");
    let err = reserve(&budgets, &machine.run().with_principal("anna"), 21).await.unwrap_err();
    assert_eq!((err.get("scope"), err.get("window")), (Some("user"), Some("day")));
    assert!(!err.to_string().contains("anna"), "the name of a user may be personal data");
    for (scope, held) in [
        (Scope::Tenant, 80),
        (Scope::User("anna".into()), 80),
        (Scope::Run(ctx.run_id()), 80),
        (Scope::Agent(ctx.run_id(), lead), 80),
        (Scope::Agent(ctx.run_id(), helper), 40),
    ] {
        assert_eq!(stands(&budgets, &ctx, &scope).await, (0, held), "{scope}");
    }
}

#[tokio::test]
async fn a_cap_smaller_than_one_call_refuses_the_first_one() {
    let machine = Machine::new();
    let budgets = machine.open(run_cap(Cap::money(usd(9))));
    assert_eq!(reserve(&budgets, &machine.run(), 10).await.unwrap_err().kind(), ErrorKind::BudgetExceeded);
    let budgets = machine.open(BudgetConfig::default());
    let ctx = machine.run();
    for (call, over) in [(call(1_000_001, 1), "money"), (call(1, 100_001), "tokens")] {
        let err = budgets.reserve(&ctx, call).await.unwrap_err();
        assert_eq!((err.kind(), err.get("over")), (ErrorKind::BudgetExceeded, Some(over)));
    }
}

#[tokio::test]
async fn more_than_was_expected_is_recorded_and_what_comes_next_is_refused() {
    let machine = Machine::new();
    let budgets = machine.open(run_cap(Cap::money(usd(100))));
    let ctx = machine.run();
    settle(&reserved(&budgets, &ctx, 10).await, 250).await;
    assert_eq!(stands(&budgets, &ctx, &Scope::Run(ctx.run_id())).await, (250, 0));
    assert_eq!(reserve(&budgets, &ctx, 0).await.unwrap_err().kind(), ErrorKind::BudgetExceeded);
    // The cap is raised, by another process.
    let other = machine.open(run_cap(Cap::money(usd(100))));
    other.set_cap(&ctx, Scope::Run(ctx.run_id()), Window::Total, Cap::money(usd(300))).await.unwrap();
    settle(&reserved(&budgets, &ctx, 50).await, 50).await;
    other.set_cap(&ctx, Scope::Run(ctx.run_id()), Window::Total, Cap::NONE).await.unwrap();
    reserved(&budgets, &ctx, 1_000_000).await.release().await.unwrap();
}

#[tokio::test]
async fn reserving_again_under_an_id_replaces_and_settling_twice_counts_once() {
    let machine = Machine::new();
    let budgets = machine.open(run_cap(Cap::money(usd(100))));
    let ctx = machine.run().with_idempotency_key("step/1");
    let run = Scope::Run(ctx.run_id());
    let _lost = reserved(&budgets, &ctx, 90).await;
    let again = reserved(&budgets, &ctx, 95).await;
    assert_eq!((again.id(), stands(&budgets, &ctx, &run).await), ("step/1", (0, 95)));
    assert!(reserve(&budgets, &ctx, 101).await.is_err());
    assert_eq!(stands(&budgets, &ctx, &run).await, (0, 95), "a refusal leaves the one before");
    let usage = Some(Usage::new(1, 1));
    let (a, b) = tokio::join!(again.settle(usage, Some(usd(70))), again.settle(usage, Some(usd(70))));
    assert!(a.is_ok() && b.is_ok());
    settle(&again, 70).await;
    again.release().await.unwrap();
    assert_eq!(stands(&budgets, &ctx, &run).await, (70, 0));
    assert_eq!(budgets.spendings(&ctx, None, None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_not_known_counts_as_it_was_expected() {
    let machine = Machine::new();
    let budgets = machine.open(run_cap(Cap::money(usd(100))));
    let ctx = machine.run();
    reserved(&budgets, &ctx, 30).await.settle(None, None).await.unwrap();
    let spent = &budgets.spendings(&ctx, None, None).await.unwrap()[0];
    assert_eq!((spent.cost, spent.usage.total_tokens(), spent.estimated), (Some(usd(30)), 10, true));
}

#[tokio::test]
async fn another_currency_and_an_unknown_price_are_typed_errors() {
    let machine = Machine::new();
    let budgets = machine.open(run_cap(Cap::money(usd(100))));
    let ctx = machine.run();
    let rupees = Money::new(5, Currency::INR);
    let foreign = Estimate::new("shop:small", 1).with_money(rupees);
    let open = reserved(&budgets, &ctx, 1).await;
    for err in [
        budgets.reserve(&ctx, foreign).await.unwrap_err(),
        budgets.set_cap(&ctx, Scope::Tenant, Window::Day, Cap::money(rupees)).await.unwrap_err(),
        open.settle(None, Some(rupees)).await.unwrap_err(),
        budgets.reserve(&ctx, call(-1, 1)).await.unwrap_err(),
        Budgets::new(
            machine.storage.clone(),
            machine.runtime.clone(),
            BudgetConfig { approval_above: Some(rupees), ..BudgetConfig::default() },
        )
        .unwrap_err(),
    ] {
        assert_eq!(err.kind(), ErrorKind::InvalidInput, "{err}");
    }
    // The ledger is in dollars, whatever another process is told.
    let config = BudgetConfig { ..BudgetConfig::unlimited(Currency::INR) };
    let err = machine.open(config).reserve(&ctx, Estimate::new("shop:small", 1)).await.unwrap_err();
    assert_eq!((err.kind(), err.get("expected")), (ErrorKind::InvalidInput, Some("USD")));

    let unpriced = Estimate::new("shop:new", 7);
    let err = budgets.reserve(&ctx, unpriced.clone()).await.unwrap_err();
    assert_eq!((err.kind(), err.get("model")), (ErrorKind::InvalidInput, Some("shop:new")));
    let tokens_only = machine.open(run_cap(Cap::tokens(10)));
    let ctx = machine.run();
    tokens_only
        .reserve(&ctx, unpriced.clone())
        .await
        .unwrap()
        .granted()
        .unwrap()
        .settle(None, None)
        .await
        .unwrap();
    assert_eq!(tokens_only.spendings(&ctx, None, None).await.unwrap()[0].cost, None);
    assert_eq!(tokens_only.reserve(&ctx, unpriced).await.unwrap_err().kind(), ErrorKind::BudgetExceeded);
}

#[tokio::test]
async fn a_run_asks_before_it_spends_more_than_it_may_alone() {
    let machine = Machine::new();
    let budgets = machine.open(BudgetConfig::default());
    let ctx = machine.run();
    settle(&reserved(&budgets, &ctx, 300_000).await, 300_000).await;
    let _open = reserved(&budgets, &ctx, 200_000).await;
    let decision = budgets.reserve(&ctx, call(100_000, 1)).await.unwrap();
    let Decision::NeedsApproval(approval) = decision else { panic!("{decision:?}") };
    assert_eq!((approval.amount, approval.committed), (usd(600_000), usd(500_000)));
    let err = reserve(&budgets, &ctx, 100_000).await.unwrap_err();
    assert_eq!((err.kind(), err.get("approval")), (ErrorKind::BudgetExceeded, Some("0.600000 USD")));
    machine.open(BudgetConfig::default()).approve(&ctx, ctx.run_id(), approval.amount).await.unwrap();
    settle(&reserved(&budgets, &ctx, 100_000).await, 100_000).await;
    assert!(reserve(&budgets, &ctx, 1).await.is_err());
}

#[tokio::test]
async fn each_alert_comes_once_for_a_cap_and_a_period() {
    let machine = Machine::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let config = BudgetConfig {
        tenant: Caps { day: Cap::money(usd(100)).and_tokens(1_000_000), ..Caps::default() },
        ..BudgetConfig::unlimited(Currency::USD)
    };
    let budgets =
        Budgets::with_alerts(machine.storage.clone(), machine.runtime.clone(), config, move |_, alert| {
            heard.lock().unwrap().push(alert.percent);
        })
        .unwrap();
    let ctx = machine.run();
    for (cost, due) in [(49, &[][..]), (1, &[50]), (45, &[75, 90]), (0, &[]), (30, &[100]), (30, &[90])] {
        let reservation = reserved(&budgets, &machine.run(), 0).await;
        let alerts = reservation.settle(Some(Usage::new(1, 1)), Some(usd(cost))).await;
        match alerts {
            Ok(alerts) => {
                let percents: Vec<u8> = alerts.iter().map(|alert| alert.percent).collect();
                assert_eq!(percents, due, "{cost}");
            }
            Err(err) => panic!("{err}"),
        }
        if due == [100] {
            // Full: nothing more is reserved today.
            let tenant = Scope::Tenant;
            assert!(reserve(&budgets, &ctx, 0).await.is_err());
            let raised = budgets.set_cap(&ctx, tenant, Window::Day, Cap::money(usd(160))).await.unwrap();
            assert!(raised.is_empty(), "75 % of the new cap were told of the old one: {raised:?}");
        }
    }
    // 155 of 160: 90 was told of the old cap, and only of that.
    assert_eq!(*told.lock().unwrap(), [50, 75, 90, 100, 90]);
    machine.clock.advance(std::time::Duration::from_secs(24 * 60 * 60));
    settle(&reserved(&budgets, &ctx, 80).await, 80).await;
    assert_eq!(*told.lock().unwrap(), [50, 75, 90, 100, 90, 50]);
}
