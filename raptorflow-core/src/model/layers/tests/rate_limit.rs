//! Rules over scopes, and the limiter as a layer.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;

use super::support::Desk;
use crate::{
    error::{ErrorKind, Retry},
    model::{
        ChatModel as _, Layer as _, MemoryRates, Model, ModelInfo, Rate, RateAlgorithm, RateLimitLayer,
        RateRules, RateScope, RateSubject, RateUnit,
    },
    testing::{Reply, ScriptedModel},
    types::Usage,
};

const SECOND: Duration = Duration::from_secs(1);

/// As many calls in ten seconds.
fn tenth(limit: u32) -> Rate {
    Rate::new(limit, SECOND * 10).unwrap().with_burst(1.0)
}

fn check(scope: RateScope, same: RateSubject<'_>, other: RateSubject<'_>) {
    let rules = RateRules::new().with(scope, tenth(1));
    assert!(rules.check(&same, SECOND).is_ok());
    assert_eq!(rules.check(&same, SECOND).unwrap_err().scope, scope);
    assert!(rules.check(&other, SECOND).is_ok(), "{scope}");
}

#[test]
fn each_scope_counts_by_its_own() {
    let all = RateSubject {
        tenant: "acme",
        user: Some("asha"),
        address: Some("10.0.0.1"),
        endpoint: Some("openai:x"),
        key: Some("k"),
    };
    check(RateScope::Tenant, all, RateSubject { tenant: "umbra", ..all });
    check(RateScope::User, all, RateSubject { tenant: "umbra", ..all });
    check(RateScope::User, all, RateSubject { user: Some("ravi"), ..all });
    check(RateScope::Address, all, RateSubject { address: Some("10.0.0.2"), ..all });
    check(RateScope::Endpoint, all, RateSubject { endpoint: Some("openai:y"), ..all });
    check(RateScope::Key, all, RateSubject { key: None, ..all });
    check(RateScope::User, all, RateSubject { user: None, ..all });
    let global = RateRules::new().with(RateScope::Global, tenth(1));
    assert!(global.check(&all, SECOND).is_ok());
    assert!(global.check(&RateSubject::default(), SECOND).is_err());
}

#[test]
fn names_of_two_tenants_that_read_alike_are_two() {
    let rules = RateRules::new().with(RateScope::User, tenth(1));
    for (tenant, user) in [("a", "bc"), ("ab", "c"), ("", "abc")] {
        let subject = RateSubject { tenant, user: Some(user), ..RateSubject::default() };
        assert!(rules.check(&subject, SECOND).is_ok(), "{tenant} {user}");
    }
}

#[test]
fn a_call_that_one_rule_refuses_is_counted_by_none() {
    let rules = RateRules::new().with(RateScope::Global, tenth(2)).with(RateScope::Tenant, tenth(1));
    let of = |tenant| RateSubject { tenant, ..RateSubject::default() };
    assert!(rules.check(&of("acme"), SECOND).is_ok());
    for _ in 0..5 {
        assert_eq!(rules.check(&of("acme"), SECOND).unwrap_err().scope, RateScope::Tenant);
    }
    assert!(rules.check(&of("umbra"), SECOND).is_ok(), "the refused calls took nothing of the global rule");
    assert_eq!(rules.check(&of("third"), SECOND).unwrap_err().scope, RateScope::Global);
}

#[tokio::test]
async fn a_call_waits_until_it_is_allowed() {
    let desk = Desk::new([]).always(Reply::text("Here."));
    let ctx = desk.ctx();
    let model = RateLimitLayer::per_model(tenth(1)).wrap(desk.model());
    assert!(model.complete(&ctx, &Desk::request()).await.is_ok());
    desk.pauses(model.complete(&ctx, &Desk::request()), &[10]).await.unwrap();
}

#[tokio::test]
async fn a_wait_that_is_too_long_fails_at_once_with_its_length() {
    let desk = Desk::new([]).always(Reply::text("Here."));
    let layer = RateLimitLayer::per_model(tenth(1)).with_longest_wait(SECOND * 9);
    let hurried = RateLimitLayer::per_model(tenth(1));
    let (ctx, short) = (desk.ctx(), desk.ctx().with_timeout(SECOND * 10));
    for (layer, ctx) in [(layer, &ctx), (hurried, &short)] {
        let model = layer.wrap(desk.model());
        assert!(model.complete(ctx, &Desk::request()).await.is_ok());
        let before = desk.script.requests().len();
        let err = model.complete(ctx, &Desk::request()).now_or_never().unwrap().unwrap_err();
        assert_eq!((err.kind(), err.retry()), (ErrorKind::RateLimited, Retry::After(SECOND * 10)));
        assert_eq!((err.get("scope"), desk.script.requests().len()), (Some("endpoint"), before));
    }
}

