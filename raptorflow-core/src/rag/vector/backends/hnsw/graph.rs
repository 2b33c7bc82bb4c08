//! `Graph`: vectors and links of the small world graph in contiguous memory.

use std::collections::HashMap;

use crate::rag::vector::{
    Metric, Scored,
    kernel::{dot, squared_distance},
};

/// A place in the graph; places of deleted vectors are used again.
pub(super) type Slot = u32;

/// The most levels above the base; a graph that fills them has far more vectors than slots.
const MAX_LEVEL: u8 = 12;

/// A slot and how far it is, in one number that sorts by distance and then by slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Near(u64);

impl Near {
    pub(super) fn new(distance: f32, slot: Slot) -> Self {
        let bits = distance.to_bits();
        // Flipped so that unsigned order is the order of floats: negative ones wholly, others in the sign.
        let sortable = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        Self(u64::from(sortable) << 32 | u64::from(slot))
    }

    pub(super) fn slot(self) -> Slot {
        self.0 as Slot
    }

    pub(super) fn distance(self) -> f32 {
        let sortable = (self.0 >> 32) as u32;
        f32::from_bits(if sortable >> 31 == 1 { sortable & !(1 << 31) } else { !sortable })
    }
}

#[derive(Debug)]
pub(super) struct Graph {
    dimension: usize,
    metric: Metric,
    /// The most links of a slot above the base; the base has twice as many.
    m: usize,
    seed: u64,
    /// By slot: the vector, of length 1 under `Cosine`.
    numbers: Vec<f32>,
    keys: Vec<u64>,
    /// By slot; a dead one is walked through until it is repaired away, and never returned.
    live: Vec<bool>,
    levels: Vec<u8>,
    /// By slot: how many links on the base, then the links.
    base: Vec<u32>,
    /// By slot: where its blocks in `upper` begin, one block a level.
    upper_at: Vec<usize>,
    upper: Vec<u32>,
    slots: HashMap<u64, Slot>,
    /// Slots that nothing links to.
    pub(super) free: Vec<Slot>,
    pub(super) entry: Option<Slot>,
    /// Dead slots that are still linked.
    pub(super) dead: usize,
}

impl Graph {
    pub(super) fn new(dimension: usize, metric: Metric, m: usize, seed: u64) -> Self {
        Self {
            dimension,
            metric,
            m,
            seed,
            numbers: Vec::new(),
            keys: Vec::new(),
            live: Vec::new(),
            levels: Vec::new(),
            base: Vec::new(),
            upper_at: Vec::new(),
            upper: Vec::new(),
            slots: HashMap::new(),
            free: Vec::new(),
            entry: None,
            dead: 0,
        }
    }

    /// How many vectors can be found.
    pub(super) fn count(&self) -> usize {
        self.slots.len()
    }

