//! Tests of budgets and their ledger, against plain sums.

mod at_once;
mod caps;
mod concurrency;
mod faults;
mod model;
mod support;
mod time;
