//! What stands before an engine's models: the standard layers, those of the host, or none.

use std::{pin::pin, time::Duration};

use futures_util::poll;
use raptorflow_core::{
    Engine,
    agent::AgentInput,
    economics::BudgetConfig,
    engine::EngineBuilder,
    engine::EngineConfig,
    error::{Error, ErrorKind, Result, Retry},
    event::{EventKind, Filter, History},
    model::{BreakerState, CannedModel, FallbackLayer, Layers, Model, ModelInfo, ModelRegistry, Place},
    rag::HashingEmbedder,
    testing::{ManualClock, Reply, ScriptedModel},
    types::Usage,
};
use serde_json::{Value, json};

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

#[tokio::test]
async fn an_engine_with_budgets_has_the_other_layers_as_well() {
    let engine = Engine::builder().budgets(BudgetConfig::default()).build().await.unwrap();
    let places: Vec<_> = engine.layers().places().collect();
    assert_eq!(places, [Place::Trace, Place::Budget, Place::Retry, Place::CircuitBreaker, Place::Timeout]);
    let models = ModelRegistry::empty().with_layers(Layers::new().with(FallbackLayer::new()));
    let builder = Engine::builder().models(models).budgets(BudgetConfig::default());
    let places: Vec<_> = builder.build().await.unwrap().layers().places().collect();
    assert_eq!(places, [Place::Fallback, Place::Budget]);
}

#[tokio::test]
async fn a_model_that_an_agent_holds_itself_has_the_layers_and_its_breaker_outlives_the_run() {
    let script = ScriptedModel::new([]).always(Reply::error(down()));
    let (engine, clock) = standing(Engine::builder(), &ScriptedModel::new([])).await;
    let own = agent("own").model_instance(Model::new(script.clone())).build().unwrap();
    engine.register(own).unwrap();
    for _ in 0..3 {
        let mut run = pin!(engine.run("own", "hello").into_future());
        while poll!(&mut run).is_pending() {
            settle().await;
            clock.advance(Duration::from_secs(1));
        }
    }
    assert_eq!(script.requests().len(), 5, "the breaker holds the sixth try back");
    assert_eq!(engine.breakers()[0].state, BreakerState::Open);
}

/// An engine with layers as data, whose other model answers.
async fn of(layers: Value, script: &ScriptedModel, other: Reply) -> (Engine, ManualClock, ScriptedModel) {
    let config = EngineConfig::from_json(json!({ "layers": layers })).unwrap();
    let (engine, clock) = standing(Engine::builder().config(config).unwrap(), script).await;
    let other = ScriptedModel::new([]).always(other);
    let info = ModelInfo { name: "host:other".into(), ..Model::new(other.clone()).info().clone() };
    let other = other.with_info(info);
    engine.register_model("host:other", Model::new(other.clone())).unwrap();
    (engine, clock, other)
}

#[tokio::test]
async fn a_fallback_that_is_named_in_data_may_be_registered_later_and_has_retries_of_its_own() {
    let script = ScriptedModel::new([]).always(Reply::error(down()));
    let layers = json!({ "retry": { "attempts": 2 }, "fallback": ["host:other"] });
    let (engine, clock, _) = of(layers.clone(), &script, Reply::text("Here.")).await;
    assert_eq!(ask(&engine, &clock).await.0.unwrap(), "Here.");
    assert_eq!(script.requests().len(), 2);
    let (engine, clock, other) = of(layers, &script, Reply::error(down())).await;
    let err = ask(&engine, &clock).await.0.unwrap_err();
    assert_eq!((err.get("failed"), other.requests().len()), (Some("scripted:model: unavailable"), 2));
    let layers = json!({ "retry": false, "fallback": { "models": ["host:none"], "text": "Later." } });
    let (engine, clock, _) = of(layers, &script, Reply::text("Here.")).await;
    assert_eq!(ask(&engine, &clock).await.0.unwrap(), "Later.");
}

