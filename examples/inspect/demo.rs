//! A small workflow to look at: agents, a list, a gate, a branch that is not taken, and a call that is tried again.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use raptorflow_core::{
    Agent, Engine, Error, ErrorKind, Result,
    economics::PriceBook,
    model::{FunctionModel, Model, ModelInfo},
    types::RunId,
    workflow::{Condition, Step, Workflow, after, agent, function, workflow},
};
use serde_json::{Value, json};

const MODEL: &str = "host:writer";

/// Runs it, answers its gate, and gives the engine, the workflow and the run.
pub(crate) async fn run() -> Result<(Engine, Workflow, RunId)> {
    let flow = flow()?;
    let engine = Engine::builder().prices(prices()?).build().await?;
    engine.register_model(MODEL, model())?;
    engine.register(Agent::builder("writer").model(MODEL).build()?)?;
    engine.register(flow.clone())?;
    let run = engine.start("launch", json!({ "topic": "Diwali", "channels": ["mail", "shop"] })).await?;
    engine.signal(run.id(), "approve", true).by("anna").await?;
    let outcome = run.outcome().await?;
    Ok((engine, flow, outcome.run_id))
}

fn flow() -> Result<Workflow> {
    let check =
        Workflow::builder("check").step("words", same()).step("sources", same().after("words")).build()?;
    Workflow::builder("launch")
        .step("draft", agent("writer").map("$input/channels"))
        .step("review", workflow(&check).after("draft"))
        .step("redo", same().after_when("review", Condition::value().equals("bad")))
        .gate("approve", after("review").prompt("Publish this?").approvers(["anna"]))
        .step("publish", publish().after("approve").input("$draft"))
        .build()
}

fn same() -> Step {
    function(|_ctx, input| async move { Ok(input) })
}

/// Fails the first time, as servers do.
fn publish() -> Step {
    let down = AtomicBool::new(true);
    let step = function(move |_ctx, input: Value| {
        let down = down.swap(false, Ordering::Relaxed);
        async move {
            if down {
                return Err(Error::new(ErrorKind::Unavailable, "demo.publish", "the shop is away"));
            }
            Ok(json!({ "published": input.as_array().map_or(0, Vec::len) }))
        }
    });
    step.retry_delay(Duration::from_millis(5))
}

/// Stands in for a language model.
fn model() -> Model {
    let info = ModelInfo::new(MODEL);
    let answer = |_ctx, _request| async move {
        Ok(json!({
            "text": "Lights for everybody.",
            "usage": { "input_tokens": 20, "output_tokens": 5 },
        }))
    };
    Model::new(FunctionModel::new(info, answer))
}

fn prices() -> Result<PriceBook> {
    PriceBook::from_toml(
        "demo",
        r#"
        [[price]]
        model = "host:writer"
        currency = "USD"
        input = 250_000
        output = 2_000_000
        valid_from = 2026-01-01
        "#,
    )
}
