//! `Community`: groups of entities and passages that have more to do with each other than with the rest.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use petgraph::visit::{EdgeRef as _, IntoEdgeReferences as _};
use serde::{Deserialize, Serialize};

use crate::rag::graph::{
    knowledge::{KnowledgeGraph, index},
    part::TITLE_WEIGHT,
};

/// How often a level goes through all places before it takes what it has; far more than levels need.
const MAX_ROUNDS: usize = 32;

/// A group of entities and of the passages that mention them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Community {
    /// Its entities, the one in most passages first, then by name.
    pub entities: Vec<Arc<str>>,
    /// Keys of its passages, in order.
    pub passages: Vec<u64>,
}

/// A community before it is put in order: entities with how many passages mention them, and keys of passages.
#[derive(Debug, Default)]
struct Group {
    entities: Vec<(usize, Arc<str>)>,
    passages: Vec<u64>,
}

/// By place: the other places and the weight between.
type Links = Vec<Vec<(usize, f64)>>;

impl KnowledgeGraph {
    /// Groups by the Louvain method, each connected, the largest first; the same content gives the same groups.
    ///
    /// Entities that connect nothing, and those in more than a tenth of all passages, belong to none; so do passages
    /// that mention no other.
    /// It reads the whole graph, so its time grows with the graph.
    #[must_use]
    pub fn communities(&self) -> Vec<Community> {
        // In the order of names and keys, so that what came first does not matter.
        let mut entities: Vec<_> = self.keys.iter().map(|(key, node)| (key, *node)).collect();
        entities.sort_unstable();
        entities.retain(|(_, node)| {
            let related = self.relations.neighbors_undirected(*node).next().is_some();
            self.row(index(*node)).is_some_and(|row| self.keeps(row) || (related && row.passages.len() <= 1))
        });
        let mut slots: Vec<(u64, u32)> = self.slots.iter().map(|(key, slot)| (*key, *slot)).collect();
        slots.sort_unstable();
        let entity_places: HashMap<u32, usize> =
            entities.iter().enumerate().map(|(place, (_, node))| (index(*node), place)).collect();
        let mut links: Links = vec![Vec::new(); entities.len() + slots.len()];
        for (place, (_, slot)) in (entities.len()..).zip(&slots) {
            for mention in self.passage(*slot).map(|passage| passage.mentions.as_slice()).unwrap_or_default()
            {
                if let Some(other) = entity_places.get(&mention.node) {
                    connect(
                        &mut links,
                        place,
                        *other,
                        if mention.title { f64::from(TITLE_WEIGHT) } else { 1.0 },
                    );
                }
            }
        }
        for edge in self.relations.edge_references() {
            let ends = (entity_places.get(&index(edge.source())), entity_places.get(&index(edge.target())));
            if let (Some(one), Some(two)) = ends {
                connect(&mut links, *one, *two, f64::from(edge.weight().weight()));
            }
        }
        // Neighbours in order, because sums of floats depend on it.
        links.iter_mut().for_each(|list| list.sort_by_key(|(other, _)| *other));
        let labels = connected(&links, &louvain(links.clone()));
        let mut groups: BTreeMap<usize, Group> = BTreeMap::new();
        for ((_, node), label) in entities.iter().zip(&labels) {
            let count = self.row(index(*node)).map_or(0, |row| row.passages.len());
            groups.entry(*label).or_default().entities.push((count, self.name(*node)));
        }
        for ((key, _), label) in slots.iter().zip(labels.iter().skip(entities.len())) {
            groups.entry(*label).or_default().passages.push(*key);
        }
        let mut communities: Vec<Community> = groups
            .into_values()
            .filter(|group| group.entities.len() + group.passages.len() > 1)
            .map(|Group { mut entities, passages }| {
                entities.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
                Community { entities: entities.into_iter().map(|(_, name)| name).collect(), passages }
            })
            .collect();
        let size = |community: &Community| community.entities.len() + community.passages.len();
        communities.sort_by(|a, b| {
            size(b).cmp(&size(a)).then_with(|| (&a.entities, &a.passages).cmp(&(&b.entities, &b.passages)))
        });
        communities
    }
}

fn connect(links: &mut Links, one: usize, two: usize, weight: f64) {
    if one == two {
        return;
    }
    for (from, to) in [(one, two), (two, one)] {
        if let Some(list) = links.get_mut(from) {
            list.push((to, weight));
        }
    }
}

