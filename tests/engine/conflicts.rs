//! Claims that disagree: who settles them, what is recorded, and people who are asked in the end.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use raptorflow_core::{
    Agent, Engine,
    agent::{Actor, AgentInput, AgentOutput, AgentSpec, FunctionAgent, Session},
    engine::Outcome,
    error::{Error, ErrorKind, Result, Retry},
    event::Priority,
    journal::{Fact, RunStatus},
    orchestrator::{
        Conflicts, Escalation, EscalationLevel, Judge, Orchestrator, Report, RestartPolicy, Supervisor,
    },
    runtime::Backoff,
    types::{AgentId, Passage, RunId},
    workflow::Condition,
};
use serde_json::{Value, json};

use crate::{
    flows::kill,
    support::{entries, events, settle, standing_still},
    teams::team_spec,
};

const FIVE: &str = "The default budget of a council run is 5 dollars";
const NINE: &str = "The default budget of a council run is 9 dollars";

/// An agent that always says the same.
#[derive(Debug)]
struct Says {
    spec: Arc<AgentSpec>,
    said: AgentOutput,
}

#[async_trait]
impl Actor for Says {
    fn spec(&self) -> &Arc<AgentSpec> {
        &self.spec
    }

    async fn run(&self, _session: &Session, _input: &AgentInput) -> Result<AgentOutput> {
        Ok(self.said.clone())
    }
}

/// An agent that makes a claim which rests on so many passages, and says something besides.
fn claims(name: &str, claim: &str, sources: u32, besides: &Value) -> Agent {
    let numbers: Vec<u32> = (1..=sources).collect();
    let mut output = json!({ "findings": [{ "claim": claim, "sources": numbers }] });
    for (field, value) in besides.as_object().into_iter().flatten() {
        output[field.as_str()] = value.clone();
    }
    let passage = |number: u32| Passage {
        number,
        source: format!("{number}.md").into(),
        lines: (1, 2),
        heading: String::new(),
        text: "Something.".into(),
    };
    let passages = (1..=sources).map(passage).collect();
    let said = AgentOutput { output, passages, ..AgentOutput::default() };
    Agent::new(Says { spec: Arc::new(AgentSpec::new(name.to_owned()).unwrap()), said })
}

/// An office of three: one says nine with two sources, two say five with one.
fn office() -> Orchestrator {
    let two = vec![claims("b", FIVE, 1, &json!({})), claims("c", FIVE, 1, &json!({ "confidence": 0.3 }))];
    let team = Supervisor::new(team_spec("money", &["budget"]), claims("a", NINE, 2, &json!({})), two);
    Orchestrator::new("office", vec![team]).unwrap()
}

fn task() -> Value {
    json!({ "goal": "Which budget?", "agents_per_team": 3, "fields": { "tier": "gold" } })
}

async fn asked(office: Orchestrator) -> Report {
    let engine = Engine::builder().build().await.unwrap();
    engine.register(office).unwrap();
    read(&engine.run("office", task()).await.unwrap())
}

fn read(outcome: &Outcome) -> Report {
    serde_json::from_value(outcome.output.clone()).unwrap()
}

/// The claim that holds, by who said so.
fn settled(report: &Report) -> (Option<&str>, Vec<String>) {
    let resolution = &report.resolutions[0];
    let positions = &report.disagreements[resolution.disagreement].positions;
    let holds = resolution.position.map(|at| positions[at].claim.as_str());
    (holds, resolution.tried.iter().map(|it| it.by.clone()).collect())
}

fn judge(answer: fn() -> Result<Value>) -> Judge {
    let agent = FunctionAgent::new(AgentSpec::new("judge").unwrap(), move |_, _| async move { answer() });
    Judge::Agent(agent.into())
}

