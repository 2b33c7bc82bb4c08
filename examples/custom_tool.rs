//! A typed function becomes a tool, and a model of your own calls it.

use raptorflow_core::{
    Agent, Engine, Result,
    model::{ChatRequest, FunctionModel, Model, ModelAbilities, ModelInfo},
    tool,
    types::{Message, Part},
};
use serde_json::{Value, json};

/// Adds GST to a net amount in rupees.
#[tool]
async fn add_gst(net: f64, rate: f64) -> Result<f64> {
    Ok(net * (1.0 + rate))
}

/// Stands in for a language model: asks for the tool, then says what it answered.
fn answer(request: &ChatRequest) -> Value {
    let result = request.messages.last().and_then(|message: &Message| {
        message.parts.iter().find_map(|part| match part {
            Part::ToolResult(result) => Some(result.content.clone()),
            _ => None,
        })
    });
    match result {
        Some(gross) => json!(format!("With GST it is ₹{gross}.")),
        None => {
            json!({ "tool_calls": [{ "id": "1", "name": "add_gst", "arguments": { "net": 1000.0, "rate": 0.18 } }] })
        }
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows its result")]
async fn main() -> Result<()> {
    let abilities = ModelAbilities { tools: true, ..ModelAbilities::default() };
    let info = ModelInfo { abilities, ..ModelInfo::new("host:rule") };
    let model = FunctionModel::new(info, |_ctx, request| async move { Ok(answer(&request)) });

    let engine = Engine::builder().build().await?;
    engine.register(Agent::builder("pricing").model_instance(Model::new(model)).tool(add_gst).build()?)?;

    let outcome = engine.run("pricing", "₹1000 with GST?").await?;
    println!("{}", outcome.text());
    Ok(())
}
