//! The council as a user runs it: a program of its own, its brief, its errors, and its life after a `kill -9`.
#![cfg(test)]

mod brief;
mod errors;
mod program;
mod resume;
