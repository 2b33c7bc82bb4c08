//! The stored form of what the graph cannot read from documents: facts and the host's relations.

use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    error::{Error, ErrorKind, Result},
    rag::{
        catalog::Entry,
        graph::{name::canonical, relation::Facts},
        indexes::Indexes,
    },
    runtime::Context,
    storage::{Expect, Scan, Storage},
    types::Digest,
};

/// How many records are read at once while opening.
const PAGE: usize = 256;

/// A relation that the host told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredRelation {
    pub(super) subject: String,
    pub(super) kind: String,
    pub(super) object: String,
    pub(super) weight: f32,
}

/// Facts of one form of a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredFacts {
    pub(super) document: String,
    /// The digest of the document that they are of; facts of another form are not used.
    pub(super) digest: Digest,
    pub(super) facts: Facts,
}

/// The storage key of a relation, the same for every spelling of its ends.
pub(super) fn relation_key(prefix: &str, subject: &str, kind: &str, object: &str) -> String {
    format!(
        "{prefix}graph/relation/{}",
        Digest::of_all([canonical(subject).as_str(), kind, canonical(object).as_str()])
    )
}

/// Tells the graph what is stored; facts of documents that changed or are gone are removed from the store.
pub(crate) async fn load(ctx: &Context, storage: &Storage, prefix: &str, indexes: &Indexes) -> Result<()> {
    for (key, told) in records::<StoredRelation>(ctx, storage, &format!("{prefix}graph/relation/")).await? {
        let StoredRelation { subject, kind, object, weight } = told;
        let related = indexes.change_graph(|graph| graph.relate(&subject, &kind, &object, weight));
        related.transpose().map_err(|err| {
            Error::new(ErrorKind::Corrupt, "graph.load", "the stored relation is not one")
                .with("key", key)
                .caused_by(err)
        })?;
    }
    for (key, told) in records::<StoredFacts>(ctx, storage, &format!("{prefix}graph/facts/")).await? {
        let entry =
            indexes.catalog().get(&told.document).filter(|entry| entry.digest == told.digest).cloned();
        match entry {
            Some(entry) => tell(indexes, &entry, &told.facts),
            None => drop(storage.delete(ctx, &key, Expect::Any).await?),
        }
    }
    Ok(())
}

/// Puts facts of a document that the catalog has.
pub(super) fn tell(indexes: &Indexes, entry: &Arc<Entry>, facts: &Facts) {
    let texts = entry.keys().zip(entry.places.iter().map(|place| entry.text(place.bytes.clone())));
    let passages: Vec<(u64, &str)> = texts.collect();
    indexes.change_graph(|graph| graph.put_facts(entry.id(), facts, &passages));
}

async fn records<T: DeserializeOwned>(
    ctx: &Context,
    storage: &Storage,
    prefix: &str,
) -> Result<Vec<(String, T)>> {
    let mut records = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = storage.scan(ctx, Scan { prefix, after: after.as_deref(), limit: PAGE }).await?;
        let full = page.len() == PAGE;
        after = page.last().map(|(key, _)| key.clone());
        for (key, stored) in page {
            let record = serde_json::from_slice(&stored.value).map_err(|err| {
                let message = "the stored part of the graph cannot be read";
                Error::new(ErrorKind::Corrupt, "graph.load", message).with("key", &key).caused_by(err)
            })?;
            records.push((key, record));
        }
        if !full {
            return Ok(records);
        }
    }
}
