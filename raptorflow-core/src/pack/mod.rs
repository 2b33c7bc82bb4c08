//! Packs: domains as data. A folder of teams and agents is read, checked and registered, all or nothing.
//!
//! Row 12 of the house.

mod install;
mod load;
mod manifest;
mod place;
mod refs;
mod validate;

pub use load::Pack;
pub use manifest::{Contents, Defaults, Manifest};
