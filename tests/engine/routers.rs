//! Routers: rules, nearness, complexity, plans of a model, chains, and names in a task.

use std::sync::Arc;

use raptorflow_core::{
    Agent,
    error::{Error, ErrorKind, Result},
    model::Model,
    orchestrator::{
        CapabilityRouter, Complexity, ComplexityRouter, Decision, ModelRouter, Orchestrator, Priority,
        Router, RouterChain, Rule, RuleRouter, SemanticRouter, Supervisor, Task, Then, Way,
    },
    rag::HashingEmbedder,
    runtime::{Context, Runtime},
    testing::{Reply, ScriptedModel},
    types::Usage,
};
use serde_json::{Value, json};

use crate::teams::{Calls, TEAMS, report, supervisors, team_spec, with};

async fn route(router: &impl Router, task: &Task) -> Result<Decision> {
    let ctx = Context::new(&Runtime::current().unwrap());
    router.route(&ctx, task, &supervisors(&TEAMS, &Calls::default())).await
}

fn chosen(decision: &Decision) -> Vec<&str> {
    assert_eq!(decision.teams.len(), TEAMS.len());
    decision.teams.iter().filter(|it| it.chosen).map(|it| it.team.as_str()).collect()
}

fn rule(name: &str, text: &str) -> Rule {
    toml::from_str(&format!("name = '{name}'\n{text}")).unwrap()
}

#[tokio::test]
async fn rules_decide_by_priority_over_words_expressions_tags_and_fields() {
    let rules = RuleRouter::new([
        rule("late", "teams = ['risks']\nwords = ['overdue invoice']"),
        rule("number", "teams = ['prices']\nregex = 'inv-\\d+'\npriority = 2\nthen = 'go_on'"),
        rule("tagged", "agents = ['plans.plans-member']\ntags = ['plan']\nfields = { tier = 1 }"),
    ])
    .unwrap();
    let check = async |task: Task, teams: &[&str], steps: usize| {
        let decision = route(&rules, &task).await.unwrap();
        assert_eq!((chosen(&decision), decision.steps.len()), (teams.to_vec(), steps));
        decision
    };
    check(Task::new("Two overdue invoices!"), &["risks"], 1).await;
    check(Task::new("The overdue amount of an invoice"), &["plans", "risks", "prices"], 1).await;
    let both = check(Task::new("INV-77 is an overdue invoice"), &["prices", "risks"], 2).await;
    assert_eq!((both.confidence, both.steps[0].reason.as_str()), (Some(1.0), "the rule number fits"));
    let mut task = Task::new("x");
    task.tags = vec!["plan".into()];
    assert_eq!(check(task.clone(), &["plans", "risks", "prices"], 1).await.confidence, Some(0.0));
    task.fields.insert("tier".into(), json!(1));
    let named = check(task.clone(), &["plans"], 1).await;
    assert_eq!(named.agents[0].agent.as_str(), "plans-member");
    // What the task names bounds what rules may say.
    task.teams = vec!["risks".into()];
    assert!(check(task, &["risks"], 1).await.agents.is_empty());
}

