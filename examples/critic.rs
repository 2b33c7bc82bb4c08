//! A critic reads what an agent answers, and the agent is asked again with what was found until an answer passes.

use raptorflow_core::{
    Agent, Engine, Result,
    agent::review::{Critic, CriticConfig, Review, Reviewed, checks::LengthCheck},
    journal::Fact,
    model::{ChatRequest, FunctionModel, Model, ModelInfo},
};
use serde_json::{Value, json};

/// Stands in for a language model: it says too much, until it is told so.
fn answer(request: &ChatRequest) -> Value {
    let told = request.messages.iter().any(|message| message.text().contains("An earlier answer"));
    if told {
        json!("The basic plan costs ₹499 a month.")
    } else {
        json!(
            "Well, there is of course, as everybody knows, a plan that one could call basic, and it costs ₹499 a month."
        )
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows its result")]
async fn main() -> Result<()> {
    let model =
        FunctionModel::new(ModelInfo::new("host:rule"), |_ctx, request| async move { Ok(answer(&request)) });
    let writer = Agent::builder("writer").model_instance(Model::new(model)).build()?;
    let mut config = CriticConfig::default();
    // One finding is enough to ask again.
    config.pass = 100;
    let critic = Critic::new().with(LengthCheck::words(1, 12)).configure(config)?;

    let engine = Engine::builder().build().await?;
    engine.register(Reviewed::new(writer, critic))?;
    let outcome = engine.run("writer", "What does the basic plan cost?").await?;

    for entry in engine.history(outcome.run_id, 0, 100).await? {
        if let Fact::StepCompleted { value, .. } = entry.fact {
            let Ok(review) = serde_json::from_value::<Review>(value) else { continue };
            println!("{}: {} of 100, {} findings", entry.path, review.score, review.findings.len());
        }
    }
    println!("{}", outcome.text());
    Ok(())
}
