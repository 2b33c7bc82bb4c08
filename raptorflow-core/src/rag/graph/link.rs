//! Entities that a query names, and how much of the query they are.

use std::sync::Arc;

use petgraph::stable_graph::NodeIndex;

use crate::rag::graph::{
    extract::LONGEST_NAME,
    knowledge::{KnowledgeGraph, index},
    name::{fold, is_small, is_stop_word, words},
    part::Row,
};

/// Entities in more passages than this share connect everything with everything.
const COMMON: f32 = 0.1;
/// A query's entity may stand in this share of passages, or in `FEW` where that is more.
const RARE: f32 = 0.01;
const FEW: usize = 8;
/// A single word that no passage is about names something only where it stands in no more passages than this.
const FEW_OF_ONE_WORD: usize = 4;

/// The entities that a query names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Linked {
    /// As they are usually written, in order of the query.
    pub entities: Vec<Arc<str>>,
    /// The share of the query's content words that stand in these names, 0 to 1.
    pub coverage: f32,
}

/// The same with nodes in place of names.
#[derive(Clone, Debug, Default)]
pub(super) struct Links {
    pub(super) nodes: Vec<NodeIndex>,
    pub(super) coverage: f32,
    /// How many words the query has.
    pub(super) words: usize,
}

impl KnowledgeGraph {
    /// The entities that a query names: the longest known names, of whose words at least half do not begin small.
    ///
    /// Left out are entities that one passage mentions and none is about, that stand in more than 1 % of all passages
    /// (or more than 8, where that is more), and a single word that no passage is about when it is the first of the query
    /// or stands in more than 4 passages.
    #[must_use]
    pub fn link(&self, query: &str) -> Linked {
        let links = self.links(query);
        Linked {
            entities: links.nodes.iter().map(|node| self.name(*node)).collect(),
            coverage: links.coverage,
        }
    }

    pub(super) fn links(&self, query: &str) -> Links {
        let words: Vec<(String, bool, bool)> = words(query)
            .map(|(_, word)| {
                let folded = fold(word);
                let stop = is_stop_word(&folded);
                (folded, is_small(word), stop)
            })
            .collect();
        let content = |part: &[(String, bool, bool)]| part.iter().filter(|(_, _, stop)| !stop).count();
        let (mut links, mut covered) = (Links { words: words.len(), ..Links::default() }, 0);
        let mut rest = words.as_slice();
        while !rest.is_empty() {
            let first = rest.len() == words.len();
            let longest = (1..=LONGEST_NAME.min(rest.len())).rev().find_map(|length| {
                let part = rest.get(..length)?;
                let node = self.named(part, first)?;
                Some((part, node))
            });
            let taken = longest.map_or(1, |(part, node)| {
                links.nodes.push(node);
                covered += content(part);
                part.len()
            });
            rest = rest.get(taken..).unwrap_or_default();
        }
        links.nodes.dedup();
        links.coverage = covered as f32 / content(&words).max(1) as f32;
        links
    }

    fn named(&self, part: &[(String, bool, bool)], first: bool) -> Option<NodeIndex> {
        let small = part.iter().filter(|(_, small, _)| *small).count();
        if small * 2 > part.len() || part.iter().all(|(_, _, stop)| *stop) {
            return None;
        }
        let key = part.iter().map(|(word, _, _)| word.as_str()).collect::<Vec<_>>().join(" ");
        let node = *self.keys.get(key.as_str())?;
        let row = self.row(index(node))?;
        // A capital says nothing where a sentence begins, and a common word with one is seldom a name.
        let guess = part.len() == 1 && row.titles == 0 && (first || row.passages.len() > FEW_OF_ONE_WORD);
        let rare = row.passages.len() <= FEW.max(share(self.passage_count(), RARE));
        (rare && !guess && self.keeps(row)).then_some(node)
    }

    /// Whether an entity takes part in ranking: it connects passages or is what one is about, and is not everywhere.
    pub(super) fn keeps(&self, row: &Row) -> bool {
        let count = row.passages.len();
        let connects = count >= 2 || row.titles > 0 || !row.beside.is_empty();
        connects && count <= share(self.passage_count(), COMMON).max(2)
    }
}

fn share(count: usize, share: f32) -> usize {
    // A share of a count is far inside what f32 and usize hold.
    (count as f32 * share) as usize
}