fn people(levels: &[(&str, Option<u64>, &[&str])]) -> Escalation {
    let level = |(name, within, approvers): &(&str, Option<u64>, &[&str])| EscalationLevel {
        name: (*name).to_owned(),
        approvers: approvers.iter().map(|it| (*it).to_owned()).collect(),
        within: within.map(Duration::from_secs),
    };
    Escalation::new(levels.iter().map(level).collect(), Vec::new()).unwrap()
}

#[tokio::test]
async fn without_judges_disagreements_are_listed_and_left_to_the_reader() {
    let report = asked(office()).await;
    assert_eq!((report.disagreements.len(), report.resolutions.len()), (1, 0));
}

#[tokio::test]
async fn the_first_judge_that_decides_counts_and_all_that_was_tried_is_in_the_record() {
    let rank = |names: &[&str]| Judge::Rank(names.iter().map(|it| AgentId::new(*it).unwrap()).collect());
    for (judges, holds, tried) in [
        (vec![Judge::Sources], Some(NINE), vec!["sources"]),
        (vec![Judge::Agents], Some(FIVE), vec!["agents"]),
        (vec![rank(&["nobody", "c", "a"])], Some(FIVE), vec!["rank"]),
        (vec![rank(&["nobody"]), Judge::Sources], Some(NINE), vec!["rank", "sources"]),
        (
            vec![judge(|| Ok(json!({ "position": 2, "reason": "it is newer" })))],
            Some(FIVE),
            vec!["agent judge"],
        ),
        (
            vec![judge(|| Ok(json!({ "position": 3, "reason": "both" }))), Judge::Agents],
            Some(FIVE),
            vec!["agent judge", "agents"],
        ),
        (vec![judge(|| Ok(json!("nonsense")))], None, vec!["agent judge"]),
        (
            vec![judge(|| Err(Error::new(ErrorKind::Callback, "host.judge", "no"))), Judge::Sources],
            Some(NINE),
            vec!["agent judge", "sources"],
        ),
    ] {
        let report = asked(office().with_conflicts(Conflicts::new(judges).unwrap())).await;
        assert_eq!(settled(&report), (holds, tried.iter().map(|it| (*it).to_owned()).collect()));
        // Neither claim leaves the report.
        let claims: Vec<&str> = report.sections[0].claims.iter().map(|it| it.text.as_str()).collect();
        assert_eq!(claims.len(), 2, "{claims:?}");
        let marked = report.to_markdown().matches("(this holds)").count();
        assert_eq!(marked, usize::from(holds.is_some()));
    }
}

#[tokio::test]
async fn what_both_sides_have_in_common_is_recorded() {
    let report = asked(office().with_conflicts(Conflicts::new([Judge::Sources]).unwrap())).await;
    let common = &report.resolutions[0].common;
    assert!(common.words.contains(&"budget".to_owned()), "{common:?}");
    assert_eq!((common.sources.as_slice(), common.agents.len()), ([1].as_slice(), 0));
}

#[tokio::test]
async fn a_judge_that_cannot_be_reached_ends_the_run_which_settles_on_resume() {
    let down = || Err(Error::new(ErrorKind::Unavailable, "model.call", "down").retryable(Retry::Soon));
    let engine = Engine::builder().build().await.unwrap();
    engine.register(office().with_conflicts(Conflicts::new([judge(down)]).unwrap())).unwrap();
    let err = engine.run("office", task()).await.unwrap_err();
    assert_eq!((err.kind(), err.get("asked")), (ErrorKind::Unavailable, Some("judge")));
    let again = Engine::builder().storage_handle(engine.storage().clone()).build().await.unwrap();
    let up = judge(|| Ok(json!({ "position": 1, "reason": "so" })));
    again.register(office().with_conflicts(Conflicts::new([up]).unwrap())).unwrap();
    let outcome = again.resume(err.get("run").unwrap().parse().unwrap()).await.unwrap();
    assert_eq!(settled(&read(&outcome)).0, Some(NINE));
}

