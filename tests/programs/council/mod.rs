//! The council: its brief, its errors, and its life after a `kill -9`.

mod brief;
mod errors;
mod program;
mod resume;
