//! Span and field names, one table, low enough for every module to use.

/// A spawned task.
pub const TASK: &str = "runtime.task";
/// One run of an agent, or of an orchestrator.
pub const AGENT_RUN: &str = "agent.run";
/// One call of a model.
pub const MODEL_STREAM: &str = "model.stream";
/// One call of a tool.
pub const TOOL_CALL: &str = "tool.call";
/// One ingest of documents.
pub const RAG_INGEST: &str = "rag.ingest";
/// One search of a knowledge base.
pub const RAG_SEARCH: &str = "rag.search";
