//! What stands before an engine's models: the standard layers, those of the host, or none.

use std::{pin::pin, time::Duration};

use futures_util::poll;
use raptorflow_core::{
    Engine,
    engine::EngineBuilder,
    error::{Error, ErrorKind, Result, Retry},
    event::{EventKind, Filter, History},
    model::{CannedModel, FallbackLayer, Layers, Model, ModelRegistry},
    testing::{ManualClock, Reply, ScriptedModel},
};

use crate::support::{MODEL, agent, built, settle, standing_still};

fn busy(pause: u64) -> Error {
    Error::new(ErrorKind::RateLimited, "model.stream", "slow down")
        .retryable(Retry::After(Duration::from_secs(pause)))
}

fn down() -> Error {
    Error::new(ErrorKind::Unavailable, "model.stream", "down").retryable(Retry::Soon)
}

/// An engine over a clock that stands still, with an agent `it`.
async fn standing(builder: EngineBuilder, script: &ScriptedModel) -> (Engine, ManualClock) {
    let (clock, runtime) = standing_still();
    let engine = built(builder.runtime(runtime), script).await;
    engine.register(agent("it").build().unwrap()).unwrap();
    (engine, clock)
}

/// The answer of the agent, and how many seconds had to pass for it.
async fn ask(engine: &Engine, clock: &ManualClock) -> (Result<String>, u64) {
    let mut run = pin!(engine.run("it", "hello").into_future());
    for seconds in 0..1000 {
        for _ in 0..10 {
            if let std::task::Poll::Ready(outcome) = poll!(&mut run) {
                return (outcome.map(|outcome| outcome.text().to_owned()), seconds);
            }
            settle().await;
        }
        clock.advance(Duration::from_secs(1));
    }
    panic!("it does not end");
}

#[tokio::test]
async fn a_model_that_asks_for_a_pause_ends_no_run() {
    let script = ScriptedModel::new([Reply::error(busy(7)), Reply::text("Here.")]);
    let (engine, clock) = standing(Engine::builder(), &script).await;
    let (answer, seconds) = ask(&engine, &clock).await;
    assert_eq!((answer.unwrap().as_str(), seconds), ("Here.", 7));
    let keys = script.keys();
    assert!(keys[0].is_some() && keys[0] == keys[1], "{keys:?}");
}

#[tokio::test]
async fn without_layers_the_first_error_is_the_last() {
    let script = ScriptedModel::new([Reply::error(busy(7)), Reply::text("Here.")]);
    let (engine, clock) = standing(Engine::builder().layers(Layers::new()), &script).await;
    let (answer, seconds) = ask(&engine, &clock).await;
    assert_eq!((answer.unwrap_err().retry(), seconds), (Retry::After(Duration::from_secs(7)), 0));
    assert_eq!(script.requests().len(), 1);
}

#[tokio::test]
async fn a_run_that_gives_up_says_so_and_can_be_resumed() {
    let script = ScriptedModel::new([]).always(Reply::error(down()));
    let (engine, clock) = standing(Engine::builder(), &script).await;
    let err = ask(&engine, &clock).await.0.unwrap_err();
    assert_eq!((err.kind(), err.retry()), (ErrorKind::Unavailable, Retry::Exhausted));
    assert_eq!((err.get("attempts"), script.requests().len()), (Some("3"), 3));
    assert!(err.get("run").is_some(), "{err}");
}

#[tokio::test]
async fn circuits_that_change_are_told_on_the_engines_bus() {
    let script = ScriptedModel::new([]).always(Reply::error(down()));
    let (engine, clock) = standing(Engine::builder(), &script).await;
    for _ in 0..3 {
        assert!(ask(&engine, &clock).await.0.is_err());
    }
    assert_eq!(script.requests().len(), 5, "the breaker holds the sixth try back");
    let changes = Filter { kinds: vec![EventKind::StatusUpdated], ..Filter::default() };
    let (_, runtime) = standing_still();
    let ctx = raptorflow_core::runtime::Context::new(&runtime);
    let told = engine.bus().history(&ctx, &History { filter: changes, ..History::default() });
    assert_eq!(told.len(), 1);
    assert_eq!(
        (&told[0].data["model"], &told[0].data["circuit"]),
        (&"scripted:model".into(), &"open".into())
    );
}

#[tokio::test]
async fn layers_of_a_registry_stay_and_those_of_the_engine_come_before_them() {
    let fallback = |text: &str| FallbackLayer::new().or(Model::new(CannedModel::new(text)));
    let models = || ModelRegistry::empty().with_layers(Layers::new().with(fallback("the registry's")));
    let script = ScriptedModel::new([]).always(Reply::error(down()));
    let (engine, clock) = standing(Engine::builder().models(models()), &script).await;
    assert_eq!(ask(&engine, &clock).await.0.unwrap(), "the registry's");
    let layers = Layers::new().with(fallback("the engine's"));
    let (engine, clock) = standing(Engine::builder().models(models()).layers(layers), &script).await;
    assert_eq!(ask(&engine, &clock).await.0.unwrap(), "the engine's");
    assert_eq!(&*engine.model(MODEL).await.unwrap().info().name, "scripted:model");
}
