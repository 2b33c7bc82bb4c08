//! Chat models behind one object-safe trait: a complete answer is a folded stream.
//!
//! Row 6 of the house.
//! [`Model`] is the handle; backends speak the wire of a provider or answer offline.

mod backends;
mod bind;
mod chat;
mod embedding;
#[cfg(feature = "http")]
#[cfg_attr(
    not(any(feature = "model-openai", feature = "model-anthropic")),
    allow(dead_code, unused_imports, reason = "a build with the client alone has embeddings and no chat")
)]
mod http;
mod info;
mod layer;
mod layers;
mod partial;
mod profile;
mod registry;
mod request;
mod rerank;
mod response;
mod settings;
mod sse;
mod stream;
mod structured;
#[cfg(any(feature = "model-openai", feature = "model-anthropic", feature = "model-genai"))]
mod wording;
mod wrapped;

#[cfg(feature = "model-anthropic")]
pub use backends::anthropic::{AnthropicConfig, AnthropicModel};
#[cfg(feature = "testing")]
pub(crate) use backends::function::parts as function_parts;
#[cfg(feature = "model-genai")]
pub use backends::genai::{GenaiConfig, GenaiModel, GenaiProvider};
#[cfg(feature = "model-openai")]
pub use backends::openai::{LimitField, OpenAiApi, OpenAiConfig, OpenAiModel, Structured};
pub use backends::{canned::CannedModel, function::FunctionModel, offline::OfflineModel};
pub use bind::bind_stream;
pub(crate) use chat::Beginning;
pub use chat::{ChatModel, ChatStream, Model};
pub use embedding::{EmbeddingAnswer, EmbeddingInfo, EmbeddingModel, EmbeddingPurpose};
#[cfg(feature = "http")]
pub use embedding::{EmbeddingConfig, EmbeddingWire, HttpEmbeddingModel};
#[cfg(feature = "tool-fetch")]
pub(crate) use http::tls_config;
#[cfg(feature = "http")]
pub use http::{HttpBody, HttpClient, HttpConfig, HttpRequest, HttpResponse, ReqwestClient};
pub use info::{ModelAbilities, ModelInfo};
pub use layer::{Layer, Layers, Place};
#[cfg(feature = "redis")]
pub use layers::RedisRates;
pub use layers::{
    AnswerCache, Breaker, BreakerConfig, BreakerCounts, BreakerState, BreakerStatus, BudgetLayer,
    CacheConfig, CacheLayer, CacheStats, CascadeConfig, CascadeLayer, CircuitBreakerLayer, FallbackConfig,
    FallbackLayer, LayersConfig, MemoryRates, Permit, Rate, RateAddress, RateAlgorithm, RateAnswer,
    RateClaim, RateCount, RateDecision, RateLimitConfig, RateLimitLayer, RateLimiter, RateRefusal, RateRule,
    RateRules, RateScope, RateStatus, RateStore, RateSubject, RateUnit, RedactLayer, RetryConfig, RetryLayer,
    TimeoutConfig, TimeoutLayer, TraceLayer, Verdict, counts_as_failure, may_fall_back,
};
pub use partial::PartialJson;
pub use profile::{Ability, ModelProfile};
pub use registry::{ModelFactory, ModelRegistry};
pub use request::{ChatRequest, Effort, KeepPrompt, ModelSettings, Output, Reasoning, ToolChoice};
pub use rerank::{FnReranker, RerankAnswer, Reranked, Reranker, RerankerFactory, RerankerRegistry};
#[cfg(feature = "http")]
pub use rerank::{HttpReranker, RerankConfig, RerankWire};
pub use response::{ChatResponse, FinishReason};
pub use settings::ProviderSettings;
pub use sse::{SseDecoder, SseEvent, SseMessage};
pub(crate) use stream::Check;
pub use stream::{Accumulator, PartialAnswer, StreamPart};
pub use structured::{Answer, check_answer};
pub(crate) use structured::{WRAPPED, as_object};
