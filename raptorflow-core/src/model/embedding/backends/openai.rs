//! OpenAI's `/embeddings`, and that of every compatible host.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

use crate::{
    model::{EmbeddingAnswer, EmbeddingConfig},
    types::Usage,
};

pub(crate) const PATH: &str = "embeddings";

#[derive(Serialize)]
pub(crate) struct Body<'a> {
    model: &'a str,
    input: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_format: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<usize>,
}

#[derive(Deserialize)]
pub(crate) struct Answer {
    data: Vec<Item>,
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct Item {
    /// Some hosts leave it out and answer in order.
    index: Option<usize>,
    embedding: Numbers,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Numbers {
    Base64(String),
    List(Vec<f32>),
}

#[derive(Deserialize)]
struct Counts {
    #[serde(default)]
    prompt_tokens: u64,
}

pub(crate) fn body<'a>(config: &'a EmbeddingConfig, texts: &'a [&'a str]) -> Body<'a> {
    Body {
        model: &config.model,
        input: texts,
        encoding_format: config.base64.then_some("base64"),
        dimensions: config.dimension.filter(|_| config.shorten),
    }
}

/// The vectors by their index; `None` when an index or a number is none.
pub(crate) fn read(answer: Answer) -> Option<EmbeddingAnswer> {
    let Answer { data, usage } = answer;
    let mut vectors: Vec<Option<Vec<f32>>> = Vec::new();
    vectors.resize_with(data.len(), || None);
    for (place, Item { index, embedding }) in data.into_iter().enumerate() {
        let numbers = match embedding {
            Numbers::List(numbers) => numbers,
            Numbers::Base64(text) => decode(&text)?,
        };
        *vectors.get_mut(index.unwrap_or(place))? = Some(numbers);
    }
    let input_tokens = usage.map_or(0, |counts| counts.prompt_tokens);
    Some(EmbeddingAnswer {
        vectors: vectors.into_iter().collect::<Option<_>>()?,
        usage: Usage::new(input_tokens, 0),
    })
}

/// Little-endian 32-bit floats.
fn decode(text: &str) -> Option<Vec<f32>> {
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    let (numbers, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| numbers.iter().copied().map(f32::from_le_bytes).collect())
}
