//! The breaker as a layer: what counts, what gives its place back, what is told.

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};

use super::support::{Desk, busy, down};
use crate::{
    error::{Error, ErrorKind, Retry},
    event::{Bus, BusConfig, EventKind, History, Status},
    model::{BreakerConfig, BreakerState, CircuitBreakerLayer, Layer as _, Layers, Model, RetryLayer},
    runtime::Context,
    testing::Reply,
};

/// Opens at the second failure for a minute; closes at the second success, with one probe at a time.
fn layer() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new(BreakerConfig {
        failures: 2,
        successes: 2,
        probes: 1,
        ..BreakerConfig::default()
    })
}

async fn fail(model: &Model, ctx: &Context, times: usize) -> Error {
    let mut last = None;
    for _ in 0..times {
        last = model.complete(ctx, &Desk::request()).await.err();
    }
    last.expect("an error")
}

#[tokio::test]
async fn a_failing_model_is_left_alone_and_comes_back_after_enough_successes() {
    let desk = Desk::new([Reply::error(down()), Reply::error(down())]).always(Reply::text("Here."));
    let (layer, ctx) = (layer(), desk.ctx());
    let model = layer.wrap(desk.model());
    fail(&model, &ctx, 2).await;
    let held = fail(&model, &ctx, 1).await;
    assert_eq!((held.kind(), held.retry()), (ErrorKind::Unavailable, Retry::After(Duration::from_secs(60))));
    assert_eq!((held.get("circuit"), desk.script.requests().len()), (Some("open"), 2));
    desk.clock.advance(Duration::from_secs(60));
    for state in [BreakerState::HalfOpen, BreakerState::Closed] {
        assert!(model.complete(&ctx, &Desk::request()).await.is_ok());
        assert_eq!(layer.states()[0].state, state);
    }
    let counts = layer.states()[0].counts;
    assert_eq!((counts.failed, counts.succeeded, counts.held_back, counts.opened), (2, 2, 1, 1));
}

#[tokio::test]
async fn failures_that_lie_further_apart_than_the_window_do_not_open_it() {
    let desk = Desk::new([]).always(Reply::error(down()));
    let (layer, ctx) = (layer(), desk.ctx());
    let model = layer.wrap(desk.model());
    for _ in 0..20 {
        fail(&model, &ctx, 1).await;
        desk.clock.advance(BreakerConfig::default().window);
    }
    assert_eq!((layer.states()[0].state, layer.states()[0].counts.failed), (BreakerState::Closed, 20));
    fail(&model, &ctx, 2).await;
    assert_eq!(layer.states()[0].state, BreakerState::Open);
}

#[tokio::test]
async fn only_what_tells_of_the_model_counts() {
    let error = |kind| Error::new(kind, "model.stream", "no");
    let telling = [down(), error(ErrorKind::Timeout).retryable(Retry::Soon)];
    let silent = [
        busy(1),
        error(ErrorKind::Timeout),
        error(ErrorKind::InvalidInput),
        error(ErrorKind::InvalidOutput),
        error(ErrorKind::Cancelled),
        error(ErrorKind::Unauthenticated),
        error(ErrorKind::Callback),
    ];
    for (errors, state) in [(&telling[..], BreakerState::Open), (&silent[..], BreakerState::Closed)] {
        for err in errors {
            let desk = Desk::new([]).always(Reply::error(err.clone()));
            let layer = layer();
            let model = layer.wrap(desk.model());
            fail(&model, &desk.ctx(), 2).await;
            assert_eq!(layer.states()[0].state, state, "{err}");
        }
    }
    let desk = Desk::new([]).always(Reply::error(busy(1)));
    let strict = layer().counting(|err| err.kind() == ErrorKind::RateLimited);
    let model = strict.wrap(desk.model());
    fail(&model, &desk.ctx(), 2).await;
    assert_eq!(strict.states()[0].state, BreakerState::Open);
}

