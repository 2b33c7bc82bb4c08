//! `KnowledgeGraph`: entities, their relations over petgraph, and the passages that mention them.

use std::{
    collections::{HashMap, hash_map},
    sync::Arc,
};

use petgraph::{
    Direction,
    stable_graph::{EdgeIndex, NodeIndex, StableDiGraph},
    visit::EdgeRef as _,
};

use crate::{
    error::{Error, ErrorKind, Result},
    rag::graph::{
        extract::{Extracted, SAME_AS, extract},
        name::{canonical, is_name},
        part::{At, Edge, Evidence, Mention, Node, Row, Stored, TITLE_WEIGHT, Told},
        rank::Boards,
        relation::{Entity, Facts, Relation, Source, Triple},
    },
};

/// How freely the walk crosses between two names of one thing.
const SAME_WEIGHT: f32 = TITLE_WEIGHT;

/// Entities, typed, weighted, directed and sourced relations between them, and the passages that mention them.
///
/// An entity is named by its canonical name: its words without case, so that `Time-Sharing` and `time sharing` are one.
/// Whatever a passage, a document's facts or the host put in goes when they are removed, and an entity that nothing
/// mentions or relates any more goes with it: a graph after an insertion and its removal equals one without either.
/// Two names of one thing stay two entities with the relation `same_as`, which ranking crosses; so nothing that was
/// merged has to be taken apart again.
///
/// ```
/// use raptorflow_core::rag::graph::{KnowledgeGraph, Passage, Walk};
/// let mut graph = KnowledgeGraph::new();
/// let text = "The prize went to Marie Curie in 1903.";
/// graph.put(&Passage { key: 1, document: "n".into(), title: Some("Nobel Prize"), headings: &[], text });
/// graph.relate("Marie Curie", "born_in", "Warsaw", 1.0)?;
/// let paths = graph.paths("Nobel Prize", "Warsaw", &Walk::new().hops(2));
/// assert_eq!(paths[0].entities(), ["Nobel Prize", "Marie Curie", "Warsaw"]);
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct KnowledgeGraph {
    pub(super) relations: StableDiGraph<Node, Edge>,
    pub(super) keys: HashMap<Box<str>, NodeIndex>,
    /// By node: what ranking reads, apart from the names, because it reads it for every step.
    pub(super) rows: Vec<Row>,
    /// By slot; `None` when removed.
    pub(super) passages: Vec<Option<Stored>>,
    pub(super) slots: HashMap<u64, u32>,
    free: Vec<u32>,
    /// By document: the relations of its facts.
    facts: HashMap<Arc<str>, Vec<Told>>,
    pub(super) boards: Boards,
}

/// A passage as the graph reads it.
#[derive(Clone, Debug)]
pub struct Passage<'a> {
    /// What names it; putting another passage of this key replaces it.
    pub key: u64,
    /// The document it is from, for the provenance of what it says.
    pub document: Arc<str>,
    /// What its document is called.
    pub title: Option<&'a str>,
    /// The headings above it, outermost first; the first is the title where there is none.
    pub headings: &'a [&'a str],
    /// Its text.
    pub text: &'a str,
}

