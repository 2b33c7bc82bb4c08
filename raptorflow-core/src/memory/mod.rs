//! Memory: what agents keep from one run to the next, per tenant and scope.
//!
//! Row 8 of the house.
//! [`Memory`] is the trait, and [`StorageMemory`] keeps [`MemoryItem`]s in a [`Storage`](crate::storage::Storage) with
//! bounds.
//! A [`Blackboard`] is beside it: the shared notes of one run, in the run's journal.
//! What is recalled is data: nothing here makes an instruction of it, and whoever shows it to a model delimits it.

mod blackboard;
mod item;
mod memory;
mod policy;
mod recall;
mod relevance;
mod scope;
mod stored;
#[cfg(test)]
mod tests;

pub use blackboard::{Blackboard, BlackboardConfig, NoteFilter, Post};
pub use item::{MemoryItem, MemoryKind, NewItem, Provenance, Trust};
pub use memory::{Forget, Memory};
pub use policy::{FLOOR, decay};
pub use recall::{Recall, Recalled};
pub use relevance::Relevance;
pub use scope::Scope;
pub use stored::{MemoryBounds, StorageMemory};
