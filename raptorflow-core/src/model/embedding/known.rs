//! What is known of embedding models, as data.

use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};

const TABLE: &str = include_str!("known.toml");

/// What is known of one model.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Known {
    pub(super) name: String,
    pub(super) dimension: Option<usize>,
    pub(super) document_prefix: String,
    pub(super) query_prefix: String,
    pub(super) task_type: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    model: Vec<Known>,
}

/// What is known of a model: under its whole name, else without its tag.
pub(super) fn known(provider: &str, model: &str) -> Result<Option<Known>> {
    let Table { model: mut table } = toml::from_str(TABLE).map_err(|err| {
        Error::new(ErrorKind::Internal, "embedding.new", "the table of known models is damaged")
            .caused_by(err)
    })?;
    let whole = format!("{provider}:{model}");
    let bare = model.split_once(':').map_or(whole.clone(), |(bare, _)| format!("{provider}:{bare}"));
    let place = |name: &str| table.iter().position(|known| known.name == name);
    Ok(place(&whole).or_else(|| place(&bare)).map(|at| table.swap_remove(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_that_is_not_listed_is_the_model_itself() {
        let dimension = |model| known("ollama", model).unwrap().and_then(|known| known.dimension);
        assert_eq!(dimension("nomic-embed-text:v1.5"), Some(768));
        assert_eq!(dimension("qwen3-embedding:4b"), Some(2560));
        assert_eq!(dimension("qwen3-embedding"), None);
        assert_eq!(dimension("nobody"), None);
        assert!(known("openai", "nomic-embed-text").unwrap().is_none());
    }
}
