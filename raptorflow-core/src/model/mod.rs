//! Chat models behind one object-safe trait: a complete answer is a folded stream.
//!
//! Row 6 of the house.
//! [`Model`] is the handle; backends speak the wire of a provider or answer offline.

mod backends;
mod chat;
#[cfg(feature = "http")]
mod http;
mod info;
mod registry;
mod request;
mod response;
mod sse;
mod stream;
mod structured;

#[cfg(feature = "model-anthropic")]
pub use backends::anthropic::{AnthropicConfig, AnthropicModel};
pub use backends::offline::OfflineModel;
#[cfg(feature = "model-openai")]
pub use backends::openai::{OpenAiConfig, OpenAiModel};
pub use chat::{ChatModel, ChatStream, Model};
#[cfg(feature = "http")]
pub use http::{HttpBody, HttpClient, HttpRequest, HttpResponse, ReqwestClient};
pub use info::{ModelAbilities, ModelInfo};
pub use registry::{ModelFactory, ModelRegistry};
pub use request::{ChatRequest, Output, ToolChoice};
pub use response::{ChatResponse, FinishReason};
pub use sse::{SseDecoder, SseEvent};
pub use stream::{Accumulator, StreamPart};
pub use structured::{Answer, check_answer};
