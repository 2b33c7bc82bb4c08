//! Calls of tools that cost something: in the run, its limits, its budgets and the report.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use raptorflow_core::{
    Engine, ErrorKind,
    agent::Limits,
    economics::{BudgetConfig, Cap, Caps, Price, PriceBook, Scope, UsageFilter, Window},
    model::ChatRequest,
    testing::{Reply, ScriptedModel},
    tool::{FunctionTool, ToolRegistry},
    types::{AgentId, Currency, Finish, Limit, Money, Schema, Timestamp, ToolSpec, Usage},
    workflow::{self, Workflow},
};
use serde_json::json;

use crate::support::{agent, built, calls, run_of};

fn usd(micros: i64) -> Money {
    Money::new(micros, Currency::USD)
}

/// A tool whose calls cost, and how often it was called.
fn paid(micros: i64) -> (FunctionTool, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&count);
    let schema = json!({"type": "object", "properties": {"fail": {"type": "boolean"}}});
    let spec = ToolSpec::new("look", "Looks something up.", Schema::new(schema).unwrap());
    let tool = FunctionTool::new(spec, move |_ctx, arguments| {
        seen.fetch_add(1, Ordering::SeqCst);
        let fails = arguments.get("fail").is_some();
        async move {
            if fails {
                Err(raptorflow_core::Error::new(ErrorKind::Unavailable, "look.up", "nobody is there"))
            } else {
                Ok(arguments)
            }
        }
    });
    (tool.with_cost(usd(micros)), count)
}

/// Two rounds with the tool, of 2,000 tokens each, and an answer of as many.
fn script() -> ScriptedModel {
    let usage = Usage::new(1_900, 100);
    ScriptedModel::new([
        calls(&[("a", "look", json!({})), ("b", "look", json!({"fail": 7}))]).with_usage(usage),
        calls(&[("c", "look", json!({"fail": true}))]).with_usage(usage),
        Reply::text("done").with_usage(usage),
    ])
}

/// An engine with a model at a millionth of a dollar for a token, and a cap for each run.
async fn engine(script: &ScriptedModel, cap: i64) -> Engine {
    let mut prices = PriceBook::empty();
    let valid_from = Timestamp::default();
    let price = Price { currency: Currency::USD, input: 1_000_000, output: 1_000_000, cached: 0, valid_from };
    prices.insert("scripted:model", price);
    let budgets = BudgetConfig { run: Caps::total(Cap::money(usd(cap))), ..BudgetConfig::default() };
    built(Engine::builder().prices(prices).budgets(budgets), script).await
}

#[tokio::test]
async fn what_a_tool_costs_counts_in_the_run_its_budget_and_the_report() {
    let (script, (look, count)) = (script(), paid(3_000));
    let engine = engine(&script, 50_000).await;
    engine.register(agent("reader").tool(look).build().unwrap()).unwrap();
    let outcome = engine.run("reader", "Look twice.").await.unwrap();
    // The call whose arguments do not fit was not carried out, and the one that failed was.
    assert_eq!((outcome.cost, count.load(Ordering::SeqCst)), (Some(usd(12_000)), 2));
    let report = engine.usage(&UsageFilter::default()).await.unwrap();
    assert_eq!((report.total.cost, report.total.calls), (outcome.cost, 5));
    let sum = report.models["tool:look"];
    assert_eq!((sum.cost, sum.calls, sum.usage, sum.estimated), (Some(usd(6_000)), 2, Usage::default(), 0));
    assert_eq!(report.agents["reader"], report.total);
    let of = Scope::Agent(outcome.run_id, AgentId::new("reader").unwrap());
    let balance = engine.balance(&of).await.unwrap();
    assert_eq!((balance.spent.total.money, balance.reserved.money), (usd(12_000), usd(0)));
    let said = |request: &ChatRequest| serde_json::to_string(&request.messages).unwrap();
    let asked: String = script.requests().iter().map(said).collect();
    assert!(!asked.contains("3000"), "models are not told what a tool costs");
}

#[tokio::test]
async fn a_tool_that_costs_more_than_is_left_is_not_called_and_the_run_can_go_on_later() {
    let (script, (look, count)) = (script(), paid(4_500));
    let engine = engine(&script, 5_000).await;
    engine.register(agent("reader").tool(look).build().unwrap()).unwrap();
    let err = engine.run("reader", "Look twice.").await.unwrap_err();
    let run = run_of(&err);
    assert_eq!(
        (err.kind(), err.get("spent")),
        (ErrorKind::BudgetExceeded, Some("0.002000 USD, 2000 tokens"))
    );
    assert_eq!((count.load(Ordering::SeqCst), script.requests().len()), (0, 1));
    engine.set_cap(Scope::Run(run), Window::Total, Cap::money(usd(50_000))).await.unwrap();
    let outcome = engine.resume(run).await.unwrap();
    assert_eq!((outcome.text().as_str(), outcome.cost), ("done", Some(usd(15_000))));
    assert_eq!((count.load(Ordering::SeqCst), script.requests().len()), (2, 3));
}

#[tokio::test]
async fn a_run_ends_at_its_cost_when_a_tool_comes_to_it() {
    let (script, (look, count)) = (script(), paid(3_000));
    let engine = engine(&script, 50_000).await;
    let mut limits = Limits::default();
    limits.cost = Some(usd(5_000));
    let outcome =
        engine.run(agent("reader").tool(look).limits(limits).build().unwrap(), "Look.").await.unwrap();
    assert_eq!((outcome.finish, outcome.cost), (Finish::Limited(Limit::Cost), Some(usd(5_000))));
    assert_eq!((count.load(Ordering::SeqCst), script.requests().len()), (1, 1));
}

#[tokio::test]
async fn a_tool_of_a_workflow_costs_the_run_and_its_budget() {
    let (look, count) = paid(3_000);
    let budgets = BudgetConfig { run: Caps::total(Cap::money(usd(4_000))), ..BudgetConfig::default() };
    let engine = Engine::builder().tool(look).budgets(budgets).build().await.unwrap();
    let one = Workflow::builder("one").step("look", workflow::tool("look").input(json!({}))).build().unwrap();
    let outcome = engine.run(&one, "go").await.unwrap();
    assert_eq!((outcome.cost, count.load(Ordering::SeqCst)), (Some(usd(3_000)), 1));
    let two = Workflow::builder("two")
        .step("first", workflow::tool("look").input(json!({})))
        .step("second", workflow::tool("look").input(json!({})).after("first"))
        .build()
        .unwrap();
    let err = engine.run(&two, "go").await.unwrap_err();
    assert_eq!((err.kind(), count.load(Ordering::SeqCst)), (ErrorKind::BudgetExceeded, 2));
}

#[test]
fn a_cost_below_zero_is_refused() {
    let err = ToolRegistry::new().register(paid(-1).0).unwrap_err();
    assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, Some("cost")));
}
