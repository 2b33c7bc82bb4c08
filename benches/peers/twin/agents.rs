//! Calls, turns and agents that do nothing, beside other projects in Rust.

use std::sync::Arc;

use raptorflow_benches::{canned, silent_model};
use raptorflow_core::{
    Agent, Engine, Result,
    model::{ChatRequest, Model, OpenAiConfig, OpenAiModel},
    runtime::{Context, Runtime},
    security::Secret,
    tool,
    types::Message,
};
use raptorflow_meter::Meter;

/// Adds two numbers.
#[tool]
fn add(left: i64, right: i64) -> i64 {
    left + right
}

/// Measures a work of agents; says whether there is one of that name.
///
/// # Errors
/// When it goes wrong.
pub(crate) async fn run(work: &str, rounds: usize) -> Result<bool> {
    let meter = Meter { work, system: "raptorflow, Rust", rounds };
    match work {
        "wire" => wire(meter).await?,
        "turn" => turn(meter, Agent::builder("one").model_instance(silent_model(false))).await?,
        "tool" => turn(meter, Agent::builder("one").model_instance(silent_model(true)).tool(add)).await?,
        "agents" => agents(meter).await?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// A call over the wire of OpenAI with an answer that is already there.
async fn wire(meter: Meter<'_>) -> Result<()> {
    let config = OpenAiConfig::new("gpt-4o");
    let http = canned::Canned(canned::OPENAI_CHAT);
    let model = Model::new(OpenAiModel::new(config, Some(Secret::new("key")), http)?);
    let ctx = Context::new(&Runtime::current()?);
    let call = async || {
        let request = ChatRequest::new(vec![Message::user("hello")]);
        assert_eq!(model.complete(&ctx, &request).await.expect("an answer").message.text(), "hello");
    };
    meter.each(call).await;
    Ok(())
}

/// A run of an agent, with its journal in memory.
async fn turn(meter: Meter<'_>, agent: raptorflow_core::agent::AgentBuilder) -> Result<()> {
    let engine = Engine::builder().build().await?;
    engine.register(agent.instructions("Answer in one sentence.").build()?)?;
    meter.each(async || drop(engine.run("one", "hello").await.expect("an answer"))).await;
    engine.shutdown().await
}

async fn agents(meter: Meter<'_>) -> Result<()> {
    let engine = Engine::builder().build().await?;
    let (model, instructions) = (silent_model(false), Arc::<str>::from("Answer in one sentence."));
    let make = |index| {
        let agent = Agent::builder(format!("agent-{index}")).model_instance(model.clone());
        agent.instructions(Arc::clone(&instructions)).build().expect("an agent")
    };
    let call = async |agent: &Agent| drop(engine.run(agent.clone(), "hello").await.expect("an answer"));
    meter.agents(make, call).await;
    engine.shutdown().await
}
