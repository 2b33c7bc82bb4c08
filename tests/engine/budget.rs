//! Runs with budgets: they stop at a cap, go on when it was raised, and what they spent is reported.

use raptorflow_core::{
    Agent, Engine, ErrorKind,
    economics::{BudgetConfig, Cap, Caps, Price, PriceBook, Scope, UsageFilter, Window},
    engine::EngineBuilder,
    event::{Filter, History},
    model::Model,
    orchestrator::{Orchestrator, OrchestratorConfig, Report, Supervisor},
    runtime::Context,
    testing::{Reply, ScriptedModel},
    types::{AgentId, Currency, Money, Timestamp, Usage},
};
use serde_json::json;

use crate::{
    support::{agent, built, calls, facts, run_of},
    teams::team_spec,
};

fn usd(micros: i64) -> Money {
    Money::new(micros, Currency::USD)
}

/// An engine whose models cost a millionth of a dollar for a token.
fn priced(budgets: BudgetConfig) -> EngineBuilder {
    let mut prices = PriceBook::empty();
    let valid_from = Timestamp::default();
    let price = Price { currency: Currency::USD, input: 1_000_000, output: 1_000_000, cached: 0, valid_from };
    prices.insert("scripted:model", price);
    Engine::builder().prices(prices).budgets(budgets)
}

fn capped(micros: i64) -> BudgetConfig {
    BudgetConfig { run: Caps::total(Cap::money(usd(micros))), ..BudgetConfig::default() }
}

/// Two rounds with a tool, and an answer; each takes 2,000 tokens.
fn script() -> ScriptedModel {
    let usage = Usage::new(1_900, 100);
    ScriptedModel::new([
        calls(&[("a", "read", json!({}))]).with_usage(usage),
        calls(&[("b", "read", json!({}))]).with_usage(usage),
        Reply::text("done").with_usage(usage),
    ])
}

fn reader() -> raptorflow_core::agent::AgentBuilder {
    use raptorflow_core::{
        tool::FunctionTool,
        types::{Schema, ToolSpec},
    };
    let spec = ToolSpec::new("read", "Gives back what it got.", Schema::any_object());
    agent("reader").tool(FunctionTool::new(spec, |_ctx, arguments| async move { Ok(arguments) }))
}

#[tokio::test]
async fn a_run_stops_at_its_cap_and_goes_on_when_the_cap_was_raised() {
    let script = script();
    let engine = built(priced(capped(5_500)), &script).await;
    engine.register(reader().build().unwrap()).unwrap();
    let err = engine.run("reader", "Read all of it.").await.unwrap_err();
    let run = run_of(&err);
    assert_eq!(
        (err.kind(), err.get("spent")),
        (ErrorKind::BudgetExceeded, Some("0.004000 USD, 4000 tokens"))
    );
    assert_eq!(script.requests().len(), 2, "the third call was not made");
    let again = engine.resume(run).await.unwrap_err();
    assert_eq!((again.kind(), script.requests().len()), (ErrorKind::BudgetExceeded, 2));

    engine.set_cap(Scope::Run(run), Window::Total, Cap::money(usd(9_000))).await.unwrap();
    let outcome = engine.resume(run).await.unwrap();
    assert_eq!((outcome.text().as_str(), outcome.cost), ("done", Some(usd(6_000))));
    assert_eq!(script.requests().len(), 3, "nothing was asked again");
    let report = engine.usage(&UsageFilter { run: Some(run), ..UsageFilter::default() }).await.unwrap();
    assert_eq!((report.total.cost, report.total.calls), (outcome.cost, 3));
    assert_eq!(report.agents["reader"], report.total);
    let balance = engine.balance(&Scope::Agent(run, AgentId::new("reader").unwrap())).await.unwrap();
    assert_eq!((balance.spent.total.money, balance.reserved.tokens), (usd(6_000), 0));
    assert!(facts(&engine, run).await.contains(&"execution_resumed".to_owned()));
}

#[tokio::test]
async fn a_run_that_grows_dear_waits_for_its_approval() {
    let script = script();
    let config = BudgetConfig { approval_above: Some(usd(5_500)), ..BudgetConfig::default() };
    let engine = built(priced(config), &script).await;
    engine.register(reader().build().unwrap()).unwrap();
    let err = engine.run("reader", "Read all of it.").await.unwrap_err();
    let run = run_of(&err);
    assert_eq!((err.kind(), err.get("committed")), (ErrorKind::BudgetExceeded, Some("0.004000 USD")));
    engine.approve_spending(run, usd(10_000)).await.unwrap();
    assert_eq!(engine.resume(run).await.unwrap().text(), "done");
}

#[tokio::test]
async fn alerts_are_told_once_on_the_bus() {
    let script = ScriptedModel::new([]).always(Reply::text("yes").with_usage(Usage::new(1_000, 0)));
    let config = BudgetConfig {
        tenant: Caps { month: Cap::money(usd(8_000)), ..Caps::default() },
        ..BudgetConfig::default()
    };
    let engine = built(priced(config), &script).await;
    engine.register(agent("reader").build().unwrap()).unwrap();
    for _ in 0..6 {
        let _ = engine.run("reader", "yes?").await;
    }
    let all = History { filter: Filter::default(), ..History::default() };
    let told: Vec<_> = engine
        .bus()
        .history(&Context::new(engine.runtime()), &all)
        .iter()
        .filter(|event| event.kind.name() == "notification_triggered")
        .map(|event| (event.data["percent"].clone(), event.data["window"].clone(), event.run))
        .collect();
    assert_eq!(told, [(json!(50), json!("month"), None), (json!(75), json!("month"), None)]);
}

