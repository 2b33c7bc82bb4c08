//! `ModelInfo`: a model's name, limits and abilities; its capability record.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    model::{ChatRequest, Output, Reasoning, ToolChoice},
    types::{Part, Role},
};

/// What a model can do, and which options of a request it takes.
///
/// By default it reads text, answers text, and takes the options of sampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each stands for itself")]
pub struct ModelAbilities {
    /// It can ask for tools.
    pub tools: bool,
    /// It can answer in a given JSON Schema.
    pub structured: bool,
    /// Its provider itself holds answers to a schema, where the schema keeps to a subset; without that the form is
    /// asked for in words or by a tool, which is an emulation, and the answer may not fit.
    pub strict: bool,
    /// It sees pictures.
    pub images: bool,
    /// It reads files such as PDFs; files of plain text are read by every model.
    pub documents: bool,
    /// It can be told how hard to think.
    pub reasoning: bool,
    /// It knows an effort below a low one, for [`Effort::Minimal`](crate::model::Effort).
    pub minimal_reasoning: bool,
    /// It can be told how many tokens to think for.
    pub reasoning_budget: bool,
    /// It can be told whether to ask for several tools at a time.
    pub parallel_tools: bool,
    /// It takes a temperature.
    pub temperature: bool,
    /// It takes `top_p`.
    pub top_p: bool,
    /// It takes texts at which to stop.
    pub stop: bool,
    /// It takes a seed.
    pub seed: bool,
}

impl ModelAbilities {
    /// Every one; for a double that plays whatever a test wants.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            tools: true,
            structured: true,
            strict: true,
            images: true,
            documents: true,
            reasoning: true,
            minimal_reasoning: true,
            reasoning_budget: true,
            parallel_tools: true,
            temperature: true,
            top_p: true,
            stop: true,
            seed: true,
        }
    }
}

impl Default for ModelAbilities {
    fn default() -> Self {
        Self {
            tools: false,
            structured: false,
            strict: false,
            images: false,
            documents: false,
            reasoning: false,
            minimal_reasoning: false,
            reasoning_budget: false,
            parallel_tools: false,
            temperature: true,
            top_p: true,
            stop: true,
            seed: true,
        }
    }
}

/// What a model is.
///
/// ```
/// use raptorflow_core::model::{ChatRequest, ModelInfo, Output};
/// use raptorflow_core::{ErrorKind, types::Schema};
/// let info = ModelInfo { context_window: Some(8192), ..ModelInfo::new("host:plain") };
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
    /// The longest answer in tokens; `None` when unknown.
    #[serde(default)]
    pub max_output_tokens: Option<u32>,
    /// What it can do.
    pub abilities: ModelAbilities,
}

impl ModelInfo {
    /// A model with the default abilities and unknown limits; the name is `provider:model`.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            context_window: None,
            max_output_tokens: None,
            abilities: ModelAbilities::default(),
        }
    }

    /// Refuses what the model cannot do; backends call it before they send anything.
    ///
    /// Tools that are offered but not required are no problem: the model answers without them.
    /// Files of plain text are no problem either, because every backend can give them as text.
    ///
    /// # Errors
    /// `Unsupported` for a tool that is required, a schema, a picture, a file or an option that the model does not
    /// know, and for an answer that is longer than its longest one.
    /// `InvalidInput` for a picture or a file in a message that is neither a user's nor a tool's.
    pub fn check(&self, request: &ChatRequest) -> Result<()> {
        let able = &self.abilities;
        let [images, documents] = self.media(request)?;
        let needs = [
            (
                able.tools,
                matches!(request.tool_choice, ToolChoice::Required | ToolChoice::Tool(_)),
                "the model calls no tools, and the request requires one",
            ),
            (
                able.structured,
                matches!(request.output, Output::Json { .. }),
                "the model cannot answer in a JSON Schema",
            ),
            (able.images, images, "the model sees no pictures"),
            (able.documents, documents, "the model reads no files other than text"),
            (
                able.reasoning,
                matches!(request.reasoning, Some(Reasoning::Effort(_))),
                "the model cannot be told how hard to think",
            ),
            (
                able.reasoning_budget,
                matches!(request.reasoning, Some(Reasoning::Budget(_))),
                "the model cannot be told how many tokens to think for",
            ),
            (
                able.parallel_tools,
                request.parallel_tool_calls.is_some() && !request.tools.is_empty(),
                "the model cannot be told whether to ask for several tools at a time",
            ),
            (able.temperature, request.temperature.is_some(), "the model takes no temperature"),
            (able.top_p, request.top_p.is_some(), "the model takes no `top_p`"),
            (able.stop, !request.stop.is_empty(), "the model takes no texts to stop at"),
            (able.seed, request.seed.is_some(), "the model takes no seed"),
        ];
        if let Some((_, _, message)) = needs.into_iter().find(|(able, needed, _)| *needed && !able) {
            return Err(self.refuse(ErrorKind::Unsupported, message));
        }
        match (request.max_output_tokens, self.max_output_tokens) {
            (Some(wanted), Some(longest)) if wanted > longest => Err(self
                .refuse(ErrorKind::Unsupported, "the model gives no answer of this length")
                .with("max_output_tokens", wanted)
                .with("longest", longest)),
            _ => Ok(()),
        }
    }

    /// Whether there are pictures, and files other than text.
    fn media(&self, request: &ChatRequest) -> Result<[bool; 2]> {
        let mut found = [false; 2];
        for message in &request.messages {
            for part in &message.parts {
                let [images, documents] = &mut found;
                match part {
                    Part::Image(_) => *images = true,
                    Part::Document(document) => *documents |= !document.media.is_text(),
                    _ => continue,
                }
                if !matches!(message.role, Role::User | Role::Tool) {
                    return Err(self.refuse(
                        ErrorKind::InvalidInput,
                        "a picture or file stands in a message that is neither a user's nor a tool's",
                    ));
                }
            }
        }
        Ok(found)
    }

    fn refuse(&self, kind: ErrorKind, message: &'static str) -> Error {
        Error::new(kind, "model.stream", message).with("model", &self.name)
    }
}
