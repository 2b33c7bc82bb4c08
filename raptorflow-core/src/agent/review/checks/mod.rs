//! Checks that need no model: what they look at is written down here, and so is what they cannot see.
//!
//! Each is data, so that it can stand in a file, and knows no language: words come from whoever sets it up.
//! A check gives at most 32 findings.

mod action;
mod claims;
mod completeness;
mod length;
mod schema;
mod tone;

pub use action::ActionCheck;
pub use claims::ClaimsCheck;
pub use completeness::{CompletenessCheck, Required};
pub use length::LengthCheck;
pub use schema::SchemaCheck;
pub use tone::ToneCheck;
