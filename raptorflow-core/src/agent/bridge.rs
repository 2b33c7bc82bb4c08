//! Retrieval offered as a tool, so that `rag` and `tool` stay strangers.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    error::Result,
    rag::Retriever,
    runtime::Context,
    tool::{FunctionTool, Tool},
};

/// How many passages a search gives when the model does not say.
const DEFAULT_PASSAGES: usize = 5;
/// How many it gives at most.
const MAX_PASSAGES: usize = 20;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SearchArguments {
    /// What to search for, in plain words.
    query: String,
    /// How many passages to return, 1 to 20; 5 when left out.
    passages: Option<usize>,
}

/// A tool named `search` that finds passages; it returns their source, lines and text, best first.
pub fn search_tool(retriever: Arc<dyn Retriever>) -> impl Tool {
    let description = "Searches the documents and returns passages with their source and lines, best first.";
    FunctionTool::typed("search", description, move |ctx: Context, arguments: SearchArguments| {
        let retriever = Arc::clone(&retriever);
        async move { search(&ctx, &*retriever, &arguments).await }
    })
}

async fn search(ctx: &Context, retriever: &dyn Retriever, arguments: &SearchArguments) -> Result<Value> {
    let passages = arguments.passages.unwrap_or(DEFAULT_PASSAGES).clamp(1, MAX_PASSAGES);
    let hits = retriever.retrieve(ctx, &arguments.query, passages).await?;
    let found: Vec<Value> = hits
        .iter()
        .map(|hit| json!({ "source": hit.source, "lines": [hit.lines.0, hit.lines.1], "text": hit.text }))
        .collect();
    Ok(Value::Array(found))
}
