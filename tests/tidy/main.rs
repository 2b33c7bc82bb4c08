//! The rules of the house, checked over the sources; each rule is also shown to fail on a planted violation.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails loudly"
)]

mod bans;
mod docs;
mod faults;
mod floors;
mod listed;
mod requests;
mod rust;
mod shape;
mod tree;
