//! The models that this build offers; nobody but the registry chooses among them.

pub(crate) mod function;
pub(crate) mod offline;
