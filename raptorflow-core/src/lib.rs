#![doc = include_str!("../README.md")]

pub mod error;
pub mod types;

pub mod runtime;

pub mod storage;

pub mod event;

pub use error::{Error, ErrorKind, Result, Retry};
