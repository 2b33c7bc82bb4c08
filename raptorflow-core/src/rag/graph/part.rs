//! What the graph is made of: nodes with their spellings, edges with their evidence, rows and passages.

use std::sync::Arc;

use petgraph::stable_graph::EdgeIndex;

use crate::rag::graph::relation::Source;

/// How much a title says about its passage, compared with a mention.
///
/// From prototypes on two sets of questions that need several passages; half and twice of it cost less than a point.
pub(super) const TITLE_WEIGHT: f32 = 8.0;
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) key: Box<str>,
    /// How it is written, and how often; one that counts 0 is a free place.
    pub(super) surfaces: Vec<(Box<str>, u32)>,
}

impl Node {
    /// The usual spelling: the most frequent, of equals the first in byte order.
    pub(super) fn name(&self) -> &str {
        let usual = self.surfaces.iter().max_by(|a, b| a.1.cmp(&b.1).then_with(|| b.0.cmp(&a.0)));
        usual.map_or(&self.key, |(name, _)| name)
    }

    pub(super) fn write(&mut self, name: &str) -> u32 {
        let place = self.surfaces.iter().position(|(other, count)| *count > 0 && **other == *name);
        let place = place.or_else(|| self.surfaces.iter().position(|(_, count)| *count == 0));
        let place = place.unwrap_or_else(|| {
            self.surfaces.push((name.into(), 0));
            self.surfaces.len() - 1
        });
        if let Some(surface) = self.surfaces.get_mut(place) {
            if surface.1 == 0 {
                surface.0 = name.into();
            }
            surface.1 += 1;
        }
        // Spellings of one canonical name are few.
        u32::try_from(place).unwrap_or(u32::MAX)
    }

    pub(super) fn erase(&mut self, place: u32) {
        if let Some(surface) = self.surfaces.get_mut(place as usize) {
            surface.1 = surface.1.saturating_sub(1);
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Edge {
    pub(super) kind: Arc<str>,
    pub(super) evidence: Vec<Evidence>,
}

impl Edge {
    pub(super) fn weight(&self) -> f32 {
        self.evidence.iter().map(|evidence| evidence.weight).sum()
    }
}

/// What ranking knows of an entity.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) passages: Vec<At>,
    /// How many of these it is the title of.
    pub(super) titles: u32,
    /// Entities that ranking reaches from here without a passage, with weights.
    pub(super) beside: Vec<(u32, f32)>,
}

impl Row {
    /// What leads away from the entity.
    pub(super) fn weight(&self) -> f32 {
        let mentions = self.passages.len() as f32 + (TITLE_WEIGHT - 1.0) * self.titles as f32;
        mentions + self.beside.iter().map(|(_, weight)| weight).sum::<f32>()
    }
}

/// A passage and whether the entity is its title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) slot: u32,
    pub(super) title: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) key: u64,
    pub(super) document: Arc<str>,
    pub(super) mentions: Vec<Mention>,
    pub(super) told: Vec<Told>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Mention {
    pub(super) node: u32,
    pub(super) surface: u32,
    pub(super) title: bool,
    pub(super) model: bool,
}

/// A relation that somebody told, and the spellings that came with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) edge: EdgeIndex,
    pub(super) surfaces: (u32, u32),
}

/// One piece of evidence for a relation.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    pub(super) source: Source,
    pub(super) weight: f32,
    pub(super) surfaces: (u32, u32),
}
