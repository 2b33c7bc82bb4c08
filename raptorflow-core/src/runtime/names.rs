//! Span and field names, one table, low enough for every module to use.

/// A spawned task.
pub const TASK: &str = "runtime.task";
/// One run of an agent, or of an orchestrator.
pub const AGENT_RUN: &str = "agent.run";
/// One call of a model.
pub const MODEL_STREAM: &str = "model.stream";
/// One request of an embedding model.
pub const MODEL_EMBED: &str = "model.embed";
/// One request of a reranker.
pub const MODEL_RERANK: &str = "model.rerank";
/// One call of a model with everything that stands before it: all tries, all fallbacks.
pub const MODEL_CALL: &str = "model.call";
/// The model that gave an answer, after OpenTelemetry.
pub const RESPONSE_MODEL: &str = "gen_ai.response.model";
/// Why an answer ended.
pub const FINISH_REASON: &str = "gen_ai.response.finish_reason";
/// Tokens read, after OpenTelemetry.
pub const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
/// Tokens written, after OpenTelemetry.
pub const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
/// The kind of an error, after OpenTelemetry.
pub const ERROR_TYPE: &str = "error.type";
/// How a call ended: `ok`, `error` or `dropped`.
pub const OUTCOME: &str = "outcome";
/// How long a call took, in milliseconds.
pub const DURATION_MS: &str = "duration_ms";
/// One call of a tool.
pub const TOOL_CALL: &str = "tool.call";
/// One ingest of documents.
pub const RAG_INGEST: &str = "rag.ingest";
/// One search of a knowledge base.
pub const RAG_SEARCH: &str = "rag.search";
