//! The one append-only journal per run: the truth behind resume, replay, audit and cost.
//!
//! Row 5 of the house.
//! A run is a list of facts; state is a fold over it, and the bus is its live tail.
//! [`Journals`] creates, opens and lists runs; a [`Journal`] is one run that this process owns.
//! A journal publishes nothing: who appends tells the bus.

mod entry;
mod fold;
mod journals;
mod keeper;
mod run;
mod tail;
#[cfg(test)]
mod tests;

pub use entry::{Entry, Fact};
pub use fold::{RunStatus, Summary};
pub use journals::{JournalConfig, Journals, Opened};
pub use run::Journal;
