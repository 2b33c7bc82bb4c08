//! Two verifiers check what an author writes, and it is written again with their notes until both approve.

use raptorflow_core::{
    Engine, Result,
    agent::{Agent, AgentInput, AgentSpec, FunctionAgent},
    workflow::{Decision, VerificationLevel, verification},
};
use serde_json::{Value, json};

/// An agent that is a function of what it is asked.
fn agent(name: &str, answer: fn(&Value) -> Value) -> Result<Agent> {
    let answer = move |_ctx, input: AgentInput| async move { Ok(answer(&input.input)) };
    Ok(FunctionAgent::new(AgentSpec::new(name)?, answer).into())
}

fn write(input: &Value) -> Value {
    // What was said of the draft before stands in `notes`.
    let told = input["notes"].to_string();
    if told.contains("which plan") {
        json!("The basic plan costs ₹499 a month.")
    } else {
        json!("It costs ₹499.")
    }
}

fn check_words(input: &Value) -> Value {
    let whole = input["draft"].as_str().is_some_and(|draft| draft.contains("plan"));
    if whole {
        json!({ "verdict": "approve", "score": 0.95 })
    } else {
        json!({ "verdict": "request_revision", "score": 0.4, "note": "Say which plan, and for how long." })
    }
}

fn check_numbers(input: &Value) -> Value {
    let right = input["draft"].as_str().is_some_and(|draft| draft.contains("499"));
    json!({ "verdict": if right { "approve" } else { "reject" }, "score": if right { 1.0 } else { 0.0 } })
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows its result")]
async fn main() -> Result<()> {
    let engine = Engine::builder().build().await?;
    let verifiers = [agent("words", check_words)?, agent("numbers", check_numbers)?];
    let checked = verification(verifiers).author(agent("writer", write)?).level(VerificationLevel::Thorough);
    let outcome = engine.run(checked, "What does the basic plan cost?").await?;

    let decision = Decision::of(&outcome.output)?;
    for turn in decision.turns.iter().filter(|turn| turn.phase == "check") {
        println!("round {}, {}: {:?}, {:?}", turn.round, turn.agent, turn.verdict, turn.score);
    }
    println!("{}: {:?} after {} rounds", decision.answer, decision.stopped, decision.rounds);
    Ok(())
}
