//! The knowledge graph: entities of passages, their relations, and ranking over both.
//!
//! [`KnowledgeGraph`] reads passages by rules without a model, takes [`Facts`] that a model made and relations that the
//! host knows, and answers with neighbours, [`Path`]s, communities and personalised PageRank.
//! It is plain memory without I/O, derived from what is stored: a knowledge base reads its documents again on opening.

mod ask;
mod blend;
mod community;
mod extract;
mod handle;
mod knowledge;
mod link;
mod name;
mod part;
mod persist;
mod rank;
mod relation;
#[cfg(test)]
mod tests;
mod walk;

pub use blend::Propagated;
pub use community::Community;
pub(crate) use extract::{Extracted, extract};
pub use extract::{IS_A, LINKS_TO, SAME_AS};
pub use handle::{FactsReport, Graph};
pub use knowledge::{KnowledgeGraph, Passage};
pub use link::Linked;
pub(crate) use persist::load;
pub use rank::Seed;
pub use relation::{Entity, Facts, Relation, Source, Triple};
pub use walk::{MENTIONS, Neighbour, Path, Walk};
