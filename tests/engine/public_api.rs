//! The public names as a program writes them: a tool by attribute, an agent by builder, a run with its outcome.

use futures_util::StreamExt as _;
use raptorflow_core::{
    Agent, Engine, Result,
    agent::{AgentInput, AgentSpec, FunctionAgent},
    error::{Error, ErrorKind},
    event::EventKind,
    testing::{Reply, ScriptedModel},
    tool,
    types::{Finish, Schema, Usage},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{agent, built, facts, kinds, run_of};

/// Adds GST to a net amount in rupees.
#[tool]
async fn add_gst(
    /// The net amount.
    net: f64,
    #[arg(description = "The rate as a share of one.", default = 0.18)] rate: f64,
) -> Result<f64> {
    if net < 0.0 {
        return Err(Error::new(ErrorKind::InvalidInput, "gst.add", "the net amount is negative"));
    }
    Ok((net * (1.0 + rate)).round())
}

/// Says what day it is.
#[tool(name = "today", effects = "external", timeout_seconds = 5)]
fn what_day() -> String {
    "Monday".to_owned()
}

/// The answer of the agent.
#[derive(Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
struct Quote {
    gross: f64,
    currency: String,
}

fn script() -> ScriptedModel {
    ScriptedModel::new([
        Reply::tool_calls([
            ("add_gst", json!({ "net": 1000 })),
            ("add_gst", json!({ "net": -1 })),
            ("today", json!({})),
        ])
        .with_usage(Usage::new(20, 5)),
        Reply::json(&json!({ "gross": 1180.0, "currency": "INR" })).with_usage(Usage::new(40, 10)),
    ])
}

#[tokio::test]
async fn a_program_of_the_design_works_as_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("sqlite:{}", folder.path().join("team.db").display());
    let script = script();
    let engine = built(Engine::builder().storage(address), &script).await;
    let pricing = Agent::builder("pricing")
        .model("scripted:main")
        .instructions("Answer with one price.")
        .tool(add_gst)
        .tool(what_day)
        .output::<Quote>()
        .build()
        .unwrap();
    engine.register(pricing).unwrap();

    let mut events = engine.start("pricing", "₹1000 with GST?").await.unwrap().events();
    let mut completed = 0;
    while let Some(event) = events.next().await {
        completed += usize::from(event.unwrap().kind == EventKind::AgentCompleted);
    }
    assert_eq!(completed, 1);
    let outcome = events.outcome().await.unwrap();
    let quote: Quote = serde_json::from_value(outcome.output.clone()).unwrap();
    assert_eq!(quote, Quote { gross: 1180.0, currency: "INR".into() });
    assert_eq!((outcome.usage, outcome.cost, outcome.finish), (Usage::new(60, 15), None, Finish::Complete));
    assert_eq!(engine.resume(outcome.run_id).await.unwrap(), outcome);
    assert_eq!(engine.cancel(outcome.run_id).await.unwrap_err().kind(), ErrorKind::Conflict);

    let requests = script.requests();
    let offered: Vec<&str> = requests[0].tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(offered, ["add_gst", "today"]);
    let described = &requests[0].tools[0];
    assert_eq!(described.description, "Adds GST to a net amount in rupees.");
    assert_eq!(described.parameters.as_value()["required"], json!(["net"]));
    let results: Vec<Value> =
        serde_json::from_value(json!(requests[1].messages.last().unwrap().parts)).unwrap();
    assert_eq!(results[0]["content"], json!(1180.0));
    assert_eq!(results[1]["content"]["message"], json!("the net amount is negative"));
    assert_eq!(results[2]["content"], json!("Monday"));
}

fn function(name: &str, output: Option<Value>) -> FunctionAgent {
    let mut spec = AgentSpec::new(name).unwrap();
    spec.output = output.map(|schema| Schema::new(schema).unwrap());
    let work = |_, input: AgentInput| {
        // A panic here is before there is a future.
        assert!(input.input != json!("panic"), "as this case wants it");
        async move { Ok(input.input) }
    };
    FunctionAgent::new(spec, work)
}

#[tokio::test]
async fn a_function_that_panics_or_gives_what_does_not_fit_fails_its_run_and_no_more() {
    let engine = built(Engine::builder(), &ScriptedModel::new([])).await;
    engine.register(function("typed", Some(json!({ "type": "object" })))).unwrap();
    assert_eq!(engine.run("typed", json!({ "a": 1 })).await.unwrap().output, json!({ "a": 1 }));
    for (input, kind) in [("panic", ErrorKind::Callback), ("text", ErrorKind::InvalidOutput)] {
        let err = engine.run("typed", input).await.unwrap_err();
        assert_eq!((err.kind(), err.get("agent")), (kind, Some("typed")));
        let run = run_of(&err);
        assert_eq!(kinds(&engine, run), ["agent_started", "agent_failed"]);
        assert_eq!(facts(&engine, run).await, ["execution_started", "call: step_failed", "execution_failed"]);
    }
}

#[tokio::test]
async fn agents_of_one_name_are_registered_once() {
    let engine = built(Engine::builder(), &ScriptedModel::new([])).await;
    engine.register(function("worker", None)).unwrap();
    let err = engine.register(agent("worker").build().unwrap()).unwrap_err();
    assert_eq!((err.kind(), err.get("agent")), (ErrorKind::AlreadyExists, Some("worker")));
    assert!(engine.agents().remove("worker"));
    engine.register(agent("worker").build().unwrap()).unwrap();
    for bad in ["", "a/b", " x", "x\n"] {
        let err = Agent::builder(bad).build().unwrap_err();
        assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, Some("agent")));
    }
    let twice = agent("twice").tool(add_gst).tool(add_gst).build().unwrap_err();
    assert_eq!((twice.kind(), twice.get("tool")), (ErrorKind::AlreadyExists, Some("add_gst")));
    let schema = agent("schema").output_schema(Schema::unchecked(json!({ "type": "objekt" }))).build();
    assert_eq!(schema.unwrap_err().get("agent"), Some("schema"));
}
