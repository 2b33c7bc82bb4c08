//! Teams at work: agents work at the same time, some are missing, and a resume asks only who had not finished.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use raptorflow_core::{
    Agent, Engine,
    agent::{AgentSpec, FunctionAgent},
    economics::PriceBook,
    error::{Error, ErrorKind, Result, Retry},
    journal::JournalConfig,
    model::{Model, ModelInfo},
    orchestrator::{
        CapabilityRouter, Decision, Orchestrator, OrchestratorConfig, Report, Router, Supervisor, Task,
    },
    runtime::Context,
    storage::Storage,
    testing::{Reply, ScriptedModel},
    types::{Money, Schema, Usage},
};
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::{
    support::{agent, engine, facts, kinds, run_of},
    teams::{Calls, TEAMS, done, report, supervisors, team_spec, with},
};

/// Six agents in three teams that all wait until as many work at the same time, and the most that did.
async fn at_the_same_time(together: usize, parallel: usize) -> usize {
    let barrier = Arc::new(Barrier::new(together));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let meet = |name: String| -> Agent {
        let (barrier, now, most) = (Arc::clone(&barrier), Arc::clone(&now), Arc::clone(&most));
        let work = move |_, _| {
            let (barrier, now, most) = (Arc::clone(&barrier), Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                barrier.wait().await;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(json!("met"))
            }
        };
        FunctionAgent::new(AgentSpec::new(name).unwrap(), work).into()
    };
    let team = |(name, words): &(&str, &[&str])| {
        Supervisor::new(team_spec(name, words), meet(format!("{name}-1")), vec![meet(format!("{name}-2"))])
    };
    let orchestrator = Orchestrator::new("office", TEAMS.iter().map(team).collect()).unwrap();
    let config = OrchestratorConfig::default().with_parallel(parallel);
    report(&with(orchestrator.with_config(config)).await, "Sing a song").await;
    most.load(Ordering::SeqCst)
}

#[tokio::test]
async fn agents_work_at_the_same_time_and_never_more_than_allowed() {
    assert_eq!(at_the_same_time(6, 16).await, 6);
    assert_eq!(at_the_same_time(2, 2).await, 2);
    assert_eq!(at_the_same_time(1, 1).await, 1);
}

fn broken(_: usize) -> Result<Value> {
    Err(Error::new(ErrorKind::Callback, "host.work", "it does not work"))
}

fn down_once(calls: usize) -> Result<Value> {
    let down =
        Error::new(ErrorKind::Unavailable, "host.work", "the other side is down").retryable(Retry::Soon);
    if calls == 1 { Err(down) } else { done(calls) }
}

#[tokio::test]
async fn who_cannot_answer_is_missing_and_stays_so_and_who_is_out_of_reach_is_asked_again() {
    let calls = Calls::default();
    let members =
        vec![calls.agent("broken", broken), calls.agent("down", down_once), calls.agent("last", done)];
    let lead = calls.agent("first", done);
    let team = Supervisor::new(team_spec("team", &["work"]), lead, members);
    let engine = with(Orchestrator::new("office", vec![team]).unwrap()).await;
    let task = json!({ "goal": "x", "agents_per_team": 4 });
    let err = engine.run("office", task).await.unwrap_err();
    assert_eq!((err.kind(), err.get("asked")), (ErrorKind::Unavailable, Some("down")));
    let run = run_of(&err);
    let before = facts(&engine, run).await;
    assert!(before.contains(&"team/broken: step_failed".to_owned()), "{before:?}");

    let outcome = engine.resume(run).await.unwrap();
    let report: Report = serde_json::from_value(outcome.output.clone()).unwrap();
    // The run as a whole had failed, so that what failed in it is tried again; what is recorded is not.
    assert_eq!(
        calls.counts(),
        [("broken", 2), ("down", 2), ("first", 1), ("last", 1)].map(|(name, n)| (name.to_owned(), n))
    );
    let missing: Vec<(&str, ErrorKind)> =
        report.sections[0].missing.iter().map(|it| (it.agent.as_str(), it.error.kind())).collect();
    assert_eq!(missing, [("broken", ErrorKind::Callback)]);
    assert_eq!(report.sections[0].details.keys().collect::<Vec<_>>(), ["first", "down", "last"]);
    assert_eq!(engine.resume(run).await.unwrap(), outcome);
}

