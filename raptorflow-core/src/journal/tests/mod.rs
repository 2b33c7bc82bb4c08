//! What a journal promises.

mod facts;
#[cfg(feature = "testing")]
mod faults;
#[cfg(feature = "testing")]
mod ownership;
