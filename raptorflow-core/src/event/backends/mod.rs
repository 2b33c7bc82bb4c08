//! The backends of the bus; nobody imports them but the handle.

mod local;

pub use local::LocalBus;
