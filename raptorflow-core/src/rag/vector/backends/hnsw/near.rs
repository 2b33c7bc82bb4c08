//! `Near`: a slot and how far it is, in one number; and `Pool`: the nearest of them, sorted.

use crate::rag::vector::backends::hnsw::graph::Slot;

/// A slot and how far it is, in one number that sorts by distance and then by slot; the lowest bit is a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Near(u64);

impl Near {
    #[inline]
    pub(super) fn new(distance: f32, slot: Slot) -> Self {
        let bits = distance.to_bits();
        // Flipped so that unsigned order is the order of floats: negative ones wholly, others in the sign.
        let sortable = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        Self(u64::from(sortable) << 32 | u64::from(slot) << 1)
    }

    /// Without the mark.
    pub(super) fn plain(self) -> Self {
        Self(self.0 & !1)
    }

    #[inline]
    pub(super) fn slot(self) -> Slot {
        self.0 as u32 >> 1
    }

    #[inline]
    pub(super) fn distance(self) -> f32 {
        let sortable = (self.0 >> 32) as u32;
        f32::from_bits(if sortable >> 31 == 1 { sortable & !(1 << 31) } else { !sortable })
    }
}

/// The nearest so far, sorted, and which of them were walked on from.
#[derive(Debug, Default)]
pub(super) struct Pool {
    nears: Vec<Near>,
    breadth: usize,
    /// All before this place were walked on from.
    next: usize,
}

impl Pool {
    pub(super) fn clear(&mut self, breadth: usize) {
        self.nears.clear();
        self.breadth = breadth;
        self.next = 0;
    }

    pub(super) fn nears(&self) -> impl Iterator<Item = Near> + '_ {
        self.nears.iter().map(|near| near.plain())
    }

    /// What a distance must be below to come in.
    #[inline]
    pub(super) fn bound(&self) -> f32 {
        if self.nears.len() < self.breadth {
            f32::INFINITY
        } else {
            self.nears.last().map_or(f32::NEG_INFINITY, |near| near.distance())
        }
    }

    /// Takes it in if it is near enough, and says whether it is the one to walk on from.
    #[inline]
    pub(super) fn push(&mut self, near: Near) -> bool {
        if self.nears.len() >= self.breadth {
            if self.nears.last().is_none_or(|worst| near >= *worst) {
                return false;
            }
            self.nears.pop();
        }
        let place = self.nears.partition_point(|other| *other < near);
        self.nears.insert(place, near);
        let first = place <= self.next;
        self.next = self.next.min(place);
        first
    }

    /// What would be popped next, if it follows at once.
    #[inline]
    pub(super) fn peek(&self) -> Option<Slot> {
        self.nears.get(self.next).map(|near| near.slot())
    }

    /// The nearest that was not walked on from.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Near> {
        while let Some(near) = self.nears.get_mut(self.next) {
            self.next += 1;
            if near.0 & 1 == 0 {
                near.0 |= 1;
                return Some(near.plain());
            }
        }
        None
    }
}

/// Which slots a walk has met: a stamp each, so that forgetting all is a new stamp.
#[derive(Debug, Default)]
pub(super) struct Visited {
    stamps: Vec<u8>,
    stamp: u8,
}

impl Visited {
    pub(super) fn clear(&mut self, slots: usize) {
        if self.stamps.len() < slots {
            self.stamps.resize(slots, 0);
        }
        self.stamp = self.stamp.wrapping_add(1);
        if self.stamp == 0 {
            self.stamps.fill(0);
            self.stamp = 1;
        }
    }

    /// Whether the slot was new.
    #[inline]
    pub(super) fn insert(&mut self, slot: Slot) -> bool {
        let Some(place) = self.stamps.get_mut(slot as usize) else { return false };
        let new = *place != self.stamp;
        *place = self.stamp;
        new
    }
}

/// What a walk works in; used again by the next one.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) pool: Pool,
    pub(super) visited: Visited,
    pub(super) fresh: Vec<Slot>,
    pub(super) worth: Vec<Slot>,
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
    fn a_pool_keeps_the_nearest_and_gives_each_once() {
        let mut pool = Pool::default();
        pool.clear(3);
        for (distance, slot) in [(5.0, 1), (3.0, 2), (4.0, 3), (9.0, 4), (1.0, 5)] {
            pool.push(Near::new(distance, slot));
        }
        assert_eq!(pool.bound().to_bits(), 4.0_f32.to_bits());
        assert_eq!(pool.pop().map(Near::slot), Some(5));
        assert!(pool.push(Near::new(2.0, 6)));
        let rest: Vec<_> = std::iter::from_fn(|| pool.pop()).map(Near::slot).collect();
        assert_eq!(rest, [6, 2]);
        assert_eq!(pool.nears().map(Near::slot).collect::<Vec<_>>(), [5, 6, 2]);
    }

    #[test]
    fn visits_are_forgotten_by_a_new_stamp() {
        let mut visited = Visited::default();
        for _ in 0..600 {
            visited.clear(3);
            assert!(visited.insert(2) && !visited.insert(2) && !visited.insert(3));
        }
    }
}