#[tokio::test]
async fn rules_that_cannot_hold_are_refused() {
    for (rules, field) in [
        (vec![rule("a", "")], "teams"),
        (vec![rule("a", "teams = ['x']"), rule("a", "teams = ['x']")], "name"),
        (vec![rule("a", "teams = ['x']\nregex = '('")], "regex"),
        (vec![rule("a", "teams = ['x']\nwords = ['of the']")], "words"),
    ] {
        let err = RuleRouter::new(rules).unwrap_err();
        assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, Some(field)));
    }
    let unknown = RuleRouter::new([Rule { then: Then::GoOn, ..rule("a", "teams = ['nobody']") }]).unwrap();
    assert_eq!(route(&unknown, &Task::new("x")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

fn near() -> Vec<Supervisor> {
    let agent = |name: &str, about: &str| Agent::builder(name).description(about).build().unwrap();
    vec![
        Supervisor::new(
            team_spec("plans", &[]),
            agent("planner", "Breaks work down into steps."),
            vec![agent("dates", "Knows every deadline and date.")],
        ),
        Supervisor::new(team_spec("words", &[]), agent("writer", "Writes and shortens texts."), vec![]),
    ]
}

#[tokio::test]
async fn the_nearest_teams_or_agents_are_chosen_with_words_and_confidence() {
    let ctx = Context::new(&Runtime::current().unwrap());
    let router = SemanticRouter::new(HashingEmbedder::default());
    let by_team = router.route(&ctx, &Task::new("Which deadlines are near?"), &near()).await.unwrap();
    assert_eq!((by_team.teams[0].team.as_str(), by_team.teams[0].chosen), ("plans", true));
    assert!(by_team.teams[0].reason.contains("`deadlin`"), "{}", by_team.teams[0].reason);
    assert_eq!(by_team.ranking.len(), 3);
    assert!(by_team.agents.is_empty(), "agents are left to the team");

    let to_one = router.clone().to_agents(1);
    let by_agent = to_one.route(&ctx, &Task::new("Which deadlines are near?"), &near()).await.unwrap();
    assert_eq!((by_agent.agents.len(), by_agent.agents[0].agent.as_str()), (1, "dates"));
    assert!(by_agent.confidence.unwrap() > 0.3, "{:?}", by_agent.confidence);
    let mut task = Task::new("Which deadlines are near?");
    task.teams = vec!["words".into()];
    let named = to_one.route(&ctx, &task, &near()).await.unwrap();
    assert_eq!(named.agents[0].agent.as_str(), "writer");

    // An example is enough to be found by words that no description has.
    let taught = to_one.with_examples("words.writer", ["a eulogy for my uncle"]);
    let eulogy = taught.route(&ctx, &Task::new("We need a eulogy"), &near()).await.unwrap();
    assert_eq!(eulogy.agents[0].agent.as_str(), "writer");
}

#[tokio::test]
async fn a_goal_takes_the_way_of_its_complexity_and_priority() {
    let way = |team: &str| Way::teams([team]);
    let router = ComplexityRouter::new(way("prices"), way("risks"), way("plans"));
    let heavy = "Compare the sites, evaluate what each costs, and plan the move.";
    let check = async |goal: &str, priority, complexity, team: &str| {
        let mut task = Task::new(goal);
        task.priority = priority;
        assert_eq!(router.assess(&task).0, complexity, "{goal}");
        let decision = route(&router, &task).await.unwrap();
        assert_eq!(chosen(&decision), [team]);
        assert!(decision.steps[0].reason.contains("points"));
    };
    check("Count the pages.", Priority::Balanced, Complexity::Light, "prices").await;
    check(heavy, Priority::Balanced, Complexity::Heavy, "plans").await;
    check(heavy, Priority::Speed, Complexity::Hybrid, "risks").await;
    check("Count the pages.", Priority::Quality, Complexity::Hybrid, "risks").await;
}

#[tokio::test]
async fn a_chain_takes_the_first_that_is_sure_and_records_each() {
    let rules = || RuleRouter::new([rule("money", "teams = ['prices']\nwords = ['refund']")]).unwrap();
    let chain = || RouterChain::ending_with(CapabilityRouter).before(0.5, rules());
    let by_rule = route(&chain(), &Task::new("A refund for a risk")).await.unwrap();
    assert_eq!((by_rule.router.as_str(), chosen(&by_rule)), ("rules", vec!["prices"]));
    let by_words = route(&chain(), &Task::new("Which risks are there?")).await.unwrap();
    assert_eq!((by_words.router.as_str(), chosen(&by_words)), ("capability", vec!["risks"]));
    let steps: Vec<(&str, bool)> =
        by_words.steps.iter().map(|it| (it.router.as_str(), it.accepted)).collect();
    assert_eq!(steps, [("rules", false), ("rules", false), ("capability", true)]);
}

fn planned(steps: &Value) -> Value {
    json!({ "steps": steps, "confidence": 0.8, "reason": "two things" })
}

fn step(name: &str, team: &str, agent: Option<&str>, after: &[&str]) -> Value {
    json!({
        "name": name, "task": format!("do {name}"), "team": team, "agent": agent, "depends_on": after,
        "estimate": { "tokens": 900 },
    })
}

async fn plan(reply: Reply) -> Result<Decision> {
    let script = ScriptedModel::new([reply]);
    route(&ModelRouter::new(Model::new(script), CapabilityRouter), &Task::new("Which risks are there?")).await
}

#[tokio::test]
async fn a_plan_of_a_model_is_followed_with_its_order_and_estimates() {
    let steps =
        json!([step("look", "risks", Some("risks-member"), &[]), step("sum", "prices", None, &["look"])]);
    let decision = plan(Reply::json(&planned(&steps)).with_usage(Usage::new(7, 3))).await.unwrap();
    assert_eq!((decision.router.as_str(), chosen(&decision)), ("model", vec!["risks", "prices"]));
    assert_eq!((decision.confidence, decision.plan.len()), (Some(0.8), 2));
    let agents: Vec<&str> = decision.agents.iter().map(|it| it.agent.as_str()).collect();
    assert_eq!(agents, ["risks-member", "prices-lead"]);
    assert_eq!(decision.agents[1].after, ["look"]);
    assert_eq!(decision.agents[1].estimate.unwrap().tokens, Some(900));
    assert_eq!(decision.calls[0].usage, Usage::new(7, 3));
}

#[tokio::test]
async fn a_plan_that_cannot_be_followed_is_named_and_another_router_stands_in() {
    let lead = Some("risks-lead");
    for (reply, why) in [
        (Reply::text("I would ask the risk team."), "no plan of the form"),
        (Reply::json(&planned(&json!([]))), "0 steps"),
        (Reply::json(&planned(&json!([step("a", "nobody", None, &[])]))), "a team that there is not"),
        (
            Reply::json(&planned(&json!([step("a", "risks", Some("plans-lead"), &[])]))),
            "an agent that its team has not",
        ),
        (
            Reply::json(&planned(&json!([step("a", "risks", lead, &[]), step("b", "risks", lead, &[])]))),
            "two steps",
        ),
        (Reply::json(&planned(&json!([step("a", "risks", None, &["c"])]))), "one that there is not"),
        (
            Reply::json(&planned(&json!([
                step("a", "risks", None, &["b"]),
                step("b", "plans", None, &["a"])
            ]))),
            "in a circle",
        ),
        (Reply::error(Error::new(ErrorKind::Unavailable, "model.stream", "down")), "(unavailable)"),
    ] {
        let decision = plan(reply).await.unwrap();
        assert_eq!((decision.router.as_str(), chosen(&decision)), ("capability", vec!["risks"]));
        let first = &decision.steps[0];
        assert!(first.router == "model" && !first.accepted && first.reason.contains(why), "{}", first.reason);
        assert!(first.reason.contains("capability stands in"), "{}", first.reason);
    }
    let broke = Reply::error(Error::new(ErrorKind::BudgetExceeded, "budget.reserve", "no money is left"));
    assert_eq!(plan(broke).await.unwrap_err().kind(), ErrorKind::BudgetExceeded);
}

#[tokio::test]
async fn steps_of_a_plan_wait_for_what_they_depend_on_and_see_it() {
    let calls = Calls::default();
    let steps =
        json!([step("sum", "prices", Some("prices-lead"), &["look"]), step("look", "risks", None, &[])]);
    let script = ScriptedModel::new([Reply::json(&planned(&steps)).with_usage(Usage::new(7, 3))]);
    let router = ModelRouter::new(Model::new(script), CapabilityRouter);
    let office = Orchestrator::new("office", supervisors(&TEAMS, &calls)).unwrap();
    let engine = with(office.with_router(Arc::new(router))).await;
    let outcome = engine.run("office", "Sum up the risks").await.unwrap();
    assert_eq!(outcome.usage, Usage::new(7, 3), "the plan is paid for");
    let asked = &calls.of("prices-lead")[0];
    let background = asked.background.as_deref().unwrap();
    assert_eq!(asked.question(), "do sum");
    assert!(
        background.contains("risks-lead answered") && background.contains(r#"{"done":true}"#),
        "{background}"
    );
    assert_eq!(calls.of("risks-lead").len(), 1);
}

#[tokio::test]
async fn a_task_that_names_agents_asks_those_and_no_router() {
    let calls = Calls::default();
    let engine = with(Orchestrator::new("office", supervisors(&TEAMS, &calls)).unwrap()).await;
    let of = report(&engine, json!({ "goal": "x", "agents": ["risks.risks-member", "plans-lead"] })).await;
    assert_eq!((of.decision.router.as_str(), of.decision.confidence), ("task", Some(1.0)));
    assert_eq!(calls.counts(), [("plans-lead".to_owned(), 1), ("risks-member".to_owned(), 1)]);
    for (input, kind) in [
        (json!({ "goal": "x", "agents": ["nobody"] }), ErrorKind::NotFound),
        (json!({ "goal": "x", "agents": ["plans-lead"], "teams": ["risks"] }), ErrorKind::InvalidInput),
    ] {
        assert_eq!(engine.run("office", input).await.unwrap_err().kind(), kind);
    }
}
