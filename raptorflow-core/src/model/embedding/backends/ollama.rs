//! Ollama's `/api/embed`.

use serde::{Deserialize, Serialize};

use crate::{
    model::{EmbeddingAnswer, EmbeddingConfig},
    types::Usage,
};

pub(crate) const PATH: &str = "api/embed";

#[derive(Serialize)]
pub(crate) struct Body<'a> {
    model: &'a str,
    input: &'a [&'a str],
    /// By default Ollama drops what does not fit without a word, and half a text would be found as the whole.
    truncate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<usize>,
}

#[derive(Deserialize)]
pub(crate) struct Answer {
    embeddings: Vec<Vec<f32>>,
    #[serde(default)]
    prompt_eval_count: u64,
}

/// Where the API begins: the address of the OpenAI-compatible one leads there too.
pub(crate) fn base_url(config: &EmbeddingConfig) -> &str {
    let base = config.base_url.trim_end_matches('/');
    base.strip_suffix("/v1").unwrap_or(base)
}

pub(crate) fn body<'a>(config: &'a EmbeddingConfig, texts: &'a [&'a str]) -> Body<'a> {
    Body {
        model: &config.model,
        input: texts,
        truncate: false,
        dimensions: config.dimension.filter(|_| config.shorten),
    }
}

pub(crate) fn read(answer: Answer) -> EmbeddingAnswer {
    EmbeddingAnswer { vectors: answer.embeddings, usage: Usage::new(answer.prompt_eval_count, 0) }
}
