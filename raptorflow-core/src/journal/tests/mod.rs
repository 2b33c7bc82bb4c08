//! What a journal promises.

#[cfg(feature = "testing")]
mod external;
mod facts;
#[cfg(feature = "testing")]
mod faults;
#[cfg(all(feature = "testing", feature = "storage-sqlite"))]
mod file;
#[cfg(feature = "testing")]
mod model;
#[cfg(feature = "testing")]
mod ownership;
#[cfg(feature = "testing")]
mod reading;
#[cfg(feature = "testing")]
mod retention;
#[cfg(feature = "testing")]
mod support;