#[tokio::test]
async fn people_are_asked_level_by_level_and_whoever_may_not_answer_is_refused() {
    let (clock, runtime) = standing_still();
    let engine = Engine::builder().runtime(runtime).build().await.unwrap();
    let chain = people(&[("desk", Some(60), &["anna"]), ("owner", None, &["zoe"])]);
    let judges = [Judge::People(chain, Priority::Critical)];
    engine.register(office().with_conflicts(Conflicts::new(judges).unwrap())).unwrap();
    let run = engine.start("office", task()).await.unwrap();
    let id = run.id();
    let desk = "escalation/settle/0/desk";
    assert_eq!(waits_at(&engine, id).await, [desk]);
    let refused = engine.signal(id, desk, 1).by("bert").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    clock.advance(Duration::from_secs(60));
    let owner = "escalation/settle/0/owner";
    while !waits_at(&engine, id).await.iter().any(|it| it == owner) {
        settle().await;
    }
    engine.signal(id, owner, 2).by("zoe").await.unwrap();
    let report = read(&run.outcome().await.unwrap());
    assert_eq!(settled(&report), (Some(FIVE), vec!["people".to_owned()]));
    assert_eq!(report.resolutions[0].tried[0].reason, "owner answered");
    let told = events(&engine, id);
    let told: Vec<_> = told.iter().filter(|it| it.data.get("escalation").is_some()).collect();
    assert_eq!((told.len(), told[0].priority), (2, Priority::Critical));
}

/// The places at which a run waits for people, once it does.
async fn waits_at(engine: &Engine, run: RunId) -> Vec<String> {
    loop {
        settle().await;
        let state = engine.state(run, None).await.unwrap();
        if !state.questions.is_empty() || state.summary.status != RunStatus::Running {
            return state.questions.iter().map(|it| it.path.to_string()).collect();
        }
    }
}

const RULES: &str = r#"
[[level]]
name = "desk"

[[rule]]
name = "unsure"
when = { at = "/least/confidence", below = 0.4 }
urgency = "high"
prompt = "An agent is not sure. What do we say?"

[[rule]]
name = "gold"
when = { at = "/task/fields/tier", equals = "gold" }
urgency = "critical"
prompt = "Somebody who matters asks. Do we go on?"
choices = ["yes", "no"]

[[rule]]
name = "quiet"
when = { at = "/unresolved", above = 1 }
prompt = "Too much is not settled."
"#;

#[tokio::test]
async fn rules_that_hold_ask_people_and_the_run_waits_over_a_restart_until_all_are_answered() {
    let engine = Engine::builder().build().await.unwrap();
    let rules = || Escalation::from_toml(RULES).unwrap();
    engine.register(office().with_escalation(rules())).unwrap();
    let run = engine.start("office", task()).await.unwrap();
    let id = run.id();
    // The most urgent first.
    assert_eq!(waits_at(&engine, id).await, ["escalation/gold/desk"]);
    engine.signal(id, "escalation/gold/desk", "yes").await.unwrap();
    while waits_at(&engine, id).await != ["escalation/unsure/desk"] {}
    let storage = engine.storage().clone();
    kill(engine, run).await;
    let again = Engine::builder().storage_handle(storage).build().await.unwrap();
    again.register(office().with_escalation(rules())).unwrap();
    again.signal(id, "escalation/unsure/desk", json!({ "say": "five" })).await.unwrap();
    let report = read(&again.resume(id).await.unwrap());
    let answers: Vec<_> = report.escalations.iter().map(|it| (it.rule.as_str(), it.answer.clone())).collect();
    assert_eq!(answers, [("gold", json!("yes")), ("unsure", json!({ "say": "five" }))]);
    assert!(report.to_markdown().contains("## What people were asked"));
}

