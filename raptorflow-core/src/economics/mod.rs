//! Money for tokens: prices by model and date.
//!
//! Row 4 of the house.
//! Amounts are integers in millionths of a currency unit, never floats.
//! The crate brings no prices of anybody: a host loads its own [`PriceBook`] from data.

mod load;
mod price;

pub use price::{Price, PriceBook};
