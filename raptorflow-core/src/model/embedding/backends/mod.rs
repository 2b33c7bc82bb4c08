//! The wires of embedding models: what is sent, and how the answer is read.

pub(crate) mod gemini;
pub(crate) mod ollama;
pub(crate) mod openai;
