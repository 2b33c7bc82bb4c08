//! `Graph`: the knowledge graph of a knowledge base, to look at and to tell what documents do not say.

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    model::Model,
    rag::{
        graph::{
            KnowledgeGraph,
            ask::facts_of,
            knowledge::check,
            persist::{StoredFacts, StoredRelation, relation_key, tell},
            relation::Facts,
        },
        knowledge::KnowledgeBase,
        record::facts_key,
    },
    storage::Expect,
    types::Diagnostic,
};

/// The knowledge graph of a [`KnowledgeBase`]; cloning shares it.
///
/// Passages are read by the rules when documents are added, and on opening.
/// Facts and the host's relations are stored: facts until their document changes or goes, relations until they are
/// taken back.
///
/// ```
/// use raptorflow_core::rag::{Document, HashingEmbedder, KnowledgeBase, graph::Walk};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let kb = KnowledgeBase::open("memory:", HashingEmbedder::default()).await?;
/// kb.add([
///     Document::new("bolt", "# Bolt\n\nThe tool is made by Acme Works."),
///     Document::new("acme", "# Acme Works\n\nThe company sits in Pune."),
/// ])
/// .await?;
/// kb.graph().relate("Acme Works", "owns", "Cork Ltd", 1.0).await?;
/// let owned = kb.graph().read(|graph| graph.neighbours("acme works", &Walk::new().kinds(["owns"])))?;
/// assert_eq!(&*owned[0].entity, "Cork Ltd");
/// // The second hit shares no word with the query.
/// let hits = kb.search("Where is Bolt from?").await?;
/// assert_eq!(hits.iter().map(|hit| &*hit.document).collect::<Vec<_>>(), ["bolt", "acme"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Graph {
    kb: KnowledgeBase,
}

/// What [`Graph::ask`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactsReport {
    /// Documents whose facts are new.
    pub told: usize,
    /// Documents that had facts already.
    pub known: usize,
    /// One for each document about which the model did not answer in the right form, with its id as the file.
    pub skipped: Vec<Diagnostic>,
}

impl Graph {
    pub(crate) fn new(kb: KnowledgeBase) -> Self {
        Self { kb }
    }

    /// Looks at the graph as it is now; changes wait for `look` to end.
    ///
    /// # Errors
    /// `Unsupported` when the knowledge base was opened without a graph; so for all methods here.
    pub fn read<T>(&self, look: impl FnOnce(&KnowledgeGraph) -> T) -> Result<T> {
        match self.kb.indexes().graph() {
            Some(graph) => Ok(look(&graph)),
            None => Err(missing("graph.read")),
        }
    }

    /// Stores a relation that the host knows; one that it told before gets the new weight.
    ///
    /// Ranking walks over it as over a mention of its weight; the kind `same_as` says that two names are of one thing.
    ///
    /// # Errors
    /// `InvalidInput` as [`KnowledgeGraph::relate`]; what the storage says.
    pub async fn relate(&self, subject: &str, kind: &str, object: &str, weight: f32) -> Result<()> {
        check(subject, kind, object, weight)?;
        let _turn = self.turn("graph.relate").await?;
        let told =
            StoredRelation { subject: subject.into(), kind: kind.into(), object: object.into(), weight };
        let key = relation_key(self.kb.prefix(), subject, kind, object);
        self.kb.storage().put_json(self.kb.ctx(), &key, &told, Expect::Any).await?;
        self.kb.indexes().change_graph(|graph| graph.relate(subject, kind, object, weight)).transpose()?;
        Ok(())
    }

    /// Takes a relation of the host back and says whether there was one.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn unrelate(&self, subject: &str, kind: &str, object: &str) -> Result<bool> {
        let _turn = self.turn("graph.unrelate").await?;
        let key = relation_key(self.kb.prefix(), subject, kind, object);
        self.kb.storage().delete(self.kb.ctx(), &key, Expect::Any).await?;
        Ok(self.kb.indexes().change_graph(|graph| graph.unrelate(subject, kind, object)).unwrap_or(false))
    }

    /// Stores what a model or the host knows of a document, instead of what was stored before.
    ///
    /// # Errors
    /// `NotFound` when there is no such document; what the storage says.
    pub async fn put_facts(&self, document: &str, facts: Facts) -> Result<()> {
        let _turn = self.turn("graph.put_facts").await?;
        let entry = self.kb.indexes().catalog().get(document).cloned();
        let entry = entry.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "graph.put_facts", "there is no document of this id")
                .with("document", document)
        })?;
        let key = facts_key(self.kb.prefix(), document);
        let told = StoredFacts { document: document.to_owned(), digest: entry.digest, facts };
        self.kb.storage().put_json(self.kb.ctx(), &key, &told, Expect::Any).await?;
        tell(self.kb.indexes(), &entry, &told.facts);
        Ok(())
    }

    /// The stored facts of a document; `None` when there are none of its present form.
    ///
    /// # Errors
    /// What the storage says; `Corrupt` when they cannot be read.
    pub async fn facts(&self, document: &str) -> Result<Option<Facts>> {
        let key = facts_key(self.kb.prefix(), document);
        let stored = self.kb.storage().get_json::<StoredFacts>(self.kb.ctx(), &key).await?;
        let digest = self.kb.indexes().catalog().get(document).map(|entry| entry.digest);
        Ok(stored.filter(|(told, _)| Some(told.digest) == digest).map(|(told, _)| told.facts))
    }

    /// Removes the facts of a document and says whether there were any.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn remove_facts(&self, document: &str) -> Result<bool> {
        let _turn = self.turn("graph.remove_facts").await?;
        let key = facts_key(self.kb.prefix(), document);
        let existed = self.kb.storage().delete(self.kb.ctx(), &key, Expect::Any).await?;
        let entry = self.kb.indexes().catalog().get(document).cloned();
        let keys: Vec<u64> = entry.iter().flat_map(|entry| entry.keys()).collect();
        self.kb.indexes().change_graph(|graph| graph.remove_facts(document, &keys));
        Ok(existed)
    }

    /// Asks a model for the facts of every document that has none, and stores them one document at a time.
    ///
    /// A document that is longer than about 8,000 bytes is asked about in parts.
    /// An answer that does not have the form is asked for once more, with what is wrong; then the document is skipped.
    /// The model reads the documents: bound what it may cost with a budget layer.
    ///
    /// # Errors
    /// What the model and the storage say; `Cancelled` and `Timeout` by the context.
    ///
    /// # Cancellation
    /// What is stored stays; asking again goes on with the documents that have none.
    pub async fn ask(&self, model: &Model) -> Result<FactsReport> {
        self.read(|_| ())?;
        let mut report = FactsReport::default();
        for id in self.kb.ids() {
            if self.read(|graph| graph.has_facts(&id))? {
                report.known += 1;
                continue;
            }
            let Some(document) = self.kb.get(&id) else { continue };
            let work = facts_of(self.kb.ctx(), model, &document);
            match self.kb.ctx().bound("graph.ask", work).await?? {
                Ok(facts) => {
                    self.put_facts(&id, facts).await?;
                    report.told += 1;
                }
                Err(problem) => report.skipped.push(problem.in_file(id.as_ref())),
            }
        }
        Ok(report)
    }

    async fn turn(&self, operation: &'static str) -> Result<tokio::sync::SemaphorePermit<'_>> {
        if self.kb.indexes().graph().is_none() {
            return Err(missing(operation));
        }
        self.kb.turn(operation).await
    }
}

fn missing(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, operation, "the knowledge base was opened without a graph")
}