#[tokio::test]
async fn over_a_crash_a_missing_agent_stays_missing() {
    let calls = Calls::default();
    let never = FunctionAgent::new(AgentSpec::new("never").unwrap(), |_, _| std::future::pending());
    let teams = |second: Agent| {
        let team = Supervisor::new(team_spec("team", &["work"]), calls.agent("broken", broken), vec![second]);
        Orchestrator::new("office", vec![team]).unwrap()
    };
    let storage = Storage::memory();
    let mut journal = JournalConfig::default();
    journal.owner = Some("one".into());
    let builder = || Engine::builder().storage_handle(storage.clone()).journal(journal.clone());
    let first = builder().build().await.unwrap();
    first.register(teams(never.into())).unwrap();
    let id = first.runtime().ids().run();
    {
        let mut work = Box::pin(first.run("office", "x").id(id).into_future());
        assert!(futures_util::poll!(&mut work).is_pending());
    }
    let second = builder().build().await.unwrap();
    second.register(teams(calls.agent("never", done))).unwrap();
    let report: Report = serde_json::from_value(second.resume(id).await.unwrap().output).unwrap();
    assert_eq!(report.sections[0].missing[0].agent.as_str(), "broken");
    assert_eq!(calls.counts(), [("broken".to_owned(), 1), ("never".to_owned(), 1)]);
    // What was told before the crash is not told again: the agent that failed is silent.
    let started = kinds(&second, id).iter().filter(|kind| *kind == "agent_started").count();
    assert_eq!(started, 2);
}

#[tokio::test]
async fn when_nobody_answers_the_run_fails_with_the_first_error() {
    let calls = Calls::default();
    let team = Supervisor::new(
        team_spec("team", &["work"]),
        calls.agent("a", broken),
        vec![calls.agent("b", broken)],
    );
    let engine = with(Orchestrator::new("office", vec![team]).unwrap()).await;
    let err = engine.run("office", "x").await.unwrap_err();
    assert_eq!((err.kind(), err.message()), (ErrorKind::Callback, "it does not work"));
    let told = kinds(&engine, run_of(&err));
    assert_eq!(
        (told.last().unwrap().as_str(), told.contains(&"workflow_completed".to_owned())),
        ("agent_failed", false)
    );
}

#[tokio::test]
async fn a_changed_team_is_a_conflict_that_names_what_is_gone() {
    let calls = Calls::default();
    let of = |names: [&str; 2]| {
        let team = Supervisor::new(
            team_spec("team", &["work"]),
            calls.agent(names[0], done),
            vec![calls.agent(names[1], down_once)],
        );
        Orchestrator::new("office", vec![team]).unwrap()
    };
    let engine = with(of(["a", "b"])).await;
    let run = run_of(&engine.run("office", "x").await.unwrap_err());
    engine.agents().remove("office");
    engine.register(of(["a", "c"])).unwrap();
    let err = engine.resume(run).await.unwrap_err();
    assert_eq!((err.kind(), err.get("agent")), (ErrorKind::Conflict, Some("b")));
}

