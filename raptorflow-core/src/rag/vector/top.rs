//! `TopK`: keeps the best results seen so far in a bounded heap.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use crate::rag::vector::Scored;

impl Scored {
    /// Which is better: the higher score, then the smaller key.
    pub(crate) fn rank(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then_with(|| other.key.cmp(&self.key))
    }
}

#[derive(Clone, Copy, Debug)]
struct Ranked(Scored);

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.rank(&other.0)
    }
}

/// The best `k` of what is pushed.
#[derive(Debug)]
pub(crate) struct TopK {
    k: usize,
    /// The worst on top.
    heap: BinaryHeap<Reverse<Ranked>>,
}

impl TopK {
    pub(crate) fn new(k: usize) -> Self {
        // Not reserved: a caller may ask for far more than there is.
        Self { k, heap: BinaryHeap::new() }
    }

    /// Whether pushing this would change anything; asked before a costly filter.
    pub(crate) fn would_keep(&self, scored: Scored) -> bool {
        self.heap.len() < self.k || self.heap.peek().is_some_and(|worst| scored.rank(&worst.0.0).is_gt())
    }

    pub(crate) fn push(&mut self, scored: Scored) {
        if !self.would_keep(scored) {
            return;
        }
        if self.heap.len() >= self.k {
            self.heap.pop();
        }
        self.heap.push(Reverse(Ranked(scored)));
    }

    /// The best first.
    pub(crate) fn into_sorted(self) -> Vec<Scored> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse(ranked)| ranked.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn the_top_equals_a_sort(scores in proptest::collection::vec(0u8..8, 0..40), k in 0usize..12) {
            let all: Vec<Scored> = (0..).zip(scores).map(|(key, score)| Scored { key, score: f32::from(score) }).collect();
            let mut top = TopK::new(k);
            all.iter().for_each(|scored| top.push(*scored));
            let mut sorted = all;
            sorted.sort_by(|a, b| b.rank(a));
            sorted.truncate(k);
            prop_assert_eq!(top.into_sorted(), sorted);
        }
    }
}
