//! The native half of the npm package `raptorflow`: converts, calls one function of core, converts back.
//!
//! It is private to the TypeScript layer in `ts/`, which is what users see.
//! Data crosses as JSON text, which is faster than building objects property by property; vectors cross as
//! `Float32Array`, and errors as JSON in the message of a native error whose `cause` is the host's own value.

// The macros of napi expand to unsafe code; none is written here.
#![allow(unsafe_code)]
// What JavaScript passes arrives as owned values.
#![allow(clippy::needless_pass_by_value)]

mod agent;
mod ask;
mod callback;
mod control;
mod convert;
mod engine;
mod error;
mod event;
mod money;
mod pack;
mod rag;
mod rerank;
mod run;
mod skill;
mod testing;
mod upkeep;
