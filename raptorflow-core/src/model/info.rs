//! `ModelInfo`: a model's name, limits and abilities; its capability record.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    model::{ChatRequest, Output, ToolChoice},
};

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
///
/// ```
/// use raptorflow_core::model::{ChatRequest, ModelAbilities, ModelInfo, Output};
/// use raptorflow_core::{ErrorKind, types::Schema};
/// let info = ModelInfo { name: "host:plain".into(), context_window: Some(8192), abilities: ModelAbilities::default() };
/// let form = Output::Json { name: "answer".to_owned(), schema: Schema::any_object() };
/// let err = info.check(&ChatRequest::default().with_output(form)).unwrap_err();
/// assert_eq!(err.kind(), ErrorKind::Unsupported);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// `provider:model`.
    pub name: Arc<str>,
    /// How many tokens fit, input and output together; `None` when unknown.
    pub context_window: Option<u32>,
    /// What it can do.
    pub abilities: ModelAbilities,
}

impl ModelInfo {
    /// Refuses what the model cannot do; backends call it before they send anything.
    ///
    /// Tools that are offered but not required are no problem: the model answers without them.
    ///
    /// # Errors
    /// `Unsupported` when a tool is required of a model without tools, or a schema of one without structured
    /// output.
    pub fn check(&self, request: &ChatRequest) -> Result<()> {
        let refuse = |message| {
            Err(Error::new(ErrorKind::Unsupported, "model.stream", message).with("model", &self.name))
        };
        if !self.abilities.tools && matches!(request.tool_choice, ToolChoice::Required | ToolChoice::Tool(_))
        {
            return refuse("the model calls no tools, and the request requires one");
        }
        if !self.abilities.structured && matches!(request.output, Output::Json { .. }) {
            return refuse("the model cannot answer in a JSON Schema");
        }
        Ok(())
    }
}
