//! A panel of experts answers, a reviewer scores what they say, and the best answer counts.

use raptorflow_core::{
    Engine, Result,
    agent::{Agent, AgentSpec, FunctionAgent},
    workflow::{Decision, Member, PanelStrategy, Role, expert_panel},
};
use serde_json::{Value, json};

/// An expert with one answer.
fn expert(name: &str, answer: Value) -> Result<Agent> {
    let answer = move |_ctx, _input| {
        let answer = answer.clone();
        async move { Ok(answer) }
    };
    Ok(FunctionAgent::new(AgentSpec::new(name)?, answer).into())
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows its result")]
async fn main() -> Result<()> {
    let members = [
        Member::from(expert("sales", json!("Position: raise the price by 5 %\nConfidence: 0.9"))?),
        Member::from(expert("finance", json!("Position: raise the price by 8 %\nConfidence: 0.7"))?),
        Member::from(expert("legal", json!("Tell customers 30 days before."))?).with_role(Role::Advisor),
        Member::from(expert("editor", json!("sales: 0.6\nfinance: 0.85\nlegal: 0.4"))?)
            .with_role(Role::Reviewer),
    ];
    let engine = Engine::builder().build().await?;
    let panel = expert_panel(members).strategy(PanelStrategy::BestSolution);
    let outcome = engine.run(panel, "What do we do with the price of the basic plan?").await?;

    let decision = Decision::of(&outcome.output)?;
    println!("{}, scored {}, agreed: {}", decision.answer, decision.confidence, decision.agreed);
    for other in decision.tally.iter().flat_map(|tally| &tally.dissent) {
        println!("{} said: {}", other.agent, other.value);
    }
    Ok(())
}
