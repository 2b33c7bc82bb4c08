//! Follows links toward a query: greedily on the upper levels, in a beam on one.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::rag::vector::backends::hnsw::graph::{Graph, Near, Slot};

impl Graph {
    /// The nearest slot found by stepping down from the entry to the level above `level`.
    pub(super) fn descend(&self, query: &[f32], level: usize) -> Option<Near> {
        let entry = self.entry?;
        let mut best = self.near(query, entry);
        for level in (level + 1..=self.level(entry)).rev() {
            // Each step is strictly nearer, so it ends.
            while let Some(next) = self
                .links(best.slot(), level)
                .iter()
                .map(|slot| self.near(query, *slot))
                .min()
                .filter(|next| *next < best)
            {
                best = next;
            }
        }
        Some(best)
    }

    /// Walks one level from `start`, always on from the nearest, until the `breadth` nearest seen lead no further.
    ///
    /// `see` is called once for every slot that comes near enough to enter the beam, dead ones included.
    pub(super) fn walk(
        &self,
        query: &[f32],
        start: Near,
        level: usize,
        breadth: usize,
        mut see: impl FnMut(Near),
    ) {
        let mut visited = Visited::new(self.size());
        let mut open = BinaryHeap::from([Reverse(start)]);
        let mut beam = BinaryHeap::from([start]);
        visited.insert(start.slot());
        see(start);
        while let Some(Reverse(next)) = open.pop() {
            let full = beam.len() >= breadth;
            if full && beam.peek().is_some_and(|worst| next > *worst) {
                return;
            }
            for slot in self.links(next.slot(), level) {
                if !visited.insert(*slot) {
                    continue;
                }
                let near = self.near(query, *slot);
                if beam.len() >= breadth {
                    if beam.peek().is_none_or(|worst| near > *worst) {
                        continue;
                    }
                    beam.pop();
                }
                beam.push(near);
                open.push(Reverse(near));
                see(near);
            }
        }
    }
}

/// A set of slots as bits.
struct Visited(Vec<u64>);

impl Visited {
    fn new(size: usize) -> Self {
        Self(vec![0; size / 64 + 1])
    }

    /// Whether the slot was new.
    fn insert(&mut self, slot: Slot) -> bool {
        let (word, bit) = (slot as usize / 64, 1_u64 << (slot % 64));
        let Some(word) = self.0.get_mut(word) else { return false };
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}
