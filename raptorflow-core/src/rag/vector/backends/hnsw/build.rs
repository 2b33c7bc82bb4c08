//! Adds vectors to the graph, and repairs it where deletions tore holes.

use crate::{
    error::{Error, ErrorKind, Result},
    rag::vector::backends::hnsw::graph::{Graph, Near, Slot},
};

/// The graph is repaired when more than one in this many linked slots is dead.
const DEAD_SHARE: usize = 5;

impl Graph {
    /// Adds a vector, or replaces the one of its key.
    pub(super) fn insert(&mut self, key: u64, vector: &[f32], breadth: usize) -> Result<()> {
        self.delete(key, breadth);
        let Some(slot) = self.occupy(key, vector) else {
            let message = "the index is full";
            return Err(
                Error::new(ErrorKind::LimitExceeded, "vector.put", message).with("vectors", self.count())
            );
        };
        self.connect(slot, breadth);
        Ok(())
    }

    /// Removes a vector and says whether there was one.
    pub(super) fn delete(&mut self, key: u64, breadth: usize) -> bool {
        let existed = self.bury(key);
        if self.dead * DEAD_SHARE > self.count() + self.dead {
            self.repair(breadth);
        }
        existed
    }

    /// Links a slot on all of its levels, both ways.
    fn connect(&mut self, slot: Slot, breadth: usize) {
        let Some(entry) = self.entry else {
            self.entry = Some(slot);
            return;
        };
        let (level, top) = (self.level(slot), self.level(entry));
        let vector = self.vector(slot).to_vec();
        if let Some(mut start) = self.descend(&vector, level) {
            for level in (0..=level.min(top)).rev() {
                let mut found = Vec::new();
                self.walk(&vector, start, level, breadth, |near| found.push(near));
                found.sort_unstable();
                // The next level down starts from the best, even where that is dead.
                start = found.first().copied().unwrap_or(start);
                found.retain(|near| near.slot() != slot && self.is_live(near.slot()));
                found.truncate(breadth);
                // Half of the base's capacity: the other half is for those who will link to it.
                let chosen = self.select(&vector, &found, self.capacity(1));
                self.set_links(slot, level, chosen.iter().map(|near| near.slot()));
                for near in chosen {
                    self.link_back(near, slot, level);
                }
            }
        }
        if level > top {
            self.entry = Some(slot);
        }
    }

    /// Links `near` to `slot`; when it has too many links, the best selection of them stays.
    fn link_back(&mut self, near: Near, slot: Slot, level: usize) {
        let from = near.slot();
        if self.links(from, level).contains(&slot) || self.push_link(from, level, slot) {
            return;
        }
        let vector = self.vector(from);
        let mut candidates: Vec<Near> =
            self.links(from, level).iter().map(|link| self.near(vector, *link)).collect();
        candidates.push(Near::new(near.distance(), slot));
        candidates.sort_unstable();
        let chosen = self.select(vector, &candidates, self.capacity(level));
        self.set_links(from, level, chosen.iter().map(|near| near.slot()));
    }

    /// Of candidates sorted by their distance to `origin` the best links, at most `most`.
    ///
    /// First those that are not nearer to one already chosen, which leads out in every direction; then the nearest
    /// others; copies of `origin` last, because links among copies lead nowhere and would crowd out the rest.
    fn select(&self, origin: &[f32], candidates: &[Near], most: usize) -> Vec<Near> {
        let (mut chosen, mut others, mut copies) = (Vec::with_capacity(most), Vec::new(), Vec::new());
        for near in candidates {
            if chosen.len() >= most {
                return chosen;
            }
            let vector = self.vector(near.slot());
            if vector == origin {
                copies.push(*near);
                continue;
            }
            let apart =
                chosen.iter().all(|other: &Near| self.distance(vector, other.slot()) >= near.distance());
            if apart { chosen.push(*near) } else { others.push(*near) }
        }
        let room = most - chosen.len();
        chosen.extend(others.into_iter().chain(copies).take(room));
        chosen
    }

    /// Links around dead slots and frees them.
    fn repair(&mut self, breadth: usize) {
        let linked_dead = |graph: &Self, slot: Slot, level| {
            graph.links(slot, level).iter().any(|link| !graph.is_live(*link))
        };
        for slot in self.all().filter(|slot| self.is_live(*slot)).collect::<Vec<_>>() {
            for level in 0..=self.level(slot) {
                if linked_dead(self, slot, level) {
                    self.bridge(slot, level);
                }
            }
        }
        self.release();
        // A slot that lost most of its surroundings is linked as if it were new.
        let enough = (self.capacity(1) / 2).min(self.count().saturating_sub(1));
        for slot in self.all().filter(|slot| self.is_live(*slot)).collect::<Vec<_>>() {
            if self.links(slot, 0).len() < enough {
                self.connect(slot, breadth);
            }
        }
    }

    /// Replaces dead links of a slot by the best among what they led to.
    fn bridge(&mut self, slot: Slot, level: usize) {
        let mut reachable: Vec<Slot> = Vec::new();
        for link in self.links(slot, level) {
            if self.is_live(*link) {
                reachable.push(*link);
            } else {
                let beyond = self.links(*link, level).iter().copied();
                reachable.extend(beyond.filter(|far| *far != slot && self.is_live(*far)));
            }
        }
        reachable.sort_unstable();
        reachable.dedup();
        let vector = self.vector(slot);
        let mut candidates: Vec<Near> = reachable.into_iter().map(|far| self.near(vector, far)).collect();
        candidates.sort_unstable();
        let chosen = self.select(vector, &candidates, self.capacity(level));
        self.set_links(slot, level, chosen.iter().map(|near| near.slot()));
        for near in chosen {
            self.link_back(near, slot, level);
        }
    }

    /// Takes the links of dead slots, which nothing links to any more, and moves the entry to the highest live slot.
    fn release(&mut self) {
        let free: std::collections::HashSet<Slot> = self.free.iter().copied().collect();
        for slot in self.all().filter(|slot| !self.is_live(*slot) && !free.contains(slot)).collect::<Vec<_>>()
        {
            for level in 0..=self.level(slot) {
                self.set_links(slot, level, []);
            }
            self.free.push(slot);
        }
        self.dead = 0;
        if self.entry.is_none_or(|entry| !self.is_live(entry)) {
            self.entry = self.all().filter(|slot| self.is_live(*slot)).max_by_key(|slot| self.level(*slot));
        }
    }
}
