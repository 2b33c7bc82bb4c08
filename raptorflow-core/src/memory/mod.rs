//! Memory: what agents keep from one run to the next, per tenant and scope.
//!
//! Row 8 of the house.
//! [`Memory`] is the trait, and [`StorageMemory`] keeps [`MemoryItem`]s in a [`Storage`](crate::storage::Storage) with
//! bounds.
//! [`Conversations`] keep what was said in a thread within a [`Window`], [`Profiles`] are documents about whom agents work
//! for, and [`Memories`] has all of them for an engine.
//! A [`Blackboard`] is beside it: the shared notes of one run, in the run's journal.
//! What is recalled is data: nothing here makes an instruction of it, and whoever shows it to a model delimits it.

mod blackboard;
mod consolidate;
mod item;
mod memories;
mod memory;
mod policy;
mod profile;
mod recall;
mod relevance;
mod remember;
mod scope;
mod stored;
#[cfg(test)]
mod tests;
mod window;
mod working;

pub use blackboard::{Blackboard, BlackboardConfig, NoteFilter, Post};
pub use consolidate::{consolidated, consolidation_request};
pub use item::{MemoryItem, MemoryKind, NewItem, Provenance, Trust};
pub use memories::{Memories, MemoryConfig};
pub use memory::{Forget, Memory};
pub use policy::{FLOOR, decay};
pub use profile::{Profile, ProfileForm, ProfileSection, Profiles};
pub use recall::{Recall, Recalled};
pub use relevance::Relevance;
pub use remember::Remember;
pub use scope::Scope;
pub use stored::{MemoryBounds, StorageMemory};
pub use window::{Window, newest, summary_request};
pub use working::{Conversation, Conversations, Said};