#[tokio::test]
async fn names_of_teams_and_of_their_agents_are_used_once() {
    let calls = Calls::default();
    let twice = supervisors(&[("plans", &["plan"]), ("plans", &["plan"])], &calls);
    let err = Orchestrator::new("office", twice).unwrap_err();
    assert_eq!((err.kind(), err.get("team")), (ErrorKind::AlreadyExists, Some("plans")));
    let team = Supervisor::new(team_spec("team", &[]), calls.agent("a", done), vec![calls.agent("a", done)]);
    let err = Orchestrator::new("office", vec![team]).unwrap_err();
    assert_eq!((err.kind(), err.get("agent")), (ErrorKind::AlreadyExists, Some("a")));
    for name in ["", "a/b"] {
        let team = Supervisor::new(team_spec(name, &[]), calls.agent("a", done), vec![]);
        assert_eq!(Orchestrator::new("office", vec![team]).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(Orchestrator::new("office", vec![]).unwrap_err().kind(), ErrorKind::InvalidInput);
}

/// The cost of a report over agents whose models have these prices: micro-units for each call, or none.
async fn cost_of(prices: &[Option<(&str, u64)>]) -> (Option<String>, Option<String>, u64) {
    let mut book = PriceBook::empty();
    let mut agents = Vec::new();
    for (number, price) in prices.iter().enumerate() {
        let name = format!("priced:{number}");
        if let Some((currency, micros)) = price {
            let text = format!(
                "[[price]]\nmodel = \"{name}\"\ncurrency = \"{currency}\"\ninput = {}\noutput = 0\nvalid_from = 2020-01-01",
                micros * 1_000_000
            );
            let one = PriceBook::from_toml("prices.toml", &text).unwrap();
            book = book.with(&one);
        }
        let reply = Reply::text("nothing").with_usage(Usage::new(1, 0));
        let script = ScriptedModel::new([]).always(reply).with_info(ModelInfo::new(name.as_str()));
        let model = Model::new(script);
        agents.push(agent(&format!("agent-{number}")).model_instance(model).build().unwrap());
    }
    let lead = agents.remove(0);
    let team = Supervisor::new(team_spec("team", &[]), lead, agents);
    let engine = Engine::builder().prices(book).build().await.unwrap();
    engine.register(Orchestrator::new("office", vec![team]).unwrap()).unwrap();
    let outcome = engine.run("office", json!({ "goal": "x", "agents_per_team": 9 })).await.unwrap();
    let report: Report = serde_json::from_value(outcome.output).unwrap();
    assert_eq!(report.usage, outcome.usage);
    let shown = |cost: Option<Money>| cost.map(|it| it.to_string());
    (shown(outcome.cost), shown(report.cost), outcome.usage.total_tokens())
}

#[tokio::test]
async fn a_cost_is_a_sum_or_unknown_and_never_a_part_of_it() {
    let known = |text: &str| Some(text.to_owned());
    let check = async |prices: &[Option<(&str, u64)>], expected: Option<String>| {
        assert_eq!(cost_of(prices).await, (expected.clone(), expected, prices.len() as u64));
    };
    check(&[Some(("USD", 2)), Some(("USD", 3))], known("0.000005 USD")).await;
    check(&[Some(("INR", 2))], known("0.000002 INR")).await;
    check(&[Some(("USD", 2)), None], None).await;
    check(&[Some(("USD", 2)), Some(("INR", 3))], None).await;
}

/// Chooses the first team as often as it says.
#[derive(Debug)]
struct Choosing(usize);

#[async_trait]
impl Router for Choosing {
    async fn route(&self, ctx: &Context, task: &Task, teams: &[Supervisor]) -> Result<Decision> {
        let mut decision = CapabilityRouter.route(ctx, task, teams).await?;
        let first = decision.teams.remove(0);
        decision.teams = vec![first; self.0];
        Ok(decision)
    }
}

#[tokio::test]
async fn a_router_that_chooses_a_team_twice_or_none_is_refused() {
    for (times, kind) in [(0, ErrorKind::NotFound), (2, ErrorKind::InvalidOutput)] {
        let office = Orchestrator::new("office", supervisors(&TEAMS, &Calls::default())).unwrap();
        let engine = with(office.with_router(Arc::new(Choosing(times)))).await;
        assert_eq!(engine.run("office", "plan").await.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn an_orchestrator_may_be_a_member_of_a_team() {
    let calls = Calls::default();
    let inner = Orchestrator::new("inner", supervisors(&TEAMS[..1], &calls)).unwrap();
    let team = Supervisor::new(team_spec("team", &[]), Agent::new(inner), vec![]);
    let engine = with(Orchestrator::new("office", vec![team]).unwrap()).await;
    let outer = report(&engine, "x").await;
    assert_eq!(outer.sections[0].details["inner"]["goal"], json!("x"));
    assert_eq!(calls.counts().len(), 2);
}

#[tokio::test]
async fn the_bus_tells_the_way_of_a_task() {
    let calls = Calls::default();
    let engine = with(Orchestrator::new("office", supervisors(&TEAMS[..1], &calls)).unwrap()).await;
    let outcome = engine.run("office", json!({ "goal": "x", "agents_per_team": 1 })).await.unwrap();
    assert_eq!(
        kinds(&engine, outcome.run_id),
        [
            "agent_started",
            "status_updated",
            "resource_allocated",
            "status_updated",
            "agent_started",
            "capability_executed",
            "result_generated",
            "agent_completed",
            "status_updated",
            "workflow_completed",
            "result_generated",
            "agent_completed"
        ]
    );
    assert_eq!(
        facts(&engine, outcome.run_id).await,
        [
            "execution_started",
            "route: step_completed",
            "plans/plans-lead/call: step_completed",
            "execution_completed"
        ]
    );
}

#[tokio::test]
async fn agents_with_a_model_that_were_done_are_not_asked_again() {
    let down = Error::new(ErrorKind::Unavailable, "model.stream", "the model is down");
    let script = ScriptedModel::new([Reply::text("one"), Reply::error(down), Reply::text("two")]);
    let engine = engine(&script).await;
    let members = vec![agent("b").build().unwrap()];
    let team = Supervisor::new(team_spec("team", &[]), agent("a").build().unwrap(), members);
    let office = Orchestrator::new("office", vec![team]).unwrap();
    engine.register(office.with_config(OrchestratorConfig::default().with_parallel(1))).unwrap();
    let err = engine.run("office", "x").await.unwrap_err();
    let outcome = engine.resume(run_of(&err)).await.unwrap();
    let report: Report = serde_json::from_value(outcome.output).unwrap();
    let texts: Vec<&str> = report.dropped.iter().map(|it| it.text.as_str()).collect();
    assert_eq!(texts, ["one", "two"]);
    assert_eq!(script.requests().len(), 3);
}

#[tokio::test]
async fn the_outcome_also_counts_what_a_missing_agent_took() {
    let used = |text: &str| Reply::text(text).with_usage(Usage::new(10, 0));
    let engine = engine(&ScriptedModel::new([used("no JSON"), used("fine"), used("still none")])).await;
    let lead = agent("lead").output_schema(Schema::any_object()).build().unwrap();
    let team = Supervisor::new(team_spec("team", &[]), lead, vec![agent("member").build().unwrap()]);
    engine.register(Orchestrator::new("office", vec![team]).unwrap()).unwrap();
    let outcome = engine.run("office", "x").await.unwrap();
    let report: Report = serde_json::from_value(outcome.output.clone()).unwrap();
    assert_eq!(report.sections[0].missing[0].agent.as_str(), "lead");
    assert_eq!((outcome.usage, report.usage), (Usage::new(30, 0), Usage::new(10, 0)));
    assert_eq!(engine.resume(outcome.run_id).await.unwrap(), outcome);
}
