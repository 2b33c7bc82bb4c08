//! `Catalog`: which documents and chunks there are now; the authority over what an index returns.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::Arc,
};

use crate::{
    rag::{
        chunk::{HEADING_SEPARATOR, chunk_id},
        document::{Chunk, Document, Place},
        graph::{Extracted, extract},
    },
    types::Digest,
};

/// One document with the places of its chunks.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) document: Document,
    pub(crate) digest: Digest,
    pub(crate) places: Vec<Place>,
    /// The key of the first chunk; the others follow.
    pub(crate) first: u64,
    id: Arc<str>,
    source: Arc<str>,
}

impl Entry {
    pub(crate) fn new(document: Document, digest: Digest, places: Vec<Place>, first: u64) -> Self {
        let (id, source) = (Arc::from(document.id.as_str()), Arc::from(document.origin()));
        Self { document, digest, places, first, id, source }
    }

    pub(crate) fn id(&self) -> &Arc<str> {
        &self.id
    }

    pub(crate) fn source(&self) -> &Arc<str> {
        &self.source
    }

    pub(crate) fn keys(&self) -> Range<u64> {
        self.first..self.first + self.places.len() as u64
    }

    pub(crate) fn place(&self, number: usize) -> Option<&Place> {
        self.places.get(number)
    }

    pub(crate) fn text(&self, bytes: Range<usize>) -> &str {
        self.document.text.get(bytes).unwrap_or_default()
    }

    /// What the graph reads from each chunk.
    pub(crate) fn extracted(&self) -> impl Iterator<Item = (u64, Arc<str>, Extracted)> {
        self.keys().zip(&self.places).map(|(key, place)| {
            let path = place.heading.as_ref();
            let headings: Vec<&str> =
                path.split(HEADING_SEPARATOR).filter(|heading| !heading.is_empty()).collect();
            let found = extract(self.document.title.as_deref(), &headings, self.text(place.bytes.clone()));
            (key, Arc::clone(&self.id), found)
        })
    }

    pub(crate) fn chunk(&self, number: usize) -> Option<Chunk> {
        let place = self.place(number)?.clone();
        Some(Chunk {
            id: chunk_id(&self.id, number),
            document: Arc::clone(&self.id),
            source: Arc::clone(&self.source),
            text: self.text(place.bytes.clone()).to_owned(),
            place,
        })
    }
}

/// The text that the indexes see: title and headings before the chunk, so that a section's subject finds it.
pub(crate) fn indexed_text(document: &Document, place: &Place) -> String {
    let text = document.text.get(place.bytes.clone()).unwrap_or_default();
    let title = document.title.as_deref().unwrap_or_default();
    let heading = place.heading.as_ref();
    // A title that is the first heading anyway must not count twice.
    let first = heading.split(HEADING_SEPARATOR).next().unwrap_or_default();
    let title = if first == title { "" } else { title };
    [title, heading, text].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

#[derive(Debug, Default)]
pub(crate) struct Catalog {
    documents: BTreeMap<Arc<str>, Arc<Entry>>,
    chunks: HashMap<u64, (Arc<Entry>, usize)>,
    /// The first key that was never used.
    next: u64,
}

impl Catalog {
    pub(crate) fn len(&self) -> usize {
        self.documents.len()
    }

    pub(crate) fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Arc<Entry>> {
        self.documents.get(id)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.documents.keys()
    }

    pub(crate) fn by_key(&self, key: u64) -> Option<&(Arc<Entry>, usize)> {
        self.chunks.get(&key)
    }

    /// Keys for the chunks of a document, never given before.
    pub(crate) fn reserve(&mut self, chunks: usize) -> u64 {
        let first = self.next;
        self.next += chunks as u64;
        first
    }

    /// Makes a document current and returns the one it replaces.
    pub(crate) fn insert(&mut self, entry: Entry) -> Option<Arc<Entry>> {
        let entry = Arc::new(entry);
        let old = self.remove(entry.id());
        self.next = self.next.max(entry.keys().end);
        self.chunks.extend(entry.keys().zip(0..).map(|(key, number)| (key, (Arc::clone(&entry), number))));
        self.documents.insert(Arc::clone(entry.id()), entry);
        old
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<Arc<Entry>> {
        let old = self.documents.remove(id)?;
        for key in old.keys() {
            self.chunks.remove(&key);
        }
        Some(old)
    }
}
