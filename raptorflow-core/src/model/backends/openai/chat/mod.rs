//! Chat completions, the wire that every compatible host speaks.

mod convert;
mod dialect;
mod wire;

pub(crate) use convert::request;
pub(crate) use dialect::Chunks;
