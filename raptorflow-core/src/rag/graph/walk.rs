//! `Walk` and `Path`: neighbours and paths over relations that honour direction and kind.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use petgraph::{Direction, stable_graph::NodeIndex, visit::EdgeRef as _};
use serde::{Deserialize, Serialize};

use crate::rag::graph::{
    knowledge::{KnowledgeGraph, index},
    relation::{Relation, Source},
};

/// The relation from what a passage is about to what it mentions; made when asked, not stored.
pub const MENTIONS: &str = "mentions";
/// How many partial paths are looked at before a search gives up: dense graphs have more than can be listed.
const MAX_STEPS: usize = 20_000;

/// Which relations to follow, in which direction and how far.
///
/// ```
/// use raptorflow_core::rag::graph::{KnowledgeGraph, Walk};
/// let mut graph = KnowledgeGraph::new();
/// graph.relate("Acme", "owns", "Bolt", 1.0)?;
/// assert_eq!(graph.neighbours("acme", &Walk::new().kinds(["owns"])).len(), 1);
/// assert!(graph.neighbours("Bolt", &Walk::new()).is_empty());
/// assert_eq!(&*graph.neighbours("Bolt", &Walk::new().either()) [0].entity, "Acme");
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a walk does nothing by itself"]
pub struct Walk {
    kinds: Option<BTreeSet<String>>,
    outgoing: bool,
    incoming: bool,
    hops: usize,
    limit: usize,
}

impl Default for Walk {
    fn default() -> Self {
        Self { kinds: None, outgoing: true, incoming: false, hops: 1, limit: 100 }
    }
}

/// An entity that a walk reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Neighbour {
    /// How it is usually written.
    pub entity: Arc<str>,
    /// How many relations lie between, at least 1.
    pub distance: usize,
    /// The last of them, in its own direction.
    pub via: Relation,
}

/// Relations in a row from one entity to another, each in its own direction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Path {
    /// Where it begins.
    pub from: Arc<str>,
    /// The relations in order.
    pub steps: Vec<Relation>,
}

impl Path {
    /// The entities along it, both ends included.
    #[must_use]
    pub fn entities(&self) -> Vec<&str> {
        let mut at: &str = &self.from;
        let mut names = vec![at];
        for step in &self.steps {
            at = if *step.subject == *at { &step.object } else { &step.subject };
            names.push(at);
        }
        names
    }
}

impl Walk {
    /// Every kind, outgoing relations, one hop, at most 100 results.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only relations of these kinds; every kind by default.
    pub fn kinds<K: Into<String>>(mut self, kinds: impl IntoIterator<Item = K>) -> Self {
        self.kinds = Some(kinds.into_iter().map(Into::into).collect());
        self
    }

    /// Against the direction of relations.
    pub fn incoming(mut self) -> Self {
        (self.outgoing, self.incoming) = (false, true);
        self
    }

    /// In both directions.
    pub fn either(mut self) -> Self {
        (self.outgoing, self.incoming) = (true, true);
        self
    }

    /// At most this many relations in a row; 1 by default.
    pub fn hops(mut self, hops: usize) -> Self {
        self.hops = hops;
        self
    }

    /// At most this many results; 100 by default.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    fn follows(&self, kind: &str) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(kind))
    }
}

/// A step before names are looked up.
type Step = (NodeIndex, Relation);

impl KnowledgeGraph {
    /// The entities around one, nearest first, then by weight and name; none when the name is unknown.
    #[must_use]
    pub fn neighbours(&self, name: &str, walk: &Walk) -> Vec<Neighbour> {
        let Some(start) = self.find(name) else { return Vec::new() };
        let (mut seen, mut ring, mut found) = (HashSet::from([start]), vec![start], Vec::new());
        for distance in 1..=walk.hops {
            let mut next = Vec::new();
            let mut near = Vec::new();
            for node in ring {
                for (other, via) in self.steps(node, walk) {
                    if seen.insert(other) {
                        near.push(Neighbour { entity: self.name(other), distance, via });
                        next.push(other);
                    }
                }
            }
            near.sort_by(|a, b| b.via.weight.total_cmp(&a.via.weight).then_with(|| a.entity.cmp(&b.entity)));
            found.append(&mut near);
            if next.is_empty() || found.len() >= walk.limit {
                break;
            }
            ring = next;
        }
        found.truncate(walk.limit);
        found
    }

