//! `ModelInfo`: a model's name, limits and abilities; its capability record.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What a model can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelAbilities {
    /// It can ask for tools.
    pub tools: bool,
    /// It can answer in a given JSON Schema.
    pub structured: bool,
}

/// What a model is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// `provider:model`.
    pub name: Arc<str>,
    /// How many tokens fit, input and output together; `None` when unknown.
    pub context_window: Option<u32>,
    /// What it can do.
    pub abilities: ModelAbilities,
}
