//! Answers a query: by a walk and exact scores of what it found, or by comparing all that may be returned.

use crate::rag::vector::{
    KeyFilter, Scored, TopK, VectorQuery,
    backends::hnsw::{
        code::Coded,
        graph::{Graph, Slot},
        near::{Near, Pool, Scratch},
    },
    kernel::prefetch,
};

/// How many keys a filter is asked for, to guess what share of all it allows.
const SAMPLE: usize = 512;
/// A prime, so that multiples of it fall everywhere.
const STRIDE: u64 = 2_654_435_761;
/// Below this share, or this number of vectors that a filter allows, all of them are compared: a walk grows as much
/// broader as the filter is narrower, and was slower there.
/// Two hops through what the filter rejects were tried instead of a broader walk, and found less at equal speed.
const NARROW: f32 = 0.02;
const FEW: f32 = 6_000.0;
/// The fewest candidates that are scored exactly after a walk.
const RESCORED: usize = 20;
/// How many vectors ahead of the one that is compared are asked of memory.
const AHEAD: usize = 4;

/// What a search works in.
#[derive(Debug, Default)]
pub(super) struct Desk {
    pub(super) scratch: Scratch,
    coded: Coded,
    allowed: Pool,
    candidates: Vec<Slot>,
}

/// How broad a search is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// How many candidates a walk weighs.
    pub(super) breadth: usize,
    /// Up to how many vectors are all compared.
    pub(super) exact_below: usize,
}

impl Graph {
    /// The best of what the query allows.
    pub(super) fn search(
        &self,
        vector: &[f32],
        query: VectorQuery<'_>,
        effort: Effort,
        desk: &mut Desk,
    ) -> Vec<Scored> {
        if query.k == 0 || self.count() == 0 {
            return Vec::new();
        }
        let share = query.filter.map_or(1.0, |allows| self.allowed_share(allows));
        let narrow = query.filter.is_some() && (share < NARROW || share * self.count() as f32 <= FEW);
        // A walk that is to end with a quarter of all is only a slow way to compare all.
        let most = query.k.saturating_mul(4) >= self.count();
        if narrow || most || self.count() <= effort.exact_below {
            return self.compare_all(vector, query, &mut desk.candidates);
        }
        let breadth = effort.breadth.max(query.k);
        self.walk_for(vector, query, breadth, share, desk);
        let found = self.rescore(vector, query.k, &desk.candidates);
        // The walk may end in a corner of keys that the filter rejects; `k` were promised.
        if found.len() < query.k.min(self.count()) {
            self.compare_all(vector, query, &mut desk.candidates)
        } else {
            found
        }
    }

    /// What share of the keys a filter allows, by an even sample of the slots.
    fn allowed_share(&self, allows: KeyFilter<'_>) -> f32 {
        // Strewn over the slots: keys often follow a pattern, and an even step could fall in with it.
        let strewn = (0..SAMPLE as u64).map(|at| (at * STRIDE % self.size().max(1) as u64) as Slot);
        let (mut asked, mut allowed) = (0_u32, 0_u32);
        for slot in strewn.filter(|slot| self.is_live(*slot)) {
            asked += 1;
            allowed += u32::from(allows(self.key(slot)));
        }
        if asked == 0 { 0.0 } else { allowed as f32 / asked as f32 }
    }

    /// Leaves the nearest by their codes in the desk's candidates.
    fn walk_for(&self, vector: &[f32], query: VectorQuery<'_>, breadth: usize, share: f32, desk: &mut Desk) {
        let Desk { scratch, coded, allowed, candidates } = desk;
        candidates.clear();
        self.coder.encode(vector, coded);
        let Some(start) = self.descend(coded, 0) else { return };
        let wanted = RESCORED.max(query.k.saturating_mul(2)).min(breadth);
        let Some(allows) = query.filter else {
            self.walk(coded, start, 0, breadth, scratch, |_| {});
            let live = scratch.pool.nears().map(Near::slot).filter(|slot| self.is_live(*slot));
            candidates.extend(live.take(wanted));
            return;
        };
        let allows = |slot: Slot| self.is_live(slot) && allows(self.key(slot));
        let wide = (breadth as f32 / share) as usize;
        allowed.clear(wanted);
        self.walk(coded, start, 0, wide, scratch, |near| {
            if near.distance() < allowed.bound() && allows(near.slot()) {
                allowed.push(near);
            }
        });
        candidates.extend(allowed.nears().map(Near::slot));
    }

    fn rescore(&self, vector: &[f32], k: usize, candidates: &[Slot]) -> Vec<Scored> {
        for slot in candidates {
            prefetch(self.vector(*slot));
        }
        let mut top = TopK::new(k);
        for slot in candidates {
            top.push(Scored { key: self.key(*slot), score: self.score(vector, *slot) });
        }
        top.into_sorted()
    }

    fn compare_all(&self, vector: &[f32], query: VectorQuery<'_>, candidates: &mut Vec<Slot>) -> Vec<Scored> {
        let live = self.keys.iter().zip(self.live.iter()).zip(0..).filter(|((_, live), _)| **live == 1);
        let allowed = live.filter(|((key, _), _)| query.filter.is_none_or(|allows| allows(**key)));
        candidates.clear();
        candidates.extend(allowed.map(|(_, slot)| slot));
        let ahead = candidates.iter().skip(AHEAD).map(Some).chain(std::iter::repeat(None));
        let mut top = TopK::new(query.k);
        for (slot, ahead) in candidates.iter().zip(ahead) {
            if let Some(ahead) = ahead {
                prefetch(self.vector(*ahead));
            }
            top.push(Scored { key: self.key(*slot), score: self.score(vector, *slot) });
        }
        top.into_sorted()
    }
}