    /// Paths from one entity to another without repetitions, the shortest first; none when a name is unknown.
    ///
    /// In a dense graph the search ends after 20,000 partial paths, with what it found by then.
    #[must_use]
    pub fn paths(&self, from: &str, to: &str, walk: &Walk) -> Vec<Path> {
        let (Some(start), Some(goal)) = (self.find(from), self.find(to)) else { return Vec::new() };
        let (mut ring, mut found, mut steps) = (vec![(vec![start], Vec::new())], Vec::new(), 0);
        for _ in 0..walk.hops {
            let mut next = Vec::new();
            for (nodes, relations) in ring {
                let Some(last) = nodes.last() else { continue };
                for (other, via) in self.steps(*last, walk) {
                    steps += 1;
                    if steps > MAX_STEPS || found.len() >= walk.limit {
                        return found;
                    }
                    if nodes.contains(&other) {
                        continue;
                    }
                    let relations: Vec<Relation> = relations.iter().cloned().chain([via]).collect();
                    if other == goal {
                        found.push(Path { from: self.name(start), steps: relations });
                    } else {
                        next.push((nodes.iter().copied().chain([other]).collect(), relations));
                    }
                }
            }
            ring = next;
        }
        found
    }

    /// One step along every relation that the walk follows, by the name of the end and the kind.
    fn steps(&self, node: NodeIndex, walk: &Walk) -> Vec<Step> {
        let mut steps = Vec::new();
        for (direction, wanted) in
            [(Direction::Outgoing, walk.outgoing), (Direction::Incoming, walk.incoming)]
        {
            if !wanted {
                continue;
            }
            for edge in self.relations.edges_directed(node, direction) {
                let other = if direction == Direction::Outgoing { edge.target() } else { edge.source() };
                if walk.follows(&edge.weight().kind) {
                    steps.extend(self.relation(edge.id()).map(|relation| (other, relation)));
                }
            }
            if walk.follows(MENTIONS) {
                self.mentions(node, direction, &mut steps);
            }
        }
        let order =
            |(_, via): &Step| (Arc::clone(&via.subject), Arc::clone(&via.object), Arc::clone(&via.kind));
        steps.sort_by_cached_key(order);
        steps
    }

    /// What passages about this entity mention, or what the passages that mention it are about.
    fn mentions(&self, node: NodeIndex, direction: Direction, steps: &mut Vec<Step>) {
        let Some(row) = self.row(index(node)) else { return };
        let outgoing = direction == Direction::Outgoing;
        let mut others: BTreeMap<u32, Vec<Source>> = BTreeMap::new();
        for passage in
            row.passages.iter().filter(|at| at.title == outgoing).filter_map(|at| self.passage(at.slot))
        {
            for mention in passage.mentions.iter().filter(|mention| mention.title != outgoing) {
                let source = Source::Passage { key: passage.key, document: Arc::clone(&passage.document) };
                others.entry(mention.node).or_default().push(source);
            }
        }
        let this = self.name(node);
        for (other, mut sources) in others {
            let other = NodeIndex::new(other as usize);
            let ends = (Arc::clone(&this), self.name(other));
            let (subject, object) = if outgoing { ends } else { (ends.1, ends.0) };
            sources.sort();
            let weight = sources.len() as f32;
            steps.push((other, Relation { subject, kind: Arc::from(MENTIONS), object, weight, sources }));
        }
    }
}
