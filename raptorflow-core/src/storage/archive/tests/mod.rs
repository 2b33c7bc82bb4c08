//! What archives promise: equal stores, refused damage, and all or nothing over faults.

#[cfg(feature = "testing")]
mod faults;
#[cfg(feature = "testing")]
mod files;
#[cfg(feature = "testing")]
mod place;
#[cfg(feature = "testing")]
mod round_trip;