#[tokio::test]
async fn an_answer_that_is_no_choice_and_a_level_that_is_silent_go_on_to_the_next_and_are_in_the_record() {
    let (clock, runtime) = standing_still();
    let engine = Engine::builder().runtime(runtime).build().await.unwrap();
    let text = RULES.replace(
        "[[level]]\nname = \"desk\"",
        "[[level]]\nname = \"desk\"\n[[level]]\nname = \"owner\"\nwithin_seconds = 5",
    );
    engine.register(office().with_escalation(Escalation::from_toml(&text).unwrap())).unwrap();
    let run = engine
        .start("office", json!({ "goal": "Which budget?", "fields": { "tier": "gold" } }))
        .await
        .unwrap();
    let id = run.id();
    assert_eq!(waits_at(&engine, id).await, ["escalation/gold/desk"]);
    engine.signal(id, "escalation/gold/desk", "perhaps").await.unwrap();
    while !waits_at(&engine, id).await.iter().any(|it| it == "escalation/gold/owner") {}
    clock.advance(Duration::from_secs(5));
    let report = read(&run.outcome().await.unwrap());
    let escalated = &report.escalations[0];
    assert_eq!(
        (escalated.asked.as_slice(), &escalated.by),
        (["desk".to_owned(), "owner".to_owned()].as_slice(), &None)
    );
    assert_eq!(
        (escalated.unfit.as_slice(), &escalated.answer),
        (["desk".to_owned()].as_slice(), &Value::Null)
    );
}

#[test]
fn what_cannot_ask_anybody_is_refused() {
    let refused = |result: Result<Escalation>| {
        let err = result.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::InvalidInput);
        err.get("field").unwrap_or_default().to_owned()
    };
    assert_eq!(refused(Escalation::new(vec![], vec![])), "level");
    assert_eq!(refused(Escalation::from_toml("[[level]]\nname = 'a'\n[[level]]\nname = 'a'")), "level.name");
    let rule = "[[level]]\nname = 'a'\n[[rule]]\nname = 'r'\nprompt = ''\nwhen = {}\n";
    assert_eq!(refused(Escalation::from_toml(&format!("{rule}to = ['b']"))), "rule.to");
    assert_eq!(refused(Escalation::from_toml(&format!("{rule}choices = []"))), "rule.choices");
    assert_eq!(refused(Escalation::from_toml("[[level]]\nname = 'a'\nwithin_seconds = -1")), "");
    assert!(Conflicts::new([]).is_err() && Conflicts::new([Judge::Rank(vec![])]).is_err());
    assert!(Condition::value().holds(&json!(1)), "a rule without a condition always asks");
}

#[tokio::test]
async fn a_supervisor_asks_again_as_often_as_its_policy_says_and_over_a_resume_no_oftener() {
    let (clock, runtime) = standing_still();
    let engine = Engine::builder().runtime(runtime).build().await.unwrap();
    let pause = Duration::from_secs(2);
    let backoff = Backoff { base: pause, factor: 1, max: pause, jitter: 0.0 };
    let down = FunctionAgent::new(AgentSpec::new("down").unwrap(), |_, _| async {
        Err(Error::new(ErrorKind::Unavailable, "host.work", "down").retryable(Retry::Soon))
    });
    let policy = RestartPolicy::times(2).with_backoff(backoff);
    let team = Supervisor::new(team_spec("money", &["budget"]), down.into(), vec![]).with_restart(policy);
    engine.register(Orchestrator::new("office", vec![team]).unwrap()).unwrap();
    let run = engine.start("office", "Which budget?").await.unwrap();
    let id = run.id();
    for _ in 0..2 {
        while clock.sleepers() == 0 {
            settle().await;
        }
        clock.advance(pause);
        settle().await;
    }
    assert_eq!(run.outcome().await.unwrap_err().kind(), ErrorKind::Unavailable);
    let restarts = |entries: Vec<raptorflow_core::journal::Entry>| {
        entries.iter().filter(|it| matches!(it.fact, Fact::RetryTriggered { .. })).count()
    };
    assert_eq!(restarts(entries(&engine, id).await), 2);
    assert_eq!(engine.resume(id).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(restarts(entries(&engine, id).await), 2);
}
