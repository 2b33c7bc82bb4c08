//! Two sides debate until a judge decides, and the decision says who said what, how votes stood and why it stopped.

use raptorflow_core::{
    Agent, Engine, Result,
    model::{ChatRequest, FunctionModel, Model, ModelInfo},
    workflow::{Decision, Member, Role, debate},
};
use serde_json::{Value, json};

/// Stands in for the language model of one side: it gives way once it has heard of the holiday.
fn argue(request: &ChatRequest, opening: &str) -> Value {
    let heard = request.messages.iter().any(|message| message.text().contains("Monday is a holiday"));
    if heard {
        json!("That settles it.\nPosition: ship on Tuesday\nConfidence: 0.9")
    } else {
        json!(format!("{opening}\nConfidence: 0.6"))
    }
}

fn side(name: &str, opening: &'static str) -> Result<Agent> {
    let info = ModelInfo::new(format!("host:{name}"));
    let model = FunctionModel::new(info, move |_ctx, request| async move { Ok(argue(&request, opening)) });
    Agent::builder(name).model_instance(Model::new(model)).build()
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows its result")]
async fn main() -> Result<()> {
    let pro = side("pro", "Customers wait for it.\nPosition: ship on Monday")?;
    let con = side("con", "Monday is a holiday, and nobody is there to help.\nPosition: ship on Tuesday")?;
    let judge = FunctionModel::new(ModelInfo::new("host:judge"), |_ctx, _request| async move {
        Ok(json!("Both are for Tuesday now.\nPosition: ship on Tuesday\nConfidence: 0.95"))
    });
    let judge = Agent::builder("judge").model_instance(Model::new(judge)).build()?;

    let engine = Engine::builder().build().await?;
    let sides = [Member::from(pro).with_role(Role::Advocate), Member::from(con).with_role(Role::Critic)];
    let outcome = engine.run(debate(sides).judge(judge).rounds(3).turns(2), "When do we ship?").await?;

    let decision = Decision::of(&outcome.output)?;
    for turn in &decision.turns {
        println!("round {}, {} ({}): {}", turn.round, turn.agent, turn.phase, turn.position);
    }
    println!(
        "{}: {:?} after {} round, sure by {}",
        decision.answer, decision.stopped, decision.rounds, decision.confidence
    );
    Ok(())
}
