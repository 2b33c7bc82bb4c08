//! A schema in the form that providers enforce when they write the arguments of a call: closed, with every property.
//!
//! [`Schema::strict`](crate::types::Schema::strict) writes that form, in which `null` stands for a property that was
//! left out; [`Schema::without_nulls`](crate::types::Schema::without_nulls) takes it away again.

mod form;
mod nulls;
#[cfg(test)]
mod tests;

pub use form::StrictSchema;
pub(crate) use form::form;
pub(crate) use nulls::without_nulls;