#[tokio::test]
async fn a_cascade_that_is_named_in_data_asks_the_stronger_model() {
    let script = ScriptedModel::new([Reply::error(down())]);
    let (engine, clock, other) =
        of(json!({ "retry": false, "cascade": ["host:other"] }), &script, Reply::error(down())).await;
    assert!(ask(&engine, &clock).await.0.is_err());
    assert_eq!(other.requests().len(), 1, "the last of a cascade has nobody behind it");
}

#[tokio::test]
async fn a_cache_answers_again_and_forgets_when_it_is_told() {
    let script = ScriptedModel::new([]).always(Reply::text("Here.").with_usage(Usage::new(9, 1)));
    let (engine, clock, _) = of(json!({ "cache": true }), &script, Reply::text("x")).await;
    let run = engine.run("it", AgentInput::from("hello")).await.unwrap();
    let again = engine.run("it", "hello").await.unwrap();
    assert_eq!((run.usage, again.usage), (Usage::new(9, 1), Usage::default()));
    let stats = engine.cache_stats().unwrap();
    assert_eq!((stats.exact_hits, stats.misses, stats.entries), (1, 1, 1));
    assert_eq!((engine.forget_answers(Some("other")), engine.forget_answers(Some("it"))), (0, 1));
    ask(&engine, &clock).await.0.unwrap();
    assert_eq!(script.requests().len(), 2);
}

#[tokio::test]
async fn a_limit_that_is_reached_is_counted() {
    let script = ScriptedModel::new([]).always(Reply::text("Here."));
    let rule = json!({ "scope": "user", "limit": 1, "per_seconds": 60, "burst": 1 });
    let layers = json!({ "retry": false, "rate_limit": { "rules": [rule], "longest_wait_seconds": 0 } });
    let (engine, _, _) = of(layers, &script, Reply::text("x")).await;
    for (user, allowed) in [("asha", true), ("asha", false), ("ravi", true)] {
        let answer = engine.run("it", "hello").user(user).await;
        assert_eq!(answer.map_err(|err| err.kind()).is_ok(), allowed, "{user}");
    }
    let states = engine.rate_limits();
    assert_eq!((states[0].refused, states[0].keys), (1, 2));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_for_again_unless_its_words_were_shown() {
    for content in [false, true] {
        let cut = Reply::text("Half an").in_pieces(4).cut_after(1);
        let script = ScriptedModel::new([cut, Reply::text("Whole.")]);
        let (engine, clock) = standing(Engine::builder(), &script).await;
        let mut run = pin!(engine.run("it", "hello").content(content).into_future());
        let outcome = loop {
            if let std::task::Poll::Ready(outcome) = poll!(&mut run) {
                break outcome;
            }
            settle().await;
            clock.advance(Duration::from_secs(1));
        };
        match outcome {
            Ok(outcome) => assert_eq!((content, outcome.text().as_str()), (false, "Whole.")),
            Err(err) => assert_eq!((content, err.get("partial_chars")), (true, Some("4"))),
        }
    }
}

#[tokio::test]
async fn a_cache_with_an_embedder_answers_what_means_the_same_and_needs_a_cache() {
    let script = ScriptedModel::new([]).always(Reply::text("Here."));
    let config = EngineConfig::from_json(json!({ "layers": { "cache": { "cosine": 0.8 } } })).unwrap();
    let builder = Engine::builder().config(config).unwrap().cache_embedder(HashingEmbedder::default());
    let (engine, clock) = standing(builder, &script).await;
    ask(&engine, &clock).await.0.unwrap();
    engine.run("it", "Hello!").await.unwrap();
    assert_eq!(engine.cache_stats().unwrap().semantic_hits, 1);
    let err = Engine::builder().cache_embedder(HashingEmbedder::default()).build().await.unwrap_err();
    assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, Some("cache_embedder")));
}
