//! Review of answers: checks that find, a critic that scores, an overseer that decides, and a constitution of policies.
//!
//! A [`Check`] finds what is wrong with a [`Draft`]; [`checks`] has those that need no model.
//! A [`Critic`] makes a score of what its checks find, and [`Reviewed`] asks an agent again until an answer passes.
//! A [`Constitution`] says in data what answers look like, and [`ConstitutionBook`] keeps it and learns from corrections.
//! An [`Overseer`] has all of it, hides personal data, and says whether an answer may leave.
//!
//! Nothing here asks a model; a check of the host may.

mod book;
mod check;
pub mod checks;
mod constitution;
mod critic;
mod draft;
mod emoji;
mod finding;
mod learn;
mod overseer;
mod rounds;
mod words;

pub use book::ConstitutionBook;
pub use check::Check;
pub use constitution::{Constitution, Policy, Rule};
pub use critic::{Critic, CriticConfig, Grade, Review};
pub use draft::Draft;
pub use finding::{Finding, Place, Severity};
pub use learn::{Correction, Proposal, propose};
pub use overseer::{Decision, Overseer, OverseerConfig, Reason, Verdict};
pub use rounds::{Reviewed, Round, Rounds};
