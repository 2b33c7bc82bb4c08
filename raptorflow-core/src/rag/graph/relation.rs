//! `Relation`, `Source`, `Entity` and `Facts`: what the graph says, who said it, and what can be told to it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Who said something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Source {
    /// The host, through [`crate::rag::graph::KnowledgeGraph::relate`].
    Host,
    /// A passage, read by the rules.
    Passage {
        /// The passage's key.
        key: u64,
        /// The id of its document.
        document: Arc<str>,
    },
    /// Facts of a document, usually made by a model.
    Model {
        /// The id of the document.
        document: Arc<str>,
    },
}

/// A relation from one entity to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Relation {
    /// Where it begins, as it is usually written.
    pub subject: Arc<str>,
    /// What it says, for example `same_as`, `is_a`, `links_to`, `mentions` or a name of the host's choice.
    pub kind: Arc<str>,
    /// Where it ends, as it is usually written.
    pub object: Arc<str>,
    /// The weights of all who said it together.
    pub weight: f32,
    /// Who said it, in order.
    pub sources: Vec<Source>,
}

/// An entity and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    /// How it is usually written.
    pub name: Arc<str>,
    /// Keys of the passages that it is the title of.
    pub titled: Vec<u64>,
    /// Keys of the other passages that mention it.
    pub mentioned: Vec<u64>,
}

/// What a model or the host knows of a document.
///
/// ```
/// use raptorflow_core::rag::graph::Facts;
/// let facts: Facts = serde_json::from_str(
///     r#"{"entities": ["Marie Curie"], "triples": [["Marie Curie", "born in", "Warsaw"]]}"#).unwrap();
/// assert_eq!(facts.triples[0].object, "Warsaw");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// Names that the document mentions.
    pub entities: Vec<String>,
    /// Relations that it tells.
    pub triples: Vec<Triple>,
}

/// A relation that a document tells; written as `[subject, relation, object]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(String, String, String)", into = "(String, String, String)")]
pub struct Triple {
    /// Where it begins.
    pub subject: String,
    /// What it says.
    pub relation: String,
    /// Where it ends.
    pub object: String,
}

impl From<(String, String, String)> for Triple {
    fn from((subject, relation, object): (String, String, String)) -> Self {
        Self { subject, relation, object }
    }
}

impl From<Triple> for (String, String, String) {
    fn from(triple: Triple) -> Self {
        (triple.subject, triple.relation, triple.object)
    }
}
