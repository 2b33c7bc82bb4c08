//! The models that this build offers; nobody but the registry chooses among them.

#[cfg(feature = "model-anthropic")]
pub(crate) mod anthropic;
pub(crate) mod canned;
#[cfg(any(feature = "model-openai", feature = "model-anthropic"))]
mod count;
pub(crate) mod function;
#[cfg(feature = "model-genai")]
pub(crate) mod genai;
pub(crate) mod offline;
#[cfg(feature = "model-openai")]
pub(crate) mod openai;
