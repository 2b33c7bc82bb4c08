//! Follows links toward a query: greedily on the upper levels, with a pool of the nearest on one.

use crate::rag::vector::{
    backends::hnsw::{
        code::Coded,
        graph::{Graph, NONE},
        near::{Near, Scratch},
    },
    kernel::prefetch,
};

impl Graph {
    /// The nearest slot found by stepping down from the entry to the level above `level`.
    pub(super) fn descend(&self, query: &Coded, level: usize) -> Option<Near> {
        let entry = self.entry?;
        let mut best = self.near(query, entry);
        for level in (level + 1..=self.level(entry)).rev() {
            // Each step is strictly nearer, so it ends.
            while let Some(next) = self
                .links(best.slot(), level)
                .map(|slot| self.near(query, slot))
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
    /// They are in the pool of `scratch` then, dead ones included; `see` is called for each whose distance was taken.
    pub(super) fn walk(
        &self,
        query: &Coded,
        start: Near,
        level: usize,
        breadth: usize,
        scratch: &mut Scratch,
        mut see: impl FnMut(Near),
    ) {
        let Scratch { pool, visited, fresh, worth } = scratch;
        pool.clear(breadth);
        visited.clear(self.size());
        visited.insert(start.slot());
        pool.push(start);
        see(start);
        while let Some(next) = pool.pop() {
            // Most often the turn after this one, unless a nearer one is found now.
            if let Some(after) = pool.peek() {
                prefetch(self.block(after, level));
            }
            fresh.clear();
            for slot in self.block(next.slot(), level) {
                if *slot == NONE {
                    break;
                }
                if visited.insert(*slot) {
                    prefetch(self.head(*slot));
                    fresh.push(*slot);
                }
            }
            worth.clear();
            let bound = pool.bound();
            for slot in fresh.iter() {
                if self.coder.at_least(query, self.head(*slot)) < bound {
                    prefetch(self.codes(*slot));
                    worth.push(*slot);
                }
            }
            for slot in worth.iter() {
                let near = self.near(query, *slot);
                if pool.push(near) {
                    prefetch(self.block(*slot, level));
                }
                see(near);
            }
        }
    }
}
