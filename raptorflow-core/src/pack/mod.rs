//! Packs: domains as data. A folder of teams, agents, workflows and skills is read, checked and registered, all or nothing.
//!
//! Row 12 of the house.

mod cases;
mod flows;
mod install;
mod judged;
mod load;
mod manifest;
mod place;
mod refs;
mod skills;
mod validate;

pub use judged::AgentCase;
pub use load::Pack;
pub use manifest::{Contents, Defaults, Manifest};
pub use skills::SkillCase;
