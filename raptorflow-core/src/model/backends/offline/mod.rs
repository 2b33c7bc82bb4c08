//! A model without weights, key or network: it quotes the passages it is given.
//!
//! `sentence` takes sentences out of Markdown, `terms` turns text into stems, `rank` chooses the sentences that
//! speak about the question, `fill` puts them where a JSON Schema wants text, `model` is the trait.

mod fill;
mod model;
mod rank;
mod sentence;
mod terms;

pub use model::OfflineModel;
