//! What a journal promises.

#[cfg(feature = "testing")]
mod external;
mod facts;
#[cfg(feature = "testing")]
mod faults;
#[cfg(feature = "testing")]
mod ownership;
