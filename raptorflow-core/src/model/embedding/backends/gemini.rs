//! `batchEmbedContents` of the Gemini API.

use serde::{Deserialize, Serialize};

use crate::{
    model::{EmbeddingAnswer, EmbeddingConfig, EmbeddingPurpose},
    types::Usage,
};

#[derive(Serialize)]
pub(crate) struct Body<'a> {
    requests: Vec<One<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct One<'a> {
    model: String,
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimensionality: Option<usize>,
}

#[derive(Serialize)]
struct Content<'a> {
    parts: [Part<'a>; 1],
}

#[derive(Serialize)]
struct Part<'a> {
    text: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    #[serde(default)]
    embeddings: Vec<Values>,
    usage_metadata: Option<Counts>,
}

#[derive(Deserialize)]
struct Values {
    values: Vec<f32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Counts {
    #[serde(default)]
    prompt_token_count: u64,
}

pub(crate) fn path(config: &EmbeddingConfig) -> String {
    format!("models/{}:batchEmbedContents", config.model)
}

pub(crate) fn body<'a>(
    config: &'a EmbeddingConfig,
    texts: &'a [&'a str],
    purpose: EmbeddingPurpose,
) -> Body<'a> {
    let task = match purpose {
        EmbeddingPurpose::Document => "RETRIEVAL_DOCUMENT",
        EmbeddingPurpose::Query => "RETRIEVAL_QUERY",
    };
    let one = |text: &&'a str| One {
        model: format!("models/{}", config.model),
        content: Content { parts: [Part { text }] },
        task_type: config.task_type.then_some(task),
        output_dimensionality: config.dimension.filter(|_| config.shorten),
    };
    Body { requests: texts.iter().map(one).collect() }
}

pub(crate) fn read(answer: Answer) -> EmbeddingAnswer {
    let input_tokens = answer.usage_metadata.map_or(0, |counts| counts.prompt_token_count);
    EmbeddingAnswer {
        vectors: answer.embeddings.into_iter().map(|each| each.values).collect(),
        usage: Usage::new(input_tokens, 0),
    }
}