#[tokio::test]
async fn models_behind_one_layer_share_all_scopes_but_the_endpoint() {
    let desk = Desk::new([]);
    let ctx = desk.ctx().with_principal("asha");
    let named = |name: &str| {
        let script = ScriptedModel::new([]).always(Reply::text("Here."));
        let info = ModelInfo { name: name.into(), ..script.info().clone() };
        Model::new(script.with_info(info))
    };
    for (scope, shared) in [(RateScope::User, true), (RateScope::Tenant, true), (RateScope::Endpoint, false)]
    {
        let layer =
            RateLimitLayer::new(RateRules::new().with(scope, tenth(1))).with_longest_wait(Duration::ZERO);
        let models = ["test:a", "test:b"].map(|name| layer.wrap(named(name)));
        assert!(models[0].complete(&ctx, &Desk::request()).await.is_ok());
        assert_eq!(models[1].complete(&ctx, &Desk::request()).await.is_err(), shared, "{scope}");
    }
}

#[tokio::test]
async fn cancelling_ends_the_wait_and_counts_nothing() {
    let desk = Desk::new([]).always(Reply::text("Here."));
    let ctx = desk.ctx();
    let model = RateLimitLayer::per_model(tenth(1)).wrap(desk.model());
    assert!(model.complete(&ctx, &Desk::request()).await.is_ok());
    assert!(model.complete(&ctx, &Desk::request()).now_or_never().is_none());
    desk.clock.advance(SECOND * 10);
    assert!(model.complete(&ctx, &Desk::request()).now_or_never().unwrap().is_ok());
}

/// Every algorithm, with room for so many tokens in ten seconds.
fn tokens(limit: u32) -> [Rate; 3] {
    use RateAlgorithm::{FixedWindow, SlidingWindow, TokenBucket};
    [TokenBucket, SlidingWindow, FixedWindow].map(|algorithm| tenth(limit).with_algorithm(algorithm))
}

#[test]
fn tokens_that_were_expected_and_not_used_are_free_again() {
    for rate in tokens(100) {
        let rules = RateRules::new().with_tokens(RateScope::Global, rate);
        let subject = RateSubject::default();
        let claim = rules.claim(&subject, 90, SECOND).unwrap();
        let refused = rules.claim(&subject, 20, SECOND).unwrap_err();
        assert_eq!((refused.scope, refused.unit), (RateScope::Global, RateUnit::Tokens), "{rate:?}");
        rules.settle(&subject, claim, 50, SECOND);
        assert!(rules.claim(&subject, 50, SECOND).is_ok(), "{rate:?}");
        assert!(rules.claim(&subject, 60, SECOND).is_err(), "{rate:?}");
        assert_eq!(rules.states()[0].refused, 2);
    }
}

#[test]
fn tokens_beyond_what_was_expected_make_others_wait() {
    for rate in tokens(100) {
        let rules = RateRules::new().with_tokens(RateScope::Global, rate);
        let subject = RateSubject::default();
        let claim = rules.claim(&subject, 10, SECOND).unwrap();
        rules.settle(&subject, claim, 100, SECOND);
        assert!(rules.claim(&subject, 60, SECOND).is_err(), "{rate:?}");
        assert!(rules.claim(&subject, 100, SECOND * 23).is_ok(), "{rate:?}");
    }
}

#[test]
fn a_call_of_more_tokens_than_a_rule_ever_allows_waits_for_a_quiet_time_and_is_made() {
    for rate in tokens(100) {
        let rules = RateRules::new().with_tokens(RateScope::Global, rate).with(RateScope::Global, tenth(9));
        let subject = RateSubject::default();
        assert!(rules.claim(&subject, 5_000, SECOND).is_ok(), "{rate:?}");
        assert!(rules.claim(&subject, 5_000, SECOND).unwrap_err().after < Duration::MAX);
        assert!(rules.check(&subject, SECOND).is_ok(), "a call alone takes no tokens");
    }
}

