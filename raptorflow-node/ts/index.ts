// raptorflow: agents, tools, retrieval and durable runs in one embeddable engine.

export {
  Agent,
  agent,
  type AgentContext,
  type AgentData,
  type AgentKind,
  type AgentOptions,
  type Capability,
  type Compaction,
  type FunctionAgentOptions,
  type Handoff,
  type Limits,
  type ModelSettings,
  type Retrieval,
} from './agent.js'
export type { Approving, Denying, PendingApproval } from './approval.js'
export { type Answering, type AnswerPart, AnswerStream, type AskOptions, type Partially } from './ask.js'
export type { CallContext } from './callback.js'
export { Engine, type EngineOptions, type ResumeOptions, type RunFilter, type RunOptions, type Target } from './engine.js'
export { type Diagnostic, type ErrorCode, errorCodes, type ErrorOptions, RaptorflowError, type Retry } from './error.js'
export {
  type BusStats,
  type Channel,
  type Event,
  EventBus,
  type EventFilter,
  type EventKind,
  type HistoryOptions,
  type Lag,
  type Status,
  type SubscribeOptions,
  Subscription,
} from './event.js'
export type { Asked, Hook, HookFunction, Moment, Verdict } from './hook.js'
export type { Json } from './json.js'
export {
  type Attachment,
  type ChatRequest,
  type Media,
  type Message,
  type ModelAnswer,
  type ModelFunction,
  type ModelOptions,
  type Part,
  type Passage,
  type Role,
  textOf,
  type ToolCall,
  type ToolSpec,
  type Usage,
} from './model.js'
export { type Claim, Pack, Report, type Section, type Source } from './pack.js'
export {
  debate,
  type DebateOptions,
  expertPanel,
  type ExpertPanelOptions,
  mapReduce,
  type MapReduceOptions,
  type Member,
  type MemberOptions,
  parallel,
  type ParallelOptions,
  Pattern,
  type PatternOptions,
  reflection,
  type ReflectionOptions,
  sequential,
  type Tie,
  verification,
  type VerificationOptions,
} from './pattern.js'
export {
  type Citation,
  type CitedContext,
  type ContextOptions,
  type Document,
  type EmbedContext,
  Embedder,
  embedders,
  type Filter,
  type FunctionEmbedderOptions,
  type Hit,
  type IngestReport,
  KnowledgeBase,
  loadFolder,
  type Mode,
  type RemoteEmbedderOptions,
  Rerank,
  type RerankFunction,
  type RerankOptions,
  type SearchOptions,
  type Vector,
} from './rag.js'
export { type Finish, type Money, type Outcome, Run, Stream } from './run.js'
export type { Infer, InferInput, JsonSchema, SchemaLike, StandardSchema } from './schema.js'
export type {
  Amount,
  Breaker,
  Budgets,
  Cache,
  CapOptions,
  Caps,
  Cascade,
  Fallback,
  Layers,
  Price,
  RateLimit,
  RateRule,
  Retry as RetryOptions,
  Timeout,
} from './settings.js'
export { type SkillReload, SkillRegistry, type SkillSummary, type TypeLanguage } from './skill.js'
export {
  type Anomaly,
  type Balance,
  type BreakerStatus,
  type CacheStats,
  type Cap,
  type Expected,
  type Prediction,
  type RateStatus,
  type Spent,
  textTokens,
  type UsageFilter,
  type UsageReport,
  type UsageSum,
  type Whose,
  type Window,
  type Workload,
} from './spending.js'
export type { Entry, Question, RunPage, RunState, RunStatus, RunSummary, StepState } from './state.js'
export { Cassette, type CassetteOptions, ReplayModel, type Reply, ScriptedModel, type ScriptOptions } from './testing.js'
export { type Effects, Tool, tool, type ToolOptions } from './tool.js'
export type { Archive, Erased, Pruned, Retention } from './upkeep.js'
export {
  type Aggregate,
  type Compensation,
  type Condition,
  type Gate,
  type Repeat,
  type StepFunction,
  Workflow,
  type WorkflowOptions,
  type WorkflowStep,
} from './workflow.js'