#[tokio::test]
async fn a_dropped_probe_gives_its_place_back() {
    let begun = Reply::text("Here.").silent_after(1);
    let desk =
        Desk::new([Reply::error(down()), Reply::error(down()), begun, Reply::hang(), Reply::text("Here.")]);
    let (layer, ctx) = (layer(), desk.ctx());
    let model = layer.wrap(desk.model());
    fail(&model, &ctx, 2).await;
    desk.clock.advance(Duration::from_secs(60));
    let mut stream = model.stream(&ctx, &Desk::request()).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    assert_eq!(fail(&model, &ctx, 1).await.get("circuit"), Some("half_open"), "one probe at a time");
    drop(stream);
    assert!(model.complete(&ctx, &Desk::request()).now_or_never().is_none(), "it hangs and is dropped");
    assert!(model.complete(&ctx, &Desk::request()).await.is_ok());
    assert_eq!(layer.states()[0].counts.succeeded, 1);
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_is_slow_to_begin_counts() {
    let cut = Reply::text("Here.").cut_after(1);
    let late = Reply::text("Here.").with_delay(Duration::from_secs(31));
    let slow = Reply::text("Here.").with_delay(Duration::from_secs(11));
    let desk = Desk::new([slow, cut, late]);
    let (layer, ctx) = (layer(), desk.ctx());
    let model = layer.wrap(desk.model());
    desk.pauses(model.complete(&ctx, &Desk::request()), &[11]).await.unwrap();
    assert!(model.complete(&ctx, &Desk::request()).await.is_err());
    desk.pauses(model.complete(&ctx, &Desk::request()), &[31]).await.unwrap();
    let status = &layer.states()[0];
    assert_eq!((status.state, status.counts.slow, status.counts.failed), (BreakerState::Open, 1, 2));
}

#[tokio::test]
async fn changes_are_told_on_the_bus() {
    let desk = Desk::new([Reply::error(down()), Reply::error(down())]).always(Reply::text("Here."));
    let (bus, ctx) = (Bus::local(BusConfig::default()), desk.ctx());
    let model = layer().with_bus(bus.clone()).wrap(desk.model());
    fail(&model, &ctx, 3).await;
    desk.clock.advance(Duration::from_secs(60));
    for _ in 0..3 {
        assert!(model.complete(&ctx, &Desk::request()).await.is_ok());
    }
    let told: Vec<_> = bus
        .history(&ctx, &History::default())
        .iter()
        .map(|event| (event.kind.clone(), event.status, event.data["circuit"].as_str().unwrap().to_owned()))
        .collect();
    let of = |status, circuit: &str| (EventKind::StatusUpdated, status, circuit.to_owned());
    let expected =
        [of(Status::Warning, "open"), of(Status::Success, "half_open"), of(Status::Success, "closed")];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn there_is_one_breaker_for_a_name_also_when_its_models_come_and_go() {
    let desk = Desk::new([]).always(Reply::error(down()));
    let layer = layer();
    let (one, two) = (layer.wrap(desk.model()), layer.clone().wrap(desk.model()));
    fail(&one, &desk.ctx(), 2).await;
    assert_eq!(fail(&two, &desk.ctx(), 1).await.get("circuit"), Some("open"));
    assert_eq!(layer.states().len(), 1);
    drop((one, two));
    let again = layer.wrap(desk.model());
    assert_eq!(fail(&again, &desk.ctx(), 1).await.get("circuit"), Some("open"));
}

#[tokio::test]
async fn a_retry_does_not_wait_for_an_open_breaker() {
    let desk = Desk::new([]).always(Reply::error(down()));
    let ctx = desk.ctx();
    let model = Layers::new().with(RetryLayer::default()).with(layer()).wrap(desk.model());
    // Two tries open it, and the third one is held back.
    let first = desk.hurry(model.complete(&ctx, &Desk::request())).await.unwrap_err();
    let second = model.complete(&ctx, &Desk::request()).await.unwrap_err();
    for err in [first, second] {
        assert_eq!(err.operation(), "model.circuit_breaker");
        assert!(matches!(err.retry(), Retry::After(_)), "{err}");
    }
    assert_eq!(desk.script.requests().len(), 2);
}
