//! Money for tokens: prices by model and date, and budgets that are never overspent by estimates.
//!
//! Row 4 of the house.
//! Amounts are integers in millionths of a currency unit, never floats.
//! The crate brings no prices of anybody: a host loads its own [`PriceBook`] from data.
//!
//! [`Budgets`] is the handle: it reserves what a call may cost, and settles what it did cost, in a ledger in the store.
//! The ledger is append-only, a stream a month and tenant; what is spent, reserved, capped and told is a fold over it.
//! An append has the expected length of the stream, so that two processes never decide over the same balance.

mod account;
mod admit;
mod books;
mod budget;
mod config;
mod desk;
mod fact;
mod ledger;
mod load;
mod predict;
mod price;
mod read;
mod report;
mod scope;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
mod work;
mod written;

pub use admit::{Alert, Approval, Estimate};
pub use budget::{Amount, Balance, Budgets, Decision, Reservation, Spent};
pub use config::BudgetConfig;
pub use fact::Spending;
pub(crate) use predict::predict_high;
pub use predict::{Confidence, Expected, Prediction, Workload, predict, text_tokens};
pub use price::{Price, PriceBook, PriceEntry};
pub use report::{Anomaly, UsageFilter, UsageReport, UsageSum};
pub use scope::{Cap, Caps, Payer, Scope, Window};
