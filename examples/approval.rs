//! A call that needs approval waits in the journal until a person has looked at exactly this call.

use raptorflow_core::{
    Agent, Engine, Result,
    model::{ChatRequest, FunctionModel, Model, ModelAbilities, ModelInfo},
    tool,
    types::Part,
};
use serde_json::{Value, json};

/// Sends a message to a customer.
#[tool(effects = "external", approval)]
async fn send_message(to: String, text: String) -> String {
    format!("sent {} characters to {to}", text.chars().count())
}

/// Stands in for a language model: asks for the tool, then says what it answered.
fn answer(request: &ChatRequest) -> Value {
    let parts = request.messages.iter().flat_map(|message| &message.parts);
    let results: Vec<&Value> = parts
        .filter_map(|part| match part {
            Part::ToolResult(result) => Some(&result.content),
            _ => None,
        })
        .collect();
    match results.last() {
        Some(result) => json!(format!("The tool answered: {result}")),
        None => {
            let arguments = json!({ "to": "asha@example.com", "text": "Your order is on its way." });
            json!({ "tool_calls": [{ "id": "1", "name": "send_message", "arguments": arguments }] })
        }
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows its result")]
async fn main() -> Result<()> {
    let abilities = ModelAbilities { tools: true, ..ModelAbilities::default() };
    let info = ModelInfo { abilities, ..ModelInfo::new("host:rule") };
    let model = FunctionModel::new(info, |_ctx, request| async move { Ok(answer(&request)) });

    // With a store on disk the call would wait over restarts too.
    let engine = Engine::builder().build().await?;
    engine.register(Agent::builder("clerk").model_instance(Model::new(model)).tool(send_message).build()?)?;

    for allowed in [true, false] {
        let run = engine.start("clerk", "Tell Asha that her order is on its way.").await?;
        let asked = loop {
            match engine.approvals(run.id()).await?.pop() {
                Some(asked) => break asked,
                None => tokio::task::yield_now().await,
            }
        };
        println!("{} wants {}({})", asked.agent, asked.tool, asked.arguments);
        if allowed {
            engine.approve(asked.run, asked.id, asked.digest).by("anna").await?;
        } else {
            engine.deny(asked.run, asked.id, asked.digest).by("anna").because("it is late").await?;
        }
        println!("{}", run.outcome().await?.text());
    }
    Ok(())
}
