//! Time in a team: an agent that uses up its own is missing; the run's own ends the run.

use std::{future, time::Duration};

use raptorflow_core::{
    Agent, Engine,
    agent::{AgentSpec, FunctionAgent, Limits},
    error::{ErrorKind, Result},
    orchestrator::{Orchestrator, Report, Supervisor, TeamSpec},
    testing::{ManualClock, ScriptedModel},
};
use serde_json::json;

use crate::support::{built, settle, standing_still};

/// An agent that answers at once, or one that never does and has ten seconds.
fn member(name: &str, answers: bool) -> Agent {
    let mut spec = AgentSpec::new(name).unwrap();
    let mut limits = Limits::default();
    limits.seconds = Some(10);
    spec.limits = limits;
    Agent::new(FunctionAgent::new(spec, move |_, _| async move {
        if answers { Ok(json!("All is well.")) } else { future::pending::<Result<_>>().await }
    }))
}

async fn team() -> (Engine, ManualClock) {
    let (clock, runtime) = standing_still();
    let engine = built(Engine::builder().runtime(runtime), &ScriptedModel::new([])).await;
    let spec: TeamSpec = serde_json::from_value(json!({
        "name": "one", "title": "One", "concern": "all", "heading": "All", "description": "Does all.",
    }))
    .unwrap();
    let team = Supervisor::new(spec, member("quick", true), vec![member("slow", false)]);
    engine.register(Orchestrator::new("teams", vec![team]).unwrap()).unwrap();
    (engine, clock)
}

#[tokio::test]
async fn an_agent_that_used_up_its_own_time_is_listed_as_missing() {
    let (engine, clock) = team().await;
    let run = engine.start("teams", "go").await.unwrap();
    settle().await;
    clock.advance(Duration::from_secs(11));
    let report: Report = serde_json::from_value(run.outcome().await.unwrap().output).unwrap();
    let missing: Vec<&str> = report.sections[0].missing.iter().map(|it| it.agent.as_str()).collect();
    assert_eq!(missing, ["slow"]);
    assert_eq!(report.sections[0].missing[0].error.kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn the_time_of_the_run_ends_the_run() {
    let (engine, clock) = team().await;
    let run = engine.run("teams", "go").timeout(Duration::from_secs(5)).start().await.unwrap();
    settle().await;
    clock.advance(Duration::from_secs(6));
    assert_eq!(run.outcome().await.unwrap_err().kind(), ErrorKind::Timeout);
}