    /// How many slots there are, dead and free ones included.
    pub(super) fn size(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Slot> + use<> {
        (0..self.size()).map_while(|slot| Slot::try_from(slot).ok())
    }

    pub(super) fn is_live(&self, slot: Slot) -> bool {
        self.live.get(slot as usize).copied().unwrap_or(false)
    }

    pub(super) fn level(&self, slot: Slot) -> usize {
        self.levels.get(slot as usize).copied().map_or(0, usize::from)
    }

    pub(super) fn key(&self, slot: Slot) -> u64 {
        self.keys.get(slot as usize).copied().unwrap_or_default()
    }

    pub(super) fn vector(&self, slot: Slot) -> &[f32] {
        let start = slot as usize * self.dimension;
        self.numbers.get(start..start + self.dimension).unwrap_or_default()
    }

    /// How far a slot is from a vector; smaller is nearer under every metric.
    pub(super) fn distance(&self, vector: &[f32], slot: Slot) -> f32 {
        match self.metric {
            Metric::Cosine | Metric::Dot => -dot(vector, self.vector(slot)),
            Metric::Euclidean => squared_distance(vector, self.vector(slot)),
        }
    }

    pub(super) fn near(&self, vector: &[f32], slot: Slot) -> Near {
        Near::new(self.distance(vector, slot), slot)
    }

    pub(super) fn scored(&self, near: Near) -> Scored {
        let score = match self.metric {
            Metric::Cosine | Metric::Dot => -near.distance(),
            Metric::Euclidean => -near.distance().sqrt(),
        };
        Scored { key: self.key(near.slot()), score }
    }

    /// The most links that a slot may have on a level.
    pub(super) fn capacity(&self, level: usize) -> usize {
        if level == 0 { self.m * 2 } else { self.m }
    }

    pub(super) fn links(&self, slot: Slot, level: usize) -> &[Slot] {
        let Some(block) = self.block(slot, level) else { return &[] };
        let Some((count, links)) = block.split_first() else { return &[] };
        links.get(..*count as usize).unwrap_or_default()
    }

    /// Replaces the links of a slot on a level; those beyond the capacity are dropped.
    pub(super) fn set_links(&mut self, slot: Slot, level: usize, links: impl IntoIterator<Item = Slot>) {
        let Some(block) = self.block_mut(slot, level) else { return };
        let Some((count, places)) = block.split_first_mut() else { return };
        *count = 0;
        for (place, link) in places.iter_mut().zip(links) {
            *place = link;
            *count += 1;
        }
    }

    /// Adds one link when there is room, and says whether there was.
    pub(super) fn push_link(&mut self, slot: Slot, level: usize, link: Slot) -> bool {
        let Some((count, places)) = self.block_mut(slot, level).and_then(|block| block.split_first_mut())
        else {
            return false;
        };
        let Some(place) = places.get_mut(*count as usize) else { return false };
        *place = link;
        *count += 1;
        true
    }

    /// A slot for a vector, without links; `None` when all are used up.
    pub(super) fn occupy(&mut self, key: u64, vector: &[f32]) -> Option<Slot> {
        let slot = match self.free.pop() {
            Some(slot) => {
                let start = slot as usize * self.dimension;
                self.numbers.get_mut(start..start + self.dimension)?.copy_from_slice(vector);
                *self.keys.get_mut(slot as usize)? = key;
                *self.live.get_mut(slot as usize)? = true;
                slot
            }
            None => self.grow(key, vector)?,
        };
        self.slots.insert(key, slot);
        Some(slot)
    }

    fn grow(&mut self, key: u64, vector: &[f32]) -> Option<Slot> {
        let slot = Slot::try_from(self.size()).ok()?;
        // The level belongs to the slot, not the key: a slot that is used again keeps its blocks.
        let level = level_of(self.seed, slot, self.m);
        self.numbers.extend_from_slice(vector);
        self.keys.push(key);
        self.live.push(true);
        self.levels.push(level);
        self.base.resize(self.base.len() + self.capacity(0) + 1, 0);
        self.upper_at.push(self.upper.len());
        self.upper.resize(self.upper.len() + usize::from(level) * (self.m + 1), 0);
        Some(slot)
    }

    /// Makes a key unfindable; its slot stays linked until it is repaired away.
    pub(super) fn bury(&mut self, key: u64) -> bool {
        let Some(slot) = self.slots.remove(&key) else { return false };
        if let Some(live) = self.live.get_mut(slot as usize) {
            *live = false;
        }
        self.dead += 1;
        true
    }

    fn block(&self, slot: Slot, level: usize) -> Option<&[u32]> {
        let (start, size) = self.block_at(slot, level)?;
        if level == 0 { self.base.get(start..start + size) } else { self.upper.get(start..start + size) }
    }

    fn block_mut(&mut self, slot: Slot, level: usize) -> Option<&mut [u32]> {
        let (start, size) = self.block_at(slot, level)?;
        if level == 0 {
            self.base.get_mut(start..start + size)
        } else {
            self.upper.get_mut(start..start + size)
        }
    }

    fn block_at(&self, slot: Slot, level: usize) -> Option<(usize, usize)> {
        let size = self.capacity(level) + 1;
        if level == 0 {
            return Some((slot as usize * size, size));
        }
        let start = self.upper_at.get(slot as usize)?;
        (level <= self.level(slot)).then_some((start + (level - 1) * size, size))
    }
}

/// How high a slot stands: each level has about 1 / m of the slots of the one below.
fn level_of(seed: u64, slot: Slot, m: usize) -> u8 {
    // SplitMix64: the same slots stand equally high on every machine, in any order of inserts.
    let mut mixed = seed.wrapping_add(u64::from(slot).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let unit = ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
    let level = -unit.max(f64::MIN_POSITIVE).ln() / (m.max(2) as f64).ln();
    (level as u8).min(MAX_LEVEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_sorts_by_distance_and_gives_it_back() {
        let distances = [f32::NEG_INFINITY, -2.5, -0.0, 0.0, 1e-30, 3.5, f32::INFINITY];
        for (a, b) in distances.iter().zip(distances.iter().skip(1)) {
            assert!(Near::new(*a, 9) < Near::new(*b, 3));
            assert!(Near::new(*a, 3) < Near::new(*a, 9));
        }
        for distance in distances {
            let near = Near::new(distance, 7);
            assert_eq!((near.distance().to_bits(), near.slot()), (distance.to_bits(), 7));
        }
    }

    #[test]
    fn a_sixteenth_of_the_slots_stand_on_each_next_level() {
        let mut counts = [0; 4];
        for slot in 0..160_000 {
            let level = usize::from(level_of(7, slot, 16)).min(3);
            counts[level] += 1;
        }
        assert!((148_000..152_000).contains(&counts[0]), "{counts:?}");
        assert!((9_000..9_800).contains(&counts[1]), "{counts:?}");
    }
}
