//! The one append-only journal per run: the truth behind resume, replay, audit and cost.
//!
//! Row 5 of the house.
//! A run is a list of facts; state is a fold over it, and the bus is its live tail.
//! [`Journals`] creates, opens and lists runs; a [`Journal`] is one run that this process owns.
//! What is said to a run from outside (signals, pauses, the wish to cancel) goes through [`Journals`] into the same list.
//! A journal publishes nothing: who appends tells the bus.

mod approval;
mod definition;
mod entry;
mod external;
mod fold;
mod fork;
mod journals;
mod keeper;
mod known;
mod list;
mod notes;
mod outside;
mod question;
mod retention;
mod run;
mod shared;
mod state;
mod step;
mod tail;
#[cfg(test)]
mod tests;
mod timer;

pub use approval::{ApprovalAnswer, CallToApprove};
pub(crate) use definition::check_opening;
pub use entry::{Entry, Fact};
pub use fold::{RunStatus, Summary};
pub use journals::{JournalConfig, Journals, Opened};
pub use list::{RunFilter, RunPage};
pub use notes::Note;
pub use question::Question;
pub use retention::{Pruned, Retention};
pub use run::Journal;
pub use state::{
    ChildState, OutlineNode, QuestionState, RunState, SignalState, Spent, StepState, StepStatus, TimerState,
};
