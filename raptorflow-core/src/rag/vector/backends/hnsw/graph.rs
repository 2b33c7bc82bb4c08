//! `Graph`: vectors, codes and links of the small world graph in contiguous memory.

use std::collections::HashMap;

use crate::{
    error::Result,
    rag::vector::{
        Metric,
        backends::hnsw::{
            code::{Coded, Coder},
            near::Near,
        },
        kernel::{Column, Line, dot, squared_distance},
    },
};

/// A place in the graph, below 2³¹; places of deleted vectors are used again.
pub(super) type Slot = u32;

/// Where a block of links ends before it is full.
pub(super) const NONE: Slot = Slot::MAX;
/// The most levels above the base; a graph that fills them has far more vectors than slots.
const MAX_LEVEL: u8 = 12;
/// The most slots: one bit of a number is a mark.
const MAX_SLOTS: usize = 1 << 31;
/// The center is moved while the graph is at most so large: afterwards it moves no more to speak of.
const SETTLED: usize = 50_000;
/// How many vectors make a center.
const CENTER_SAMPLE: usize = 4096;

#[derive(Debug)]
pub(super) struct Graph {
    pub(super) dimension: usize,
    pub(super) metric: Metric,
    /// The most links of a slot above the base; the base has twice as many.
    pub(super) m: usize,
    pub(super) seed: u64,
    pub(super) coder: Coder,
    /// How many slots there were when the center was last moved.
    pub(super) centered: usize,
    /// By slot: the vector, of length 1 under `Cosine`.
    pub(super) numbers: Column<f32>,
    pub(super) heads: Column<Line>,
    pub(super) codes: Column<Line>,
    pub(super) keys: Column<u64>,
    /// By slot: 1 where it lives; a dead one is walked through until it is repaired away, and never returned.
    pub(super) live: Column<u8>,
    pub(super) levels: Column<u8>,
    /// By slot: the links on the base, then `NONE`.
    pub(super) base: Column<u32>,
    /// By slot: where its blocks in `upper` begin, one block a level.
    pub(super) upper_at: Column<u32>,
    pub(super) upper: Column<u32>,
    pub(super) slots: HashMap<u64, Slot>,
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
            coder: Coder::new(dimension, metric),
            centered: 0,
            numbers: Column::default(),
            heads: Column::default(),
            codes: Column::default(),
            keys: Column::default(),
            live: Column::default(),
            levels: Column::default(),
            base: Column::default(),
            upper_at: Column::default(),
            upper: Column::default(),
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

    #[inline]
    pub(super) fn is_live(&self, slot: Slot) -> bool {
        self.live.get(slot as usize).is_some_and(|live| *live == 1)
    }

    pub(super) fn level(&self, slot: Slot) -> usize {
        self.levels.get(slot as usize).copied().map_or(0, usize::from)
    }

    #[inline]
    pub(super) fn key(&self, slot: Slot) -> u64 {
        self.keys.get(slot as usize).copied().unwrap_or_default()
    }

    pub(super) fn vector(&self, slot: Slot) -> &[f32] {
        let start = slot as usize * self.dimension;
        self.numbers.get(start..start + self.dimension).unwrap_or_default()
    }

    #[inline]
    pub(super) fn head(&self, slot: Slot) -> &[Line] {
        let start = slot as usize * self.coder.head_lines;
        self.heads.get(start..start + self.coder.head_lines).unwrap_or_default()
    }

    #[inline]
    pub(super) fn codes(&self, slot: Slot) -> &[Line] {
        let start = slot as usize * self.coder.code_lines;
        self.codes.get(start..start + self.coder.code_lines).unwrap_or_default()
    }

    /// How far a slot is by its codes; smaller is nearer under every metric.
    #[inline]
    pub(super) fn near(&self, query: &Coded, slot: Slot) -> Near {
        Near::new(self.coder.distance(query, self.head(slot), self.codes(slot)), slot)
    }

    /// How far two slots are apart by their codes.
    pub(super) fn between(&self, a: Slot, b: Slot) -> f32 {
        self.coder.between((self.head(a), self.codes(a)), (self.head(b), self.codes(b)))
    }

    /// How near a slot truly is: the higher, the nearer.
    pub(super) fn score(&self, vector: &[f32], slot: Slot) -> f32 {
        match self.metric {
            Metric::Cosine | Metric::Dot => dot(vector, self.vector(slot)),
            Metric::Euclidean => -squared_distance(vector, self.vector(slot)).sqrt(),
        }
    }

    /// The most links that a slot may have on a level.
    pub(super) fn capacity(&self, level: usize) -> usize {
        if level == 0 { self.m * 2 } else { self.m }
    }

