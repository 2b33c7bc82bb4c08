//! Chat models behind one object-safe trait: a complete answer is a folded stream.
//!
//! Row 6 of the house.
//! [`Model`] is the handle; backends speak the wire of a provider or answer offline.

mod backends;
mod bind;
mod chat;
mod info;
mod registry;
mod request;
mod response;
mod stream;
mod structured;

pub use backends::{function::FunctionModel, offline::OfflineModel};
pub use bind::bind_stream;
pub use chat::{ChatModel, ChatStream, Model};
pub use info::{ModelAbilities, ModelInfo};
pub use registry::{ModelFactory, ModelRegistry, ProviderSettings};
pub use request::{ChatRequest, Output, ToolChoice};
pub use response::{ChatResponse, FinishReason};
pub use stream::{Accumulator, PartialAnswer, StreamPart};
pub use structured::{Answer, check_answer};
