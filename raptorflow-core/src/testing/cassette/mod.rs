//! What providers answered over HTTP, kept in a file without secrets and given again.
//!
//! A [`Cassette`] is an [`HttpClient`](crate::model::HttpClient) around another one.
//! It writes an exchange when its answer was read, and finds one by address and body; [`Scrub`] says what is left out.

mod client;
mod differ;
mod file;
mod scrub;

pub use client::{Cassette, CassetteMode};
pub use scrub::Scrub;