/// One team of two, one after the other, whose model takes 2,000 tokens a call and 6,000 for the member.
async fn office(config: BudgetConfig) -> Engine {
    let answer = |tokens| Reply::text("found").with_usage(Usage::new(tokens, 0));
    let lead = Model::new(ScriptedModel::new([]).always(answer(2_000)));
    let member = Model::new(ScriptedModel::new([answer(6_000)]).always(answer(100)));
    let engine = priced(config).build().await.unwrap();
    let of = |name: &str, model: Model| -> Agent { agent(name).model_instance(model).build().unwrap() };
    let twice = of("member", member);
    let team = Supervisor::new(team_spec("plans", &["plan"]), of("lead", lead), vec![twice]);
    let office = Orchestrator::new("office", vec![team]).unwrap();
    engine.register(office.with_config(OrchestratorConfig::default().with_parallel(1))).unwrap();
    engine
}

#[tokio::test]
async fn an_agent_that_used_up_its_own_budget_is_missing_and_the_others_answer() {
    let config = BudgetConfig { agent: Caps::total(Cap::tokens(50_000)), ..BudgetConfig::default() };
    let engine = office(config).await;
    let run = engine.runtime().ids().run();
    let member = AgentId::new("member").unwrap();
    engine.set_cap(Scope::Agent(run, member.clone()), Window::Total, Cap::tokens(10)).await.unwrap();
    let outcome = engine.run("office", "Make a plan").id(run).await.unwrap();
    let report: Report = serde_json::from_value(outcome.output).unwrap();
    let missing = &report.sections[0].missing;
    assert_eq!((missing.len(), &missing[0].agent), (1, &member));
    assert_eq!(missing[0].error.kind(), ErrorKind::BudgetExceeded);
    let spent = engine.balance(&Scope::Agent(run, AgentId::new("office").unwrap())).await.unwrap().spent;
    assert_eq!(spent.total.tokens, 2_000, "the agent above pays for those below");
}

#[tokio::test]
async fn a_run_whose_budget_is_used_up_stops_as_a_whole_and_its_models_are_not_asked_again() {
    let engine = office(capped(3_500)).await;
    let err = engine.run("office", "Make a plan").await.unwrap_err();
    let run = run_of(&err);
    assert_eq!((err.kind(), err.get("asked")), (ErrorKind::BudgetExceeded, Some("member")));
    engine.set_cap(Scope::Run(run), Window::Total, Cap::NONE).await.unwrap();
    let outcome = engine.resume(run).await.unwrap();
    assert_eq!(outcome.cost, Some(usd(8_000)));
    assert_eq!(engine.usage(&UsageFilter::default()).await.unwrap().total.cost, Some(usd(8_000)));
}

#[tokio::test]
async fn a_model_without_a_price_is_refused_where_money_is_counted() {
    let builder = Engine::builder().budgets(BudgetConfig::default());
    let engine = built(builder, &ScriptedModel::new([]).always(Reply::text("yes"))).await;
    engine.register(agent("reader").build().unwrap()).unwrap();
    let err = engine.run("reader", "yes?").await.unwrap_err();
    assert_eq!((err.kind(), err.get("model")), (ErrorKind::InvalidInput, Some("scripted:model")));
}

#[tokio::test]
async fn an_engine_without_budgets_says_so() {
    let engine = Engine::builder().build().await.unwrap();
    assert!(engine.budgets().is_none());
    let err = engine.usage(&UsageFilter::default()).await.unwrap_err();
    assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, Some("budgets")));
}

#[tokio::test]
async fn a_run_of_a_user_spends_that_users_money_also_when_it_is_resumed() {
    let script = ScriptedModel::new([]).always(Reply::text("yes").with_usage(Usage::new(2_000, 0)));
    let config = BudgetConfig {
        user: Caps::total(Cap::money(usd(4_000))),
        approval_above: None,
        ..BudgetConfig::default()
    };
    let engine = built(priced(config), &script).await;
    engine.register(agent("reader").build().unwrap()).unwrap();
    engine.run("reader", "yes?").user("asha").await.unwrap();
    let err = engine.run("reader", "yes?").user("asha").await.unwrap_err();
    assert_eq!((err.kind(), err.get("scope")), (ErrorKind::BudgetExceeded, Some("user")));
    assert!(engine.run("reader", "yes?").user("ravi").await.is_ok());
    assert!(engine.run("reader", "yes?").await.is_ok(), "nobody has no budget of a user");
    let again = engine.resume(run_of(&err)).await.unwrap_err();
    assert_eq!(again.get("scope"), Some("user"), "the run is still that user's");
    let user = Scope::of(Some("asha"), None, None).unwrap();
    engine.set_cap(user.clone(), Window::Total, Cap::NONE).await.unwrap();
    assert!(engine.resume(run_of(&err)).await.is_ok());
    assert_eq!(engine.balance(&user).await.unwrap().spent.total.money, usd(4_000));
    let of_user = UsageFilter { user: Some("asha".into()), ..UsageFilter::default() };
    assert_eq!(engine.usage(&of_user).await.unwrap().users["asha"].calls, 2);
}
