//! What both wires say alike: effort, failed calls, schemas told in words.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::config::OpenAiConfig;
use crate::{
    model::{ChatRequest, Effort, KeepPrompt, ModelInfo, Reasoning, wording::result_text},
    types::ToolResult,
};

/// The wire's word for how hard the model shall think.
pub(super) fn effort(info: &ModelInfo, request: &ChatRequest) -> Option<&'static str> {
    Some(match request.reasoning? {
        Reasoning::Effort(Effort::Minimal) if info.abilities.minimal_reasoning => "minimal",
        Reasoning::Effort(Effort::Minimal | Effort::Low) => "low",
        Reasoning::Effort(Effort::Medium) => "medium",
        Reasoning::Effort(Effort::High) => "high",
        Reasoning::Budget(_) => return None,
    })
}

/// For how long OpenAI shall keep the prompt, which it does for minutes without being asked; other hosts have no such
/// field.
pub(super) fn prompt_retention(config: &OpenAiConfig, request: &ChatRequest) -> Option<&'static str> {
    (config.is_openai() && request.keep_prompt == Some(KeepPrompt::Hours)).then_some("24h")
}

/// What a tool answered, as text.
pub(super) fn told(result: &ToolResult) -> Cow<'_, str> {
    // The wires have no mark for a failed call, so the text says it.
    match result.is_error {
        true => Cow::Owned(json!({"error": result.content}).to_string()),
        false => result_text(&result.content),
    }
}

/// The wish for JSON of a schema, in words, for hosts that do not enforce schemas.
pub(super) fn schema_wish(schema: &Value) -> String {
    format!("Answer with one JSON object and nothing else. It fits this JSON Schema:\n{schema}")
}
