//! Personalised PageRank over passages and entities, by forward push.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use crate::rag::{
    graph::{
        knowledge::{KnowledgeGraph, index},
        part::{Row, TITLE_WEIGHT},
    },
    vector::Scored,
};

/// The share of a walk that goes on instead of starting anew.
const DAMPING: f32 = 0.85;
/// A rest below this share of all, for each unit of weight at a node, is no longer pushed on.
///
/// With it lists are as good as from 40 rounds over the whole graph, and the work does not grow with the graph.
const TOLERANCE: f32 = 5e-5;

/// Where a walk begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Seed<'a> {
    /// At an entity, by any spelling of its name.
    Entity(&'a str),
    /// At a passage, by its key.
    Passage(u64),
}

/// A place of the walk: a passage's slot or an entity's node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Passage(u32),
    Entity(u32),
}

/// Memory of a walk, kept so that a query need not clear a graph's worth of numbers.
#[derive(Debug, Default)]
struct Board {
    /// What rests at a place, and what has settled there: passages at even places, entities at odd ones.
    rest: Vec<f32>,
    settled: Vec<f32>,
    waiting: Vec<bool>,
    touched: Vec<u32>,
    queue: VecDeque<u32>,
}

/// Boards that no walk uses now.
#[derive(Debug, Default)]
pub(super) struct Boards(Mutex<Vec<Board>>);

impl Clone for Boards {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Boards {
    fn take(&self) -> Board {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give(&self, board: Board) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(board);
    }
}

impl Board {
    fn prepare(&mut self, size: usize) {
        if self.rest.len() < size {
            self.rest.resize(size, 0.0);
            self.settled.resize(size, 0.0);
            self.waiting.resize(size, false);
        }
    }

    fn add(&mut self, place: u32, mass: f32, threshold: f32) {
        let Some(rest) = self.rest.get_mut(place as usize) else { return };
        if *rest == 0.0 {
            self.touched.push(place);
        }
        *rest += mass;
        if *rest > threshold
            && let Some(waiting) = self.waiting.get_mut(place as usize)
            && !*waiting
        {
            *waiting = true;
            self.queue.push_back(place);
        }
    }

    fn next(&mut self) -> Option<(u32, f32)> {
        let place = self.queue.pop_front()?;
        let at = place as usize;
        *self.waiting.get_mut(at)? = false;
        let mass = std::mem::take(self.rest.get_mut(at)?);
        *self.settled.get_mut(at)? += (1.0 - DAMPING) * mass;
        Some((place, DAMPING * mass))
    }

    fn clear(&mut self) {
        for place in self.touched.drain(..) {
            let at = place as usize;
            for numbers in [&mut self.rest, &mut self.settled] {
                if let Some(number) = numbers.get_mut(at) {
                    *number = 0.0;
                }
            }
            if let Some(waiting) = self.waiting.get_mut(at) {
                *waiting = false;
            }
        }
        self.queue.clear();
    }
}

fn place(stop: Stop) -> u32 {
    match stop {
        Stop::Passage(slot) => slot << 1,
        Stop::Entity(node) => node << 1 | 1,
    }
}

impl KnowledgeGraph {
    /// Passages by how often a walk that begins at the seeds comes by: personalised PageRank, best first.
    ///
    /// Seeds share the beginnings by their weights; ones that the graph does not have, or whose weight is not above 0,
    /// are left out.
    /// Entities that stand in more than a tenth of all passages, and those that connect nothing, are not walked over.
    /// The scores are within a few hundred-thousandths of the exact ones and add up to less than 1.
    #[must_use]
    pub fn rank(&self, seeds: &[(Seed<'_>, f32)]) -> Vec<Scored> {
        let stops = seeds.iter().filter_map(|(seed, weight)| {
            let stop = match seed {
                Seed::Entity(name) => Stop::Entity(index(self.find(name)?)),
                Seed::Passage(key) => Stop::Passage(*self.slots.get(key)?),
            };
            Some((stop, *weight))
        });
        let mut ranked = self.walk_from(&stops.collect::<Vec<_>>());
        ranked.sort_by(|a, b| b.rank(a));
        ranked
    }

    /// The same from places, in no order.
    pub(super) fn walk_from(&self, seeds: &[(Stop, f32)]) -> Vec<Scored> {
        let fits = |weight: f32| weight.is_finite() && weight > 0.0;
        let total: f32 = seeds.iter().map(|(_, weight)| *weight).filter(|weight| fits(*weight)).sum();
        let mut board = self.boards.take();
        board.prepare(2 * self.passages.len().max(self.rows.len()));
        for (stop, weight) in seeds.iter().filter(|(_, weight)| fits(*weight)) {
            board.add(place(*stop), weight / total, TOLERANCE);
        }
        while let Some((at, mass)) = board.next() {
            if at & 1 == 0 {
                self.leave_passage(at >> 1, mass, &mut board);
            } else {
                self.leave_entity(at >> 1, mass, &mut board);
            }
        }
        let ranked = board.touched.iter().filter(|place| **place & 1 == 0).filter_map(|place| {
            let score = *board.settled.get(*place as usize)?;
            (score > 0.0).then_some(Scored { key: self.passage(*place >> 1)?.key, score })
        });
        let mut ranked: Vec<Scored> = ranked.collect();
        // A place is noted each time that its rest was 0.
        ranked.sort_unstable_by_key(|scored| scored.key);
        ranked.dedup_by_key(|scored| scored.key);
        board.clear();
        self.boards.give(board);
        ranked
    }

    fn leave_passage(&self, slot: u32, mass: f32, board: &mut Board) {
        let Some(passage) = self.passage(slot) else { return };
        let weight = |title: bool| if title { TITLE_WEIGHT } else { 1.0 };
        let walked = || {
            passage.mentions.iter().filter_map(|mention| {
                let row = self.row(mention.node)?;
                self.keeps(row).then_some((mention, row))
            })
        };
        let total: f32 = walked().map(|(mention, _)| weight(mention.title)).sum();
        for (mention, row) in walked() {
            let share = mass * weight(mention.title) / total;
            board.add(place(Stop::Entity(mention.node)), share, TOLERANCE * row.weight());
        }
    }

    fn leave_entity(&self, node: u32, mass: f32, board: &mut Board) {
        let Some(row) = self.row(node) else { return };
        let total = row.weight();
        for at in &row.passages {
            let weight = if at.title { TITLE_WEIGHT } else { 1.0 };
            let threshold =
                TOLERANCE * self.passage(at.slot).map_or(1.0, |passage| passage.mentions.len() as f32);
            board.add(place(Stop::Passage(at.slot)), mass * weight / total, threshold);
        }
        for (other, weight) in &row.beside {
            let threshold = TOLERANCE * self.row(*other).map_or(1.0, Row::weight);
            board.add(place(Stop::Entity(*other)), mass * weight / total, threshold);
        }
    }
}
