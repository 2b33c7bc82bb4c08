//! `Postings`: which texts hold which terms and how often, with update and delete.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::error::{Error, ErrorKind, Result};

/// A text as the postings know it; grows with every put, so postings stay sorted by pushing.
pub(super) type Slot = u32;
type TermId = u32;
// Seeded, because texts come from strangers: nobody can choose words that all collide.
type Terms = HashMap<Box<str>, TermId, RandomState>;

/// How many neighboring slots are scored together; their scores stay in the fastest cache.
pub(super) const BLOCK: usize = 8192;

/// The terms of some texts, counted before the index is locked.
#[derive(Debug, Default)]
pub(super) struct Counted {
    ids: Terms,
    /// By id: the text that has it, as last seen, and where its count stands.
    seen: Vec<(u32, u32)>,
    counts: Vec<(TermId, u32)>,
    /// The key, where its counts end, and its length in terms.
    texts: Vec<(u64, usize, u32)>,
}

impl Counted {
    /// Counts one text; `terms` calls its argument with each term.
    pub(super) fn text(&mut self, key: u64, terms: impl FnOnce(&mut dyn FnMut(&str))) {
        let Self { ids, seen, counts, texts } = self;
        // From 1, so that a new term was seen in none.
        let number = u32::try_from(texts.len() + 1).unwrap_or(u32::MAX);
        let mut length = 0_u32;
        terms(&mut |term| {
            length = length.saturating_add(1);
            let id = match ids.get(term) {
                Some(id) => *id,
                None => {
                    let id = TermId::try_from(seen.len()).unwrap_or(TermId::MAX);
                    ids.insert(term.into(), id);
                    seen.push((0, 0));
                    id
                }
            };
            let Some((text, place)) = seen.get_mut(id as usize) else { return };
            if *text == number
                && let Some((_, count)) = counts.get_mut(*place as usize)
            {
                *count = count.saturating_add(1);
            } else {
                (*text, *place) = (number, counts.len() as u32);
                counts.push((id, 1));
            }
        });
        texts.push((key, counts.len(), length));
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Posting {
    pub(super) slot: Slot,
    pub(super) count: u32,
}

/// The postings of one term.
#[derive(Debug, Default)]
pub(super) struct List {
    /// Sorted by slot; those of deleted texts stay until the next [`Postings::tidy`].
    pub(super) postings: Vec<Posting>,
    /// How many of them are alive.
    pub(super) live: u32,
    /// The largest count, and the smallest length a count: no posting scores more than both together would.
    pub(super) most: u32,
    pub(super) shortest: f32,
}

impl List {
    fn push(&mut self, slot: Slot, count: u32, length: u32) {
        let shortest = length as f32 / count as f32;
        self.shortest = if self.live == 0 { shortest } else { self.shortest.min(shortest) };
        self.most = if self.live == 0 { count } else { self.most.max(count) };
        self.live += 1;
        self.postings.push(Posting { slot, count });
    }
}

#[derive(Debug, Default)]
pub(super) struct Postings {
    terms: Terms,
    /// By term.
    lists: Vec<List>,
    /// Ids of terms that no text holds any more.
    free: Vec<TermId>,
    /// By slot.
    pub(super) keys: Vec<u64>,
    /// By slot: its distinct terms, for deletion; `None` when deleted.
    texts: Vec<Option<Box<[TermId]>>>,
    /// By slot: the length in terms, in whole blocks; of a deleted one it is endless.
    pub(super) lengths: Vec<f32>,
    slots: HashMap<u64, Slot, RandomState>,
    /// The lengths of all live texts together, in terms.
    total: u64,
}

impl Postings {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The mean length of the texts, in terms.
    pub(super) fn mean_length(&self) -> f32 {
        (self.total as f32 / self.len().max(1) as f32).max(1.0)
    }

    /// Adds or replaces the counted texts.
    pub(super) fn insert(&mut self, counted: &Counted) -> Result<()> {
        let mut known: Vec<Option<TermId>> = vec![None; counted.seen.len()];
        let mut names: Vec<&str> = vec![""; counted.seen.len()];
        for (term, id) in &counted.ids {
            if let Some(name) = names.get_mut(*id as usize) {
                *name = term;
            }
        }
        let mut from = 0;
        for (key, to, length) in &counted.texts {
            self.remove(*key);
            let slot = Slot::try_from(self.texts.len()).map_err(|_| {
                Error::new(ErrorKind::LimitExceeded, "lexical.put", "the index is full")
                    .with("texts", self.texts.len())
            })?;
            let counts = counted.counts.get(from..*to).unwrap_or_default();
            from = *to;
            let mut terms = Vec::with_capacity(counts.len());
            for (local, count) in counts {
                let Some(known) = known.get_mut(*local as usize) else { continue };
                let id = match known {
                    Some(id) => *id,
                    None => *known.insert(self.term(names.get(*local as usize).copied().unwrap_or_default())),
                };
                terms.push(id);
                if let Some(list) = self.lists.get_mut(id as usize) {
                    list.push(slot, *count, *length);
                }
            }
            if self.lengths.len() == slot as usize {
                self.lengths.resize(slot as usize + BLOCK, 0.0);
            }
            if let Some(place) = self.lengths.get_mut(slot as usize) {
                *place = *length as f32;
            }
            // As it will be taken away again.
            self.total += *length as f32 as u64;
            self.texts.push(Some(terms.into()));
            self.keys.push(*key);
            self.slots.insert(*key, slot);
        }
        Ok(())
    }

    fn term(&mut self, term: &str) -> TermId {
        if let Some(id) = self.terms.get(term) {
            return *id;
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.lists.push(List::default());
            // Ids run out only after slots do: every term in use belongs to some text.
            TermId::try_from(self.lists.len() - 1).unwrap_or(TermId::MAX)
        });
        self.terms.insert(term.into(), id);
        id
    }

    /// Forgets a text, but for postings that no search counts; says whether there was one.
    pub(super) fn remove(&mut self, key: u64) -> bool {
        let Some(slot) = self.slots.remove(&key) else { return false };
        let Some(terms) = self.texts.get_mut(slot as usize).and_then(Option::take) else { return false };
        if let Some(length) = self.lengths.get_mut(slot as usize) {
            self.total -= *length as u64;
            // A share of an endless text is 0, so no search takes it for a candidate.
            *length = f32::INFINITY;
        }
        for id in &terms {
            if let Some(list) = self.lists.get_mut(*id as usize) {
                list.live -= 1;
                if list.live == 0 {
                    list.postings.clear();
                }
            }
        }
        true
    }

    /// Drops what deleted texts left behind, once they are a quarter of all.
    pub(super) fn tidy(&mut self) {
        let (live, all) = (self.slots.len(), self.texts.len());
        // Everything is read here, so it may only happen after about as many changes.
        if all < 64 || (all - live) * 4 < all {
            return;
        }
        let (lists, free) = (&mut self.lists, &mut self.free);
        self.terms.retain(|_, id| {
            let used = lists.get(*id as usize).is_some_and(|list| list.live > 0);
            if !used {
                free.push(*id);
            }
            used
        });
        let mut renumbered: Vec<Option<Slot>> = vec![None; all];
        let mut next: Slot = 0;
        for ((text, key), new) in self.texts.iter().zip(&self.keys).zip(&mut renumbered) {
            if text.is_some() {
                *new = Some(next);
                self.slots.insert(*key, next);
                next += 1;
            }
        }
        let kept = || self.texts.iter().map(Option::is_some);
        let (mut lengths, mut keys) = (kept(), kept());
        self.lengths.retain(|_| lengths.next().unwrap_or(false));
        self.keys.retain(|_| keys.next().unwrap_or(false));
        self.lengths.resize(self.lengths.len().next_multiple_of(BLOCK), 0.0);
        self.texts.retain(Option::is_some);
        for list in lists.iter_mut() {
            list.postings.retain_mut(|posting| {
                let new = renumbered.get(posting.slot as usize).copied().flatten();
                posting.slot = new.unwrap_or_default();
                new.is_some()
            });
            list.postings.shrink_to_fit();
        }
    }

    pub(super) fn idf(&self, frequency: usize) -> f32 {
        // Counts far below 2^24 are exact in f32; above, the error is far below the effect of one text.
        let (n, df) = (self.slots.len() as f32, frequency as f32);
        (1.0 + (n - df + 0.5) / (df + 0.5)).ln()
    }

    /// The idf of a term, known or not.
    pub(super) fn rarity(&self, term: &str) -> f32 {
        self.idf(self.list(term).map_or(0, |list| list.live as usize))
    }

    pub(super) fn list(&self, term: &str) -> Option<&List> {
        self.lists.get(*self.terms.get(term)? as usize).filter(|list| list.live > 0)
    }
}
