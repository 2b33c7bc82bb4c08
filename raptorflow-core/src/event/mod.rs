//! What happens, as it happens: the envelope, the kinds and channels, and the bus.
//!
//! Row 4 of the house.
//! The journal is the truth and the bus is its live tail: losing an event loses no state.

mod backends;
mod bus;
mod envelope;
mod filter;
mod kind;
mod subscription;

pub use backends::LocalBus;
pub use bus::{Bus, BusConfig, BusStats, EventBus, History};
pub use envelope::{Event, Priority, Status};
pub use filter::Filter;
pub use kind::{Channel, EventKind};
pub use subscription::{Lag, Received, Subscription};
