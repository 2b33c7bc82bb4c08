//! The examples as a user runs them: programs of their own, their answers and their errors.
#![cfg(test)]

mod agents;
mod approval;
mod budget;
mod build;
mod council;
mod inspect;
mod mcp;
mod patterns;