#[tokio::test]
async fn the_layer_counts_what_the_model_told() {
    // The request and an answer of usual length are expected to take a little more than 1,024 tokens.
    let rate = Rate::new(2_000, SECOND * 10).unwrap().with_burst(1.0);
    let layer = || RateLimitLayer::new(RateRules::new().with_tokens(RateScope::Endpoint, rate));
    for (first, second) in [
        (Reply::text("Short.").with_usage(Usage::new(30, 5)), true),
        (Reply::error(super::support::down()), true),
        (Reply::text("Unknown."), false),
        (Reply::text("Long.").with_usage(Usage::new(900, 900)), false),
    ] {
        let desk = Desk::new([first]).always(Reply::text("Here."));
        let ctx = desk.ctx();
        let model = layer().with_longest_wait(Duration::ZERO).wrap(desk.model());
        let _ = model.complete(&ctx, &Desk::request()).await;
        let answer = model.complete(&ctx, &Desk::request()).await;
        assert_eq!(answer.is_ok(), second, "{answer:?}");
        if let Err(err) = answer {
            assert_eq!(
                (err.kind(), err.message()),
                (ErrorKind::RateLimited, "a limit on tokens was reached")
            );
        }
    }
}

#[test]
fn tokens_beyond_what_was_expected_are_not_paid_by_a_quiet_time_before() {
    let rules = RateRules::new().with_tokens(RateScope::Global, tenth(100));
    let subject = RateSubject::default();
    let claim = rules.claim(&subject, 10, SECOND).unwrap();
    // The call took long, and the bucket was full again before it was known what it took.
    rules.settle(&subject, claim, 110, SECOND * 60);
    assert_eq!(rules.claim(&subject, 100, SECOND * 60).unwrap_err().after, SECOND * 10);
}

#[tokio::test]
async fn layers_with_one_store_share_what_it_counts() {
    let desk = Desk::new([]).always(Reply::text("Here."));
    let ctx = desk.ctx().with_principal("asha");
    let rules = || RateRules::new().with(RateScope::Tenant, tenth(9)).with(RateScope::User, tenth(2));
    let store = MemoryRates::default();
    let [one, two] = [0, 1].map(|_| {
        let layer = RateLimitLayer::new(rules()).with_store(Arc::new(store.clone()));
        (layer.rules().clone(), layer.with_longest_wait(SECOND * 10).wrap(desk.model()))
    });
    assert!(one.1.complete(&ctx, &Desk::request()).await.is_ok());
    assert!(two.1.complete(&ctx, &Desk::request()).await.is_ok());
    desk.pauses(one.1.complete(&ctx, &Desk::request()), &[5]).await.unwrap();
    assert_eq!((one.0.states()[1].refused, two.0.states()[1].refused), (1, 0));
    assert_eq!(desk.script.requests().len(), 3);
}

#[tokio::test]
async fn a_store_is_told_what_a_call_took() {
    let first = Reply::text("Short.").with_usage(Usage::new(30, 5));
    let desk = Desk::new([first]).always(Reply::text("Here."));
    let ctx = desk.ctx();
    let rate = Rate::new(2_000, SECOND * 10).unwrap().with_burst(1.0);
    let layer = RateLimitLayer::new(RateRules::new().with_tokens(RateScope::Endpoint, rate));
    let layer = layer.with_longest_wait(Duration::ZERO).with_store(Arc::new(MemoryRates::default()));
    let model = layer.wrap(desk.model());
    model.complete(&ctx, &Desk::request()).await.unwrap();
    // The task that tells it has its turn.
    tokio::task::yield_now().await;
    assert!(model.complete(&ctx, &Desk::request()).await.is_ok());
    // Of this call nothing was told, so that it counts as it was expected.
    assert_eq!(model.complete(&ctx, &Desk::request()).await.unwrap_err().kind(), ErrorKind::RateLimited);
}

#[tokio::test]
async fn a_call_that_was_never_polled_is_not_counted() {
    let desk = Desk::new([]).always(Reply::text("Here."));
    let model = RateLimitLayer::per_model(tenth(1)).with_longest_wait(Duration::ZERO).wrap(desk.model());
    let (ctx, request) = (desk.ctx(), Desk::request());
    drop(model.stream(&ctx, &request));
    assert!(model.complete(&ctx, &request).await.is_ok());
    assert_eq!(model.complete(&ctx, &request).await.unwrap_err().kind(), ErrorKind::RateLimited);
}
