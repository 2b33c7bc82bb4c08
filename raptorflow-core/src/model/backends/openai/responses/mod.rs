//! The responses API: what a model thought survives from call to call, encrypted, and nothing is kept at the host.

mod convert;
mod dialect;
mod wire;

pub(crate) use convert::request;
pub(crate) use dialect::Events;
