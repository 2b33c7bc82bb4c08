//! An agent uses the tools of an MCP server: this program again, started as a process of its own.

use raptorflow_core::{
    Agent, Engine, Result,
    model::{ChatRequest, FunctionModel, Model, ModelAbilities, ModelInfo},
    runtime::{Context, Runtime},
    security::Secret,
    tool,
    tool::{
        ToolRegistry,
        mcp::{McpClient, McpServer},
    },
    types::{Message, Part},
};
use serde_json::{Value, json};

/// The argument that makes this program the server.
const SERVE: &str = "serve";
const NO_ENV: [(&str, Secret); 0] = [];

/// Says how many of an article are in stock.
#[tool]
async fn in_stock(article: String) -> Result<String> {
    Ok(format!("There are {} {article}.", article.len()))
}

/// Serves the tool to whoever started this process.
async fn serve(ctx: &Context) -> Result<()> {
    let mut tools = ToolRegistry::new();
    tools.register(in_stock)?;
    McpServer::new("warehouse", tools).instructions("Articles are named in English.").serve_stdio(ctx).await
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
        Some(stock) => stock,
        None => {
            json!({ "tool_calls": [{ "id": "1", "name": "warehouse_in_stock", "arguments": { "article": "lamps" } }] })
        }
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows its result")]
async fn main() -> Result<()> {
    let ctx = Context::new(&Runtime::current()?);
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    if arguments.next().as_deref() == Some(SERVE) {
        return serve(&ctx).await;
    }

    let client = McpClient::stdio(program, [SERVE], NO_ENV).prefix("warehouse_").connect(&ctx).await?;
    let server = client.server();
    println!("{} {} offers:", server.name, server.version);
    let abilities = ModelAbilities { tools: true, ..ModelAbilities::default() };
    let info = ModelInfo { abilities, ..ModelInfo::new("host:rule") };
    let model = FunctionModel::new(info, |_ctx, request| async move { Ok(answer(&request)) });
    let mut clerk = Agent::builder("clerk").model_instance(Model::new(model));
    for tool in client.tools() {
        println!("  {}: {}", tool.spec().name, tool.spec().description);
        clerk = clerk.shared_tool(tool);
    }

    let engine = Engine::builder().build().await?;
    engine.register(clerk.build()?)?;
    let outcome = engine.run("clerk", "How many lamps are in stock?").await?;
    println!("{}", outcome.text());
    client.close().await;
    Ok(())
}
