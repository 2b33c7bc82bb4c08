//! The one append-only journal per run: the truth behind resume, replay, audit and cost.
//!
//! Row 5 of the house.
//! A run is a list of facts; state is a fold over it, and the bus is its live tail.

mod entry;
mod fold;
mod keeper;
mod run;

pub use entry::{Entry, Fact};
pub use fold::{RunStatus, Summary};
pub use keeper::Keeper;
pub use run::{Journal, Journals};