    /// The links of a slot on a level.
    pub(super) fn links(&self, slot: Slot, level: usize) -> impl Iterator<Item = Slot> + '_ {
        self.block(slot, level).iter().copied().take_while(|link| *link != NONE)
    }

    /// The links of a slot on a level, with `NONE` behind the last one unless it is full.
    #[inline]
    pub(super) fn block(&self, slot: Slot, level: usize) -> &[u32] {
        match self.block_at(slot, level) {
            Some((start, size)) if level == 0 => self.base.get(start..start + size).unwrap_or_default(),
            Some((start, size)) => self.upper.get(start..start + size).unwrap_or_default(),
            None => &[],
        }
    }

    fn block_mut(&mut self, slot: Slot, level: usize) -> Result<&mut [u32]> {
        let Some((start, size)) = self.block_at(slot, level) else { return Ok(&mut []) };
        let links = if level == 0 { &mut self.base } else { &mut self.upper };
        Ok(links.values_mut()?.get_mut(start..start + size).unwrap_or_default())
    }

    #[inline]
    fn block_at(&self, slot: Slot, level: usize) -> Option<(usize, usize)> {
        let size = self.capacity(level);
        if level == 0 {
            return Some((slot as usize * size, size));
        }
        let start = *self.upper_at.get(slot as usize)? as usize;
        (level <= self.level(slot)).then_some((start + (level - 1) * size, size))
    }

    /// Replaces the links of a slot on a level.
    pub(super) fn set_links(&mut self, slot: Slot, level: usize, links: &[Near]) -> Result<()> {
        let block = self.block_mut(slot, level)?;
        block.fill(NONE);
        for (place, near) in block.iter_mut().zip(links) {
            *place = near.slot();
        }
        Ok(())
    }

    /// Adds a link and says whether there was room.
    pub(super) fn push_link(&mut self, slot: Slot, level: usize, link: Slot) -> Result<bool> {
        let Some(place) = self.block_mut(slot, level)?.iter_mut().find(|place| **place == NONE) else {
            return Ok(false);
        };
        *place = link;
        Ok(true)
    }

    /// A slot for a vector and its codes, without links; `None` when all are used up.
    pub(super) fn occupy(&mut self, key: u64, vector: &[f32], coded: &Coded) -> Result<Option<Slot>> {
        let slot = match self.free.last() {
            Some(slot) => *slot,
            None if self.size() >= MAX_SLOTS => return Ok(None),
            None => self.grow()?,
        };
        let at = slot as usize;
        let (numbers, heads, codes) = (self.dimension, self.coder.head_lines, self.coder.code_lines);
        if let Some(place) = self.numbers.values_mut()?.get_mut(at * numbers..(at + 1) * numbers) {
            place.copy_from_slice(vector);
        }
        if let Some(place) = self.heads.values_mut()?.get_mut(at * heads..(at + 1) * heads) {
            self.coder.write_head(coded, place);
        }
        if let Some(place) = self.codes.values_mut()?.get_mut(at * codes..(at + 1) * codes) {
            place.copy_from_slice(&coded.codes);
        }
        if let Some(place) = self.keys.values_mut()?.get_mut(at) {
            *place = key;
        }
        if let Some(place) = self.live.values_mut()?.get_mut(at) {
            *place = 1;
        }
        self.free.pop();
        self.slots.insert(key, slot);
        Ok(Some(slot))
    }

    /// One slot more, which is free.
    fn grow(&mut self) -> Result<Slot> {
        let slot = self.size() as Slot;
        // The level belongs to the slot, not the key: a slot that is used again keeps its blocks.
        let level = level_of(self.seed, slot, self.m);
        let upper = self.upper.len() as u32;
        self.reserve(1)?;
        self.upper.grow(usize::from(level) * self.m, NONE)?;
        self.numbers.grow(self.dimension, 0.0)?;
        self.heads.grow(self.coder.head_lines, Line::ZERO)?;
        self.codes.grow(self.coder.code_lines, Line::ZERO)?;
        self.live.grow(1, 0)?;
        self.levels.grow(1, level)?;
        self.base.grow(self.m * 2, NONE)?;
        self.upper_at.grow(1, upper)?;
        self.keys.grow(1, 0)?;
        self.free.push(slot);
        Ok(slot)
    }

    /// Makes room for slots in every column, so that growing fails in all or in none.
    pub(super) fn reserve(&mut self, slots: usize) -> Result<()> {
        self.numbers.reserve(slots * self.dimension)?;
        self.heads.reserve(slots * self.coder.head_lines)?;
        self.codes.reserve(slots * self.coder.code_lines)?;
        self.live.reserve(slots)?;
        self.levels.reserve(slots)?;
        self.base.reserve(slots * self.m * 2)?;
        self.upper_at.reserve(slots)?;
        self.upper.reserve(usize::from(MAX_LEVEL) * self.m)?;
        self.keys.reserve(slots)
    }

    /// Makes a key unfindable; its slot stays linked until it is repaired away.
    pub(super) fn bury(&mut self, key: u64) -> Result<bool> {
        let Some(slot) = self.slots.get(&key).copied() else { return Ok(false) };
        if let Some(live) = self.live.values_mut()?.get_mut(slot as usize) {
            *live = 0;
        }
        self.slots.remove(&key);
        self.dead += 1;
        Ok(true)
    }

    /// Moves the center to the middle of the data while the graph is young, `coming` included.
    ///
    /// Codes around a far center would be coarse: all of their steps would go into what the vectors have in common.
    pub(super) fn settle(&mut self, coming: &[(u64, Vec<f32>)]) -> Result<()> {
        let (size, next) = (self.count() + coming.len(), self.centered.saturating_mul(4));
        if self.centered >= SETTLED || (self.centered > 0 && size < next) || size == 0 {
            return Ok(());
        }
        let step = size.div_ceil(CENTER_SAMPLE);
        let live = self.all().filter(|slot| self.is_live(*slot)).map(|slot| self.vector(slot));
        let sample = live.chain(coming.iter().map(|(_, vector)| vector.as_slice())).step_by(step);
        let mut coder = self.coder.clone();
        coder.center_on(sample);
        self.coder = coder;
        self.centered = size;
        self.encode_again()
    }

    fn encode_again(&mut self) -> Result<()> {
        let (heads, codes) = (self.coder.head_lines, self.coder.code_lines);
        let mut coded = Coded::default();
        for (slot, vector) in self.numbers.chunks_exact(self.dimension).enumerate() {
            self.coder.encode(vector, &mut coded);
            if let Some(place) = self.heads.values_mut()?.get_mut(slot * heads..(slot + 1) * heads) {
                self.coder.write_head(&coded, place);
            }
            if let Some(place) = self.codes.values_mut()?.get_mut(slot * codes..(slot + 1) * codes) {
                place.copy_from_slice(&coded.codes);
            }
        }
        Ok(())
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
