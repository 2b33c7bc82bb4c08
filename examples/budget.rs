//! A team of teams that stops at its cap, shows what it has by then, and goes on when the cap is raised.

use raptorflow_core::{
    Agent, Engine, ErrorKind, Result,
    agent::Routing,
    economics::{BudgetConfig, Cap, Caps, PriceBook, Scope, UsageFilter, Window},
    journal::Fact,
    model::{FunctionModel, Model, ModelInfo},
    orchestrator::{Orchestrator, OrchestratorConfig, Supervisor, TeamSpec},
    types::{Currency, Money, RunId},
};
use serde_json::json;

const PRICES: &str = r#"
[[price]]
model = "host:writer"
currency = "USD"
input = 1_000_000     # 1 USD per million tokens
output = 2_000_000
valid_from = 2026-01-01
"#;

fn usd(micros: i64) -> Money {
    Money::new(micros, Currency::USD)
}

/// Stands in for a language model: one sentence, and what it took.
fn writer() -> Model {
    let info = ModelInfo::new("host:writer");
    Model::new(FunctionModel::new(info, |ctx, _request| async move {
        let agent = ctx.lineage().last().map(ToString::to_string).unwrap_or_default();
        let usage = json!({ "input_tokens": 1_200, "output_tokens": 300 });
        Ok(json!({ "text": format!("What {agent} found."), "usage": usage }))
    }))
}

fn team(name: &str, word: &str) -> Result<Supervisor> {
    let spec = TeamSpec {
        name: name.to_owned(),
        title: String::new(),
        concern: String::new(),
        heading: name.to_owned(),
        description: String::new(),
        channels: Vec::new(),
        routing: Routing { words: vec![word.to_owned()] },
    };
    let agent = |role: &str| Agent::builder(format!("{name}-{role}")).model_instance(writer()).build();
    Ok(Supervisor::new(spec, agent("lead")?, vec![agent("member")?]))
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows its result")]
async fn main() -> Result<()> {
    // A run may spend 0.007 USD; each call sets aside about 0.004 and takes 0.0018.
    let budgets = BudgetConfig { run: Caps::total(Cap::money(usd(7_000))), ..BudgetConfig::default() };
    let prices = PriceBook::from_toml("prices.toml", PRICES)?;
    let engine = Engine::builder().prices(prices).budgets(budgets).build().await?;
    let one_by_one = OrchestratorConfig::default().with_parallel(1);
    let office = Orchestrator::new("office", vec![team("plans", "plan")?, team("risks", "risk")?])?;
    engine.register(office.with_config(one_by_one))?;

    let goal = "Write the plan and name each risk.";
    let err = match engine.run("office", goal).await {
        Err(err) if err.kind() == ErrorKind::BudgetExceeded => err,
        ended => return ended.map(|outcome| println!("{}", outcome.text())),
    };
    let run: RunId = err.get("run").unwrap_or_default().parse()?;
    println!("stopped: {} of {}, spent {}", shown(&err, "wanted"), shown(&err, "cap"), shown(&err, "spent"));
    for entry in engine.history(run, 0, 1_000).await? {
        if let Fact::ModelResponded { message, .. } = entry.fact {
            println!("  has: {}", message.text());
        }
    }

    engine.set_cap(Scope::Run(run), Window::Total, Cap::money(usd(20_000))).await?;
    let outcome = engine.resume(run).await?;
    let usage = engine.usage(&UsageFilter { run: Some(run), ..UsageFilter::default() }).await?;
    println!("complete: {} calls, {}", usage.total.calls, usage.total.cost.unwrap_or(usd(0)));
    for (agent, sum) in &usage.agents {
        println!("  {agent}: {} call, {}", sum.calls, sum.cost.unwrap_or(usd(0)));
    }
    assert_eq!(usage.total.cost, outcome.cost, "the ledger and the journal agree");
    Ok(())
}

fn shown<'a>(err: &'a raptorflow_core::Error, key: &str) -> &'a str {
    err.get(key).unwrap_or("nothing")
}