impl KnowledgeGraph {
    /// A graph without anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many entities it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.relations.node_count()
    }

    /// Whether it has no entity.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many passages it has read.
    #[must_use]
    pub fn passage_count(&self) -> usize {
        self.slots.len()
    }

    /// How many relations it has, not counting which passage mentions what.
    #[must_use]
    pub fn relation_count(&self) -> usize {
        self.relations.edge_count()
    }

    /// An entity by any spelling of its name; `None` when there is none.
    #[must_use]
    pub fn entity(&self, name: &str) -> Option<Entity> {
        self.describe(self.find(name)?)
    }

    /// All entities, by their canonical names.
    #[must_use]
    pub fn entities(&self) -> Vec<Entity> {
        let mut keys: Vec<_> = self.keys.iter().collect();
        keys.sort_unstable();
        keys.into_iter().filter_map(|(_, node)| self.describe(*node)).collect()
    }

    /// All relations, by subject, kind and object; which passage mentions what is not among them.
    #[must_use]
    pub fn relations(&self) -> Vec<Relation> {
        let mut all: Vec<Relation> =
            self.relations.edge_indices().filter_map(|edge| self.relation(edge)).collect();
        all.sort_by(|a, b| (&a.subject, &a.kind, &a.object).cmp(&(&b.subject, &b.kind, &b.object)));
        all
    }

    /// Reads a passage by the rules; one of the same key is replaced, and loses what facts said about it.
    pub fn put(&mut self, passage: &Passage<'_>) {
        let found = extract(passage.title, passage.headings, passage.text);
        self.insert(passage.key, &passage.document, &found);
    }

    /// Puts what was read from a passage, so that reading can happen before a lock is taken.
    pub(crate) fn insert(&mut self, key: u64, document: &Arc<str>, found: &Extracted) {
        self.remove(key);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.passages.push(None);
            // A passage takes far more than 4 bytes, so memory ends before slots do.
            u32::try_from(self.passages.len() - 1).unwrap_or(u32::MAX)
        });
        let mut stored =
            Stored { key, document: Arc::clone(document), mentions: Vec::new(), told: Vec::new() };
        for title in &found.titles {
            self.mention(slot, &mut stored.mentions, title, true, false);
        }
        for name in &found.names {
            self.mention(slot, &mut stored.mentions, name, false, false);
        }
        for (subject, kind, object) in &found.relations {
            let source = Source::Passage { key, document: Arc::clone(document) };
            stored.told.extend(self.tell(subject, kind, object, source, 1.0));
        }
        if let Some(place) = self.passages.get_mut(slot as usize) {
            *place = Some(stored);
        }
        self.slots.insert(key, slot);
    }

    /// Removes a passage with everything that only it said; says whether there was one.
    pub fn remove(&mut self, key: u64) -> bool {
        let Some(slot) = self.slots.remove(&key) else { return false };
        self.free.push(slot);
        let Some(stored) = self.passages.get_mut(slot as usize).and_then(Option::take) else { return false };
        for told in stored.told {
            let said =
                |source: &Source| matches!(source, Source::Passage { key: other, .. } if *other == key);
            self.untell(told, said);
        }
        for mention in stored.mentions {
            self.forget(slot, mention);
        }
        true
    }

    /// Adds a relation that the host knows; one that it told before gets the new weight.
    ///
    /// # Errors
    /// `InvalidInput` when a name has no word, the kind is empty, or the weight is not above 0 and finite.
    pub fn relate(&mut self, subject: &str, kind: &str, object: &str, weight: f32) -> Result<()> {
        check(subject, kind, object, weight)?;
        self.unrelate(subject, kind, object);
        self.tell(subject, kind, object, Source::Host, weight);
        Ok(())
    }

    /// Takes back what the host told; what passages and models say stays. Says whether there was such a relation.
    pub fn unrelate(&mut self, subject: &str, kind: &str, object: &str) -> bool {
        let (Some(from), Some(to)) = (self.find(subject), self.find(object)) else { return false };
        let Some(edge) = self.edge(from, to, kind) else { return false };
        let evidence =
            self.relations.edge_weight(edge).map(|edge| edge.evidence.as_slice()).unwrap_or_default();
        let Some(told) = evidence.iter().find(|evidence| evidence.source == Source::Host) else {
            return false;
        };
        let surfaces = told.surfaces;
        self.untell(Told { edge, surfaces }, |source| *source == Source::Host);
        true
    }

    /// Puts what a model or the host knows of a document, instead of what was put before.
    ///
    /// Every triple becomes a relation.
    /// Its entities that read as names, or without entities the ends of its triples, are mentioned by the passages that
    /// hold them, or by the first where none does.
    /// Passages that the graph does not have are skipped; replacing a passage drops what facts said about it.
    pub fn put_facts(&mut self, document: &Arc<str>, facts: &Facts, passages: &[(u64, &str)]) {
        self.remove_facts(document, &passages.iter().map(|(key, _)| *key).collect::<Vec<_>>());
        let mut told = Vec::new();
        for triple in &facts.triples {
            let source = Source::Model { document: Arc::clone(document) };
            let Triple { subject, relation, object } = triple;
            if check(subject, relation, object, 1.0).is_ok() {
                told.extend(self.tell(subject, relation, object, source, 1.0));
            }
        }
        self.facts.insert(Arc::clone(document), told);
        let texts: Vec<(u64, String)> =
            passages.iter().map(|(key, text)| (*key, format!(" {} ", canonical(text)))).collect();
        let ends = || facts.triples.iter().flat_map(|triple| [&triple.subject, &triple.object]);
        // The ends of triples are often phrases; a list of names is better where there is one.
        let names: Vec<&String> =
            if facts.entities.is_empty() { ends().collect() } else { facts.entities.iter().collect() };
        for name in names.into_iter().filter(|name| is_name(name)) {
            let words = format!(" {} ", canonical(name));
            let mut holders: Vec<u64> =
                texts.iter().filter(|(_, text)| text.contains(&words)).map(|(key, _)| *key).collect();
            if holders.is_empty() {
                holders.extend(texts.first().map(|(key, _)| *key));
            }
            for key in holders {
                let Some(slot) = self.slots.get(&key).copied() else { continue };
                let Some(mut stored) = self.passages.get_mut(slot as usize).and_then(Option::take) else {
                    continue;
                };
                self.mention(slot, &mut stored.mentions, name, false, true);
                if let Some(place) = self.passages.get_mut(slot as usize) {
                    *place = Some(stored);
                }
            }
        }
    }

    /// Removes what [`KnowledgeGraph::put_facts`] said of a document and of its passages.
    pub fn remove_facts(&mut self, document: &str, passages: &[u64]) {
        for told in self.facts.remove(document).unwrap_or_default() {
            let said =
                |source: &Source| matches!(source, Source::Model { document: other } if **other == *document);
            self.untell(told, said);
        }
        for key in passages {
            let Some(slot) = self.slots.get(key).copied() else { continue };
            let Some(stored) = self.passages.get_mut(slot as usize).and_then(Option::as_mut) else {
                continue;
            };
            let gone: Vec<Mention> = stored.mentions.extract_if(.., |mention| mention.model).collect();
            for mention in gone {
                self.forget(slot, mention);
            }
        }
    }

    /// Whether it has facts of a document.
    pub(crate) fn has_facts(&self, document: &str) -> bool {
        self.facts.contains_key(document)
    }

    pub(super) fn find(&self, name: &str) -> Option<NodeIndex> {
        self.keys.get(canonical(name).as_str()).copied()
    }

    pub(super) fn name(&self, node: NodeIndex) -> Arc<str> {
        Arc::from(self.relations.node_weight(node).map_or("", Node::name))
    }

    pub(super) fn row(&self, node: u32) -> Option<&Row> {
        self.rows.get(node as usize)
    }

    pub(super) fn passage(&self, slot: u32) -> Option<&Stored> {
        self.passages.get(slot as usize).and_then(Option::as_ref)
    }

    pub(super) fn relation(&self, edge: EdgeIndex) -> Option<Relation> {
        let (from, to) = self.relations.edge_endpoints(edge)?;
        let edge = self.relations.edge_weight(edge)?;
        let mut sources: Vec<Source> = edge.evidence.iter().map(|evidence| evidence.source.clone()).collect();
        sources.sort();
        let (subject, object) = (self.name(from), self.name(to));
        Some(Relation { subject, kind: Arc::clone(&edge.kind), object, weight: edge.weight(), sources })
    }

    fn describe(&self, node: NodeIndex) -> Option<Entity> {
        let row = self.row(index(node))?;
        let mut passages: Vec<(u64, bool)> =
            row.passages.iter().filter_map(|at| Some((self.passage(at.slot)?.key, at.title))).collect();
        passages.sort_unstable();
        let titled = passages.iter().filter(|(_, title)| *title).map(|(key, _)| *key).collect();
        let mentioned = passages.iter().filter(|(_, title)| !title).map(|(key, _)| *key).collect();
        Some(Entity { name: self.name(node), titled, mentioned })
    }

    /// The node of a name, made where there is none, and the place of this spelling.
    fn node(&mut self, name: &str) -> Option<(NodeIndex, u32)> {
        let key = canonical(name);
        if key.is_empty() {
            return None;
        }
        let node = match self.keys.entry(key.into_boxed_str()) {
            hash_map::Entry::Occupied(known) => *known.get(),
            hash_map::Entry::Vacant(new) => {
                let node = self.relations.add_node(Node { key: new.key().clone(), surfaces: Vec::new() });
                if self.rows.len() <= node.index() {
                    self.rows.resize_with(node.index() + 1, Row::default);
                }
                *new.insert(node)
            }
        };
        Some((node, self.relations.node_weight_mut(node)?.write(name)))
    }

    /// Notes that a passage mentions a name; a passage counts once for an entity, as its title if it is that.
    fn mention(&mut self, slot: u32, mentions: &mut Vec<Mention>, name: &str, title: bool, model: bool) {
        let Some((node, surface)) = self.node(name) else { return };
        // Reading a passage, whatever it mentioned so far is the last of its entity; this saves a scan for each name.
        let last = self.rows.get(node.index()).and_then(|row| row.passages.last());
        let known = last.is_some_and(|at| at.slot == slot)
            || (model && mentions.iter().any(|mention| mention.node == index(node)));
        if known {
            if let Some(node) = self.relations.node_weight_mut(node) {
                node.erase(surface);
            }
            return;
        }
        mentions.push(Mention { node: index(node), surface, title, model });
        if let Some(row) = self.rows.get_mut(node.index()) {
            row.passages.push(At { slot, title });
            row.titles += u32::from(title);
        }
    }

    fn forget(&mut self, slot: u32, mention: Mention) {
        if let Some(row) = self.rows.get_mut(mention.node as usize) {
            if let Some(at) = row.passages.iter().position(|at| at.slot == slot) {
                row.passages.swap_remove(at);
            }
            row.titles -= u32::from(mention.title);
        }
        self.release(NodeIndex::new(mention.node as usize), mention.surface);
    }

    fn edge(&self, from: NodeIndex, to: NodeIndex, kind: &str) -> Option<EdgeIndex> {
        let mut edges = self.relations.edges_connecting(from, to);
        edges.find(|edge| *edge.weight().kind == *kind).map(|edge| edge.id())
    }

    fn tell(&mut self, subject: &str, kind: &str, object: &str, source: Source, weight: f32) -> Option<Told> {
        let (from, one) = self.node(subject)?;
        let Some((to, two)) = self.node(object) else {
            self.release(from, one);
            return None;
        };
        let edge = self.edge(from, to, kind).unwrap_or_else(|| {
            self.relations.add_edge(from, to, Edge { kind: Arc::from(kind), evidence: Vec::new() })
        });
        let surfaces = (one, two);
        self.relations.edge_weight_mut(edge)?.evidence.push(Evidence { source, weight, surfaces });
        self.refresh(from);
        self.refresh(to);
        Some(Told { edge, surfaces })
    }

    /// Takes back one piece of evidence that `said` names; a relation without evidence goes.
    fn untell(&mut self, told: Told, said: impl Fn(&Source) -> bool) {
        let Some((from, to)) = self.relations.edge_endpoints(told.edge) else { return };
        if let Some(edge) = self.relations.edge_weight_mut(told.edge) {
            let same = |evidence: &Evidence| said(&evidence.source) && evidence.surfaces == told.surfaces;
            if let Some(place) = edge.evidence.iter().position(same) {
                edge.evidence.remove(place);
            }
            if edge.evidence.is_empty() {
                self.relations.remove_edge(told.edge);
            }
        }
        self.refresh(from);
        self.refresh(to);
        self.release(from, told.surfaces.0);
        self.release(to, told.surfaces.1);
    }

    /// Gives a spelling back and removes the entity when nothing mentions or relates it.
    fn release(&mut self, node: NodeIndex, surface: u32) {
        if let Some(node) = self.relations.node_weight_mut(node) {
            node.erase(surface);
        }
        let unused = self.rows.get(node.index()).is_none_or(|row| row.passages.is_empty())
            && self.relations.neighbors_undirected(node).next().is_none();
        if unused && let Some(gone) = self.relations.remove_node(node) {
            self.keys.remove(&gone.key);
        }
    }

    /// Writes anew what ranking reaches from an entity without a passage.
    ///
    /// That is other names of it, and what the host related: it knows what belongs together.
    /// Relations by a model or by definitions lead to phrases that many things share, so the walk would go astray.
    fn refresh(&mut self, node: NodeIndex) {
        let mut beside = Vec::new();
        for direction in [Direction::Outgoing, Direction::Incoming] {
            for edge in self.relations.edges_directed(node, direction) {
                let other = if direction == Direction::Outgoing { edge.target() } else { edge.source() };
                let host = edge.weight().evidence.iter().filter(|evidence| evidence.source == Source::Host);
                let host: f32 = host.map(|evidence| evidence.weight).sum();
                let weight = if *edge.weight().kind == *SAME_AS { SAME_WEIGHT } else { host };
                if weight > 0.0 && other != node {
                    beside.push((index(other), weight));
                }
            }
        }
        if let Some(row) = self.rows.get_mut(node.index()) {
            row.beside = beside;
        }
    }
}

/// The number of a node; petgraph's indices have 32 bits.
pub(super) fn index(node: NodeIndex) -> u32 {
    u32::try_from(node.index()).unwrap_or(u32::MAX)
}

pub(super) fn check(subject: &str, kind: &str, object: &str, weight: f32) -> Result<()> {
    let bad = |field: &'static str, message: &'static str| {
        Err(Error::new(ErrorKind::InvalidInput, "graph.relate", message).with("field", field))
    };
    if canonical(subject).is_empty() {
        return bad("subject", "expected a name with at least one word");
    }
    if canonical(object).is_empty() {
        return bad("object", "expected a name with at least one word");
    }
    if kind.trim().is_empty() {
        return bad("kind", "expected the kind of the relation");
    }
    if !(weight.is_finite() && weight > 0.0) {
        return bad("weight", "expected a weight above 0");
    }
    Ok(())
}
