//! A clerk hands a conversation over to the colleague who knows, and the outcome says who answered.

use raptorflow_core::{
    Agent, Engine, Result,
    agent::{Handoff, HistoryPolicy},
    model::{ChatRequest, FunctionModel, Model, ModelAbilities, ModelInfo},
    types::Message,
};
use serde_json::{Value, json};

/// Stands in for a language model that sees what a question is about.
fn sort(request: &ChatRequest) -> Value {
    let question = request.messages.last().map(Message::text).unwrap_or_default();
    let (colleague, task) = if question.contains("bill") {
        ("billing", "Explain the last bill.")
    } else {
        ("support", "Help with the failing import.")
    };
    json!({ "tool_calls": [{ "id": "1", "name": format!("transfer_to_{colleague}"), "arguments": { "task": task } }] })
}

/// Stands in for a language model that answers with what it was told.
fn answer(name: &str, request: &ChatRequest) -> Value {
    let told: Vec<String> = request.messages.iter().map(Message::text).collect();
    json!(format!("{name} here, I was told: {}", told.join(" | ")))
}

fn model(reply: impl Fn(&ChatRequest) -> Value + Send + Sync + 'static) -> Model {
    let abilities = ModelAbilities { tools: true, ..ModelAbilities::default() };
    let info = ModelInfo { abilities, ..ModelInfo::new("host:rule") };
    Model::new(FunctionModel::new(info, move |_ctx, request| {
        let said = reply(&request);
        async move { Ok(said) }
    }))
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows its result")]
async fn main() -> Result<()> {
    let engine = Engine::builder().build().await?;
    for (name, description) in [("billing", "Knows every bill."), ("support", "Knows every error.")] {
        let agent = Agent::builder(name).description(description);
        engine.register(agent.model_instance(model(move |request| answer(name, request))).build()?)?;
    }
    let clerk = Agent::builder("clerk")
        .instructions("Find who can help.")
        .model_instance(model(sort))
        .handoffs([Handoff::to("billing")?, Handoff::to("support")?.with_history(HistoryPolicy::None)]);
    engine.register(clerk.build()?)?;

    for question in ["Why is my bill so high?", "The import fails."] {
        let outcome = engine.run("clerk", question).await?;
        let who = outcome.agent.as_ref().map_or("clerk", |agent| agent.as_str());
        println!("{question}\n  answered by {who}: {}", outcome.text());
    }
    Ok(())
}
