//! The best texts for some terms: block by block, and without the texts that cannot be among them.

use std::ops::Range;

use crate::rag::{
    lexical::backends::{
        inverted::InvertedConfig,
        postings::{BLOCK, Posting, Postings, Slot},
    },
    vector::{KeyFilter, Scored},
};

/// From how many postings a candidate it is cheaper to look up each candidate.
const PROBE: usize = 16;

/// A term of a query.
struct Wanted<'a> {
    /// What is left to score.
    postings: &'a [Posting],
    /// Its idf, as often as it is asked.
    weight: f32,
    /// No text gets more from it.
    most: f32,
    /// No text gets more from this and all later ones.
    rest: f32,
}

/// The part of a score that depends on the text: `count / (count + flat + slope * length)`.
#[derive(Clone, Copy)]
struct Share {
    flat: f32,
    slope: f32,
}

impl Share {
    fn of(self, count: f32, length: f32) -> f32 {
        count / (count + self.flat + self.slope * length)
    }
}

impl Postings {
    /// The terms of a query that some text holds, the rarest first.
    fn wanted(&self, mut terms: Vec<Box<str>>, share: Share) -> Vec<Wanted<'_>> {
        terms.sort_unstable();
        let mut wanted: Vec<Wanted<'_>> = terms
            .chunk_by(|a, b| a == b)
            .filter_map(|same| {
                let list = self.list(same.first()?)?;
                let weight = self.idf(list.live as usize) * same.len() as f32;
                // The share is `1 / (1 + flat / count + slope * length / count)`.
                let most = weight / (1.0 + share.flat / list.most as f32 + share.slope * list.shortest);
                Some(Wanted { postings: &list.postings, weight, most, rest: 0.0 })
            })
            .collect();
        // One order for all texts, so that sums of floats do not depend on where a text stands; stable, so by term last.
        wanted.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        let mut rest = 0.0;
        for wanted in wanted.iter_mut().rev() {
            rest += wanted.most;
            // Above the largest sum that rounding could make.
            wanted.rest = rest * 1.000_01;
        }
        wanted
    }

    /// The best `k` texts, the best first, ties by the smaller key.
    pub(super) fn search(
        &self,
        config: InvertedConfig,
        terms: Vec<Box<str>>,
        k: usize,
        filter: Option<KeyFilter<'_>>,
    ) -> Vec<Scored> {
        if self.len() == 0 || k == 0 {
            return Vec::new();
        }
        let share =
            Share { flat: config.k1 * (1.0 - config.b), slope: config.k1 * config.b / self.mean_length() };
        let mut wanted = self.wanted(terms, share);
        let mut best = Best::new(k);
        let mut block =
            Block { share, lengths: &[0.0; BLOCK], scores: Box::new([0.0; BLOCK]), found: Vec::new() };
        // The first terms make candidates; what the others could add alone would never be enough.
        let mut makers = wanted.len();
        loop {
            while makers > 0 && wanted.get(makers - 1).is_some_and(|last| last.rest < best.least) {
                makers -= 1;
            }
            let (making, adding) = wanted.split_at_mut(makers);
            let next =
                making.iter().filter_map(|term| term.postings.first()).map(|posting| posting.slot).min();
            let Some(at) = next.map(|slot| slot as usize / BLOCK) else { break };
            let Some(lengths) = self.lengths.as_chunks::<BLOCK>().0.get(at) else { break };
            block.lengths = lengths;
            let slots = (at * BLOCK) as u64..((at + 1) * BLOCK) as u64;
            let more = adding.first().map_or(0.0, |term| term.rest);
            block.make(making, slots.end, best.least - more);
            block.add(adding, &slots, best.least);
            for (slot, score) in block.found.drain(..) {
                if score < best.least {
                    continue;
                }
                if filter.is_none_or(|allows| allows(self.key(slot))) {
                    best.push(slot, score, |slot| self.key(slot));
                }
            }
        }
        best.into_sorted(|slot| self.key(slot))
    }

    fn key(&self, slot: Slot) -> u64 {
        self.keys.get(slot as usize).copied().unwrap_or_default()
    }
}

/// Scores of neighboring slots while they are made.
struct Block<'a> {
    share: Share,
    lengths: &'a [f32; BLOCK],
    /// 0 where nothing is scored; all 0 between two blocks.
    scores: Box<[f32; BLOCK]>,
    found: Vec<(Slot, f32)>,
}

