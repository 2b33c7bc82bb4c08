//! Test doubles, and the conformance cases that every backend must pass, also one of your own.
//!
//! Row 14 of the house, behind the feature `testing`.
//! Nothing of it belongs into a running program: the cases panic where a contract does not hold.

#[cfg(feature = "http")]
mod cassette;
mod clock;
pub mod conformance;
mod faults;
mod form;
mod model;
mod replay;
mod server;

#[cfg(feature = "http")]
pub use cassette::{Cassette, CassetteMode, Scrub};
pub use clock::ManualClock;
pub use faults::{Fault, FaultyLog};
pub use model::{Reply, ScriptedModel};
pub use replay::ReplayModel;
pub use server::{ProviderServer, ServerReply, ServerRequest};