/// Labels of places by the Louvain method.
fn louvain(mut links: Links) -> Vec<usize> {
    let mut labels: Vec<usize> = (0..links.len()).collect();
    // What a place of a later level has inside; it counts for its degree.
    let mut inside = vec![0.0; links.len()];
    loop {
        let groups = settle(&links, &inside);
        let mut numbers: HashMap<usize, usize> = HashMap::new();
        let groups: Vec<usize> = groups
            .into_iter()
            .map(|group| {
                let next = numbers.len();
                *numbers.entry(group).or_insert(next)
            })
            .collect();
        for label in &mut labels {
            *label = groups.get(*label).copied().unwrap_or(*label);
        }
        if numbers.len() == links.len() {
            return labels;
        }
        let mut sums: Vec<BTreeMap<usize, f64>> = vec![BTreeMap::new(); numbers.len()];
        let mut within = vec![0.0; numbers.len()];
        for ((list, group), own) in links.iter().zip(&groups).zip(&inside) {
            let (Some(sums), Some(within)) = (sums.get_mut(*group), within.get_mut(*group)) else { continue };
            *within += own;
            for (other, weight) in list {
                match groups.get(*other) {
                    Some(to) if to == group => *within += weight,
                    Some(to) => *sums.entry(*to).or_default() += weight,
                    None => {}
                }
            }
        }
        links = sums.into_iter().map(|list| list.into_iter().collect()).collect();
        inside = within;
    }
}

/// One level: moves places to the group beside them that gains most modularity, until none moves.
fn settle(links: &Links, inside: &[f64]) -> Vec<usize> {
    let degree: Vec<f64> = links
        .iter()
        .zip(inside)
        .map(|(list, own)| own + list.iter().map(|(_, weight)| weight).sum::<f64>())
        .collect();
    let total: f64 = degree.iter().sum();
    let mut group: Vec<usize> = (0..links.len()).collect();
    let mut sums = degree.clone();
    let mut moved = total > 0.0;
    for _ in 0..MAX_ROUNDS {
        if !std::mem::take(&mut moved) {
            break;
        }
        for (place, (list, own)) in links.iter().zip(&degree).enumerate() {
            let Some(old) = group.get(place).copied() else { continue };
            let mut toward: BTreeMap<usize, f64> = BTreeMap::from([(old, 0.0)]);
            for (other, weight) in list {
                if let Some(group) = group.get(*other) {
                    *toward.entry(*group).or_default() += weight;
                }
            }
            if let Some(sum) = sums.get_mut(old) {
                *sum -= own;
            }
            let gain =
                |(to, weight): (&usize, &f64)| weight - own * sums.get(*to).copied().unwrap_or(0.0) / total;
            let stay = toward.get_key_value(&old).map_or(f64::NEG_INFINITY, gain);
            let (mut best, mut highest) = (old, stay);
            for candidate in &toward {
                // A gain that is only rounding would let places change sides for ever.
                if gain(candidate) > highest + 1e-12 * total {
                    (best, highest) = (*candidate.0, gain(candidate));
                }
            }
            if let Some(sum) = sums.get_mut(best) {
                *sum += own;
            }
            if best != old {
                moved = true;
                if let Some(group) = group.get_mut(place) {
                    *group = best;
                }
            }
        }
    }
    group
}

/// The same groups, each cut into its connected parts: the method can leave one in pieces.
fn connected(links: &Links, labels: &[usize]) -> Vec<usize> {
    let mut parts: Vec<Option<usize>> = vec![None; links.len()];
    let mut next = 0;
    for start in 0..links.len() {
        if parts.get(start).copied().flatten().is_some() {
            continue;
        }
        let mut waiting = vec![start];
        while let Some(place) = waiting.pop() {
            let Some(part) = parts.get_mut(place).filter(|part| part.is_none()) else { continue };
            *part = Some(next);
            let near = links.get(place).map(Vec::as_slice).unwrap_or_default();
            waiting.extend(
                near.iter().map(|(other, _)| *other).filter(|other| labels.get(*other) == labels.get(place)),
            );
        }
        next += 1;
    }
    parts.into_iter().map(|part| part.unwrap_or(next)).collect()
}
