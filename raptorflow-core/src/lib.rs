#![doc = include_str!("../README.md")]

pub mod error;
pub mod types;

pub mod runtime;

pub use error::{Error, ErrorKind, Result, Retry};