impl Block<'_> {
    /// Scores all postings of some terms before the slot `behind`, and finds the slots with at least `need`.
    fn make(&mut self, terms: &mut [Wanted<'_>], behind: u64, need: f32) {
        let Self { share, lengths, scores, found } = self;
        for term in terms.iter() {
            for posting in term.postings.iter().take_while(|posting| u64::from(posting.slot) < behind) {
                let at = posting.slot as usize % BLOCK;
                if let (Some(score), Some(length)) = (scores.get_mut(at), lengths.get(at)) {
                    *score += term.weight * share.of(posting.count as f32, *length);
                }
            }
        }
        for term in terms {
            let mut used = 0;
            for posting in term.postings.iter().take_while(|posting| u64::from(posting.slot) < behind) {
                used += 1;
                if let Some(score) = scores.get_mut(posting.slot as usize % BLOCK) {
                    // 0 is a slot that another term has found already, or a deleted text.
                    if *score > 0.0 && *score >= need {
                        found.push((posting.slot, *score));
                    }
                    *score = 0.0;
                }
            }
            term.postings = term.postings.get(used..).unwrap_or_default();
        }
    }

    /// Adds what other terms give to the slots that were found, and drops those that cannot reach `least`.
    fn add(&mut self, terms: &mut [Wanted<'_>], slots: &Range<u64>, least: f32) {
        let Self { share, lengths, scores, found } = self;
        for term in terms {
            found.retain(|(_, score)| score + term.rest >= least);
            if found.is_empty() {
                return;
            }
            let from = term.postings.partition_point(|posting| u64::from(posting.slot) < slots.start);
            term.postings = term.postings.get(from..).unwrap_or_default();
            let to = term.postings.partition_point(|posting| u64::from(posting.slot) < slots.end);
            let postings = term.postings.get(..to).unwrap_or_default();
            if postings.len() > found.len() * PROBE {
                for (slot, score) in found.iter_mut() {
                    let place = postings.binary_search_by_key(slot, |posting| posting.slot);
                    let posting = place.ok().and_then(|place| postings.get(place));
                    if let (Some(posting), Some(length)) = (posting, lengths.get(*slot as usize % BLOCK)) {
                        *score += term.weight * share.of(posting.count as f32, *length);
                    }
                }
                continue;
            }
            for (slot, score) in found.iter() {
                if let Some(place) = scores.get_mut(*slot as usize % BLOCK) {
                    *place = *score;
                }
            }
            for posting in postings {
                let at = posting.slot as usize % BLOCK;
                if let (Some(score), Some(length)) = (scores.get_mut(at), lengths.get(at)) {
                    *score += term.weight * share.of(posting.count as f32, *length);
                }
            }
            for (slot, score) in found.iter_mut() {
                if let Some(place) = scores.get(*slot as usize % BLOCK) {
                    *score = *place;
                }
            }
            for posting in postings {
                if let Some(score) = scores.get_mut(posting.slot as usize % BLOCK) {
                    *score = 0.0;
                }
            }
            for (slot, _) in found.iter() {
                if let Some(place) = scores.get_mut(*slot as usize % BLOCK) {
                    *place = 0.0;
                }
            }
        }
    }
}

/// The best `k` of what is pushed, sorted now and then instead of always.
struct Best {
    k: usize,
    /// At most twice `k`, and some.
    kept: Vec<(Slot, f32)>,
    /// What a score has to reach; lags behind the truth.
    least: f32,
}

impl Best {
    fn new(k: usize) -> Self {
        Self { k, kept: Vec::new(), least: f32::NEG_INFINITY }
    }

    /// Keeps a slot; `key` is asked only where scores are equal, because keys lie all over the memory.
    fn push(&mut self, slot: Slot, score: f32, key: impl Fn(Slot) -> u64) {
        self.kept.push((slot, score));
        if self.kept.len() >= self.k.saturating_add(self.k.max(32)) {
            self.cut(key);
        }
    }

    fn cut(&mut self, key: impl Fn(Slot) -> u64) {
        if self.kept.len() > self.k {
            let (_, last, _) = self.kept.select_nth_unstable_by(self.k - 1, |a, b| {
                b.1.total_cmp(&a.1).then_with(|| key(a.0).cmp(&key(b.0)))
            });
            self.least = last.1;
            self.kept.truncate(self.k);
        }
    }

    fn into_sorted(mut self, key: impl Fn(Slot) -> u64) -> Vec<Scored> {
        self.cut(&key);
        let scored = |(slot, score)| Scored { key: key(slot), score };
        let mut sorted: Vec<Scored> = self.kept.into_iter().map(scored).collect();
        sorted.sort_unstable_by(|a, b| b.rank(a));
        sorted
    }
}
