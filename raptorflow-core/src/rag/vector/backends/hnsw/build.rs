//! Adds vectors to the graph, and repairs it where deletions tore holes.

use crate::{
    error::{Error, ErrorKind, Result},
    rag::vector::backends::hnsw::{
        code::Coded,
        graph::{Graph, Slot},
        near::{Near, Scratch},
    },
};

/// The graph is repaired when more than one in this many linked slots is dead.
const DEAD_SHARE: usize = 5;

impl Graph {
    /// Adds a vector, or replaces the one of its key.
    pub(super) fn insert(
        &mut self,
        key: u64,
        vector: &[f32],
        breadth: usize,
        scratch: &mut Scratch,
    ) -> Result<()> {
        self.delete(&[key], breadth, scratch)?;
        let mut coded = Coded::default();
        self.coder.encode(vector, &mut coded);
        let Some(slot) = self.occupy(key, vector, &coded)? else {
            let message = "the index is full";
            return Err(
                Error::new(ErrorKind::LimitExceeded, "vector.put", message).with("vectors", self.count())
            );
        };
        self.connect(slot, &coded, breadth, scratch)
    }

    /// Removes vectors and says how many there were.
    pub(super) fn delete(&mut self, keys: &[u64], breadth: usize, scratch: &mut Scratch) -> Result<usize> {
        let mut existed = 0;
        for key in keys {
            existed += usize::from(self.bury(*key)?);
        }
        if self.dead * DEAD_SHARE > self.count() + self.dead {
            self.repair(breadth, scratch)?;
        }
        Ok(existed)
    }

    /// Links a slot on all of its levels, both ways.
    fn connect(&mut self, slot: Slot, coded: &Coded, breadth: usize, scratch: &mut Scratch) -> Result<()> {
        let Some(entry) = self.entry else {
            self.entry = Some(slot);
            return Ok(());
        };
        let (level, top) = (self.level(slot), self.level(entry));
        if let Some(mut start) = self.descend(coded, level) {
            for level in (0..=level.min(top)).rev() {
                self.walk(coded, start, level, breadth, scratch, |_| {});
                // The next level down starts from the best, even where that is dead.
                start = scratch.pool.nears().next().unwrap_or(start);
                let found =
                    scratch.pool.nears().filter(|near| near.slot() != slot && self.is_live(near.slot()));
                let found: Vec<Near> = found.collect();
                // Half of the base's capacity: the other half is for those who will link to it.
                let chosen = self.select(slot, &found, self.capacity(1));
                self.set_links(slot, level, &chosen)?;
                for near in chosen {
                    self.link_back(near, slot, level)?;
                }
            }
        }
        if level > top {
            self.entry = Some(slot);
        }
        Ok(())
    }

    /// Links `near` to `slot`; when it has too many links, the best selection of them stays.
    fn link_back(&mut self, near: Near, slot: Slot, level: usize) -> Result<()> {
        let from = near.slot();
        if self.links(from, level).any(|link| link == slot) || self.push_link(from, level, slot)? {
            return Ok(());
        }
        let mut candidates: Vec<Near> =
            self.links(from, level).map(|link| Near::new(self.between(from, link), link)).collect();
        candidates.push(Near::new(near.distance(), slot));
        candidates.sort_unstable();
        let chosen = self.select(from, &candidates, self.capacity(level));
        self.set_links(from, level, &chosen)
    }

    /// Of candidates sorted by their distance to `origin` the best links, at most `most`.
    ///
    /// First those that are not nearer to one already chosen, which leads out in every direction; then, up to
    /// half of `most`, the nearest others; copies of `origin` last, because links among copies lead nowhere and would crowd out the rest.
    fn select(&self, origin: Slot, candidates: &[Near], most: usize) -> Vec<Near> {
        let (mut chosen, mut others, mut copies) = (Vec::with_capacity(most), Vec::new(), Vec::new());
        for near in candidates {
            if chosen.len() >= most {
                return chosen;
            }
            if self.codes(near.slot()) == self.codes(origin) {
                copies.push(*near);
                continue;
            }
            let apart =
                chosen.iter().all(|other: &Near| self.between(near.slot(), other.slot()) >= near.distance());
            if apart { chosen.push(*near) } else { others.push(*near) }
        }
        let room = (most / 2).saturating_sub(chosen.len());
        chosen.extend(others.into_iter().chain(copies).take(room));
        chosen
    }

    /// Links around dead slots and frees them.
    fn repair(&mut self, breadth: usize, scratch: &mut Scratch) -> Result<()> {
        let linked_dead =
            |graph: &Self, slot: Slot, level| graph.links(slot, level).any(|link| !graph.is_live(link));
        let live = |graph: &Self| graph.all().filter(|slot| graph.is_live(*slot)).collect::<Vec<_>>();
        for slot in live(self) {
            for level in 0..=self.level(slot) {
                if linked_dead(self, slot, level) {
                    self.bridge(slot, level)?;
                }
            }
        }
        self.release()?;
        // A slot that lost most of its surroundings is linked as if it were new.
        let enough = (self.capacity(1) / 2).min(self.count().saturating_sub(1));
        let mut coded = Coded::default();
        for slot in live(self) {
            if self.links(slot, 0).count() < enough {
                self.coder.encode(self.vector(slot), &mut coded);
                self.connect(slot, &coded, breadth, scratch)?;
            }
        }
        Ok(())
    }

    /// Replaces dead links of a slot by the best among what they led to.
    fn bridge(&mut self, slot: Slot, level: usize) -> Result<()> {
        let mut reachable: Vec<Slot> = Vec::new();
        for link in self.links(slot, level) {
            if self.is_live(link) {
                reachable.push(link);
            } else {
                reachable.extend(self.links(link, level).filter(|far| *far != slot && self.is_live(*far)));
            }
        }
        reachable.sort_unstable();
        reachable.dedup();
        let mut candidates: Vec<Near> =
            reachable.into_iter().map(|far| Near::new(self.between(slot, far), far)).collect();
        candidates.sort_unstable();
        let chosen = self.select(slot, &candidates, self.capacity(level));
        self.set_links(slot, level, &chosen)?;
        for near in chosen {
            self.link_back(near, slot, level)?;
        }
        Ok(())
    }

    /// Takes the links of dead slots, which nothing links to any more, and moves the entry to the highest live slot.
    fn release(&mut self) -> Result<()> {
        let free: std::collections::HashSet<Slot> = self.free.iter().copied().collect();
        for slot in self.all().filter(|slot| !self.is_live(*slot) && !free.contains(slot)).collect::<Vec<_>>()
        {
            for level in 0..=self.level(slot) {
                self.set_links(slot, level, &[])?;
            }
            self.free.push(slot);
        }
        self.dead = 0;
        if self.entry.is_none_or(|entry| !self.is_live(entry)) {
            self.entry = self.all().filter(|slot| self.is_live(*slot)).max_by_key(|slot| self.level(*slot));
        }
        Ok(())
    }
}
