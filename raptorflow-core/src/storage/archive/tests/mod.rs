//! What archives promise: equal stores, refused damage, and all or nothing over faults.

mod faults;
mod files;
mod place;
mod round_trip;
